// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/safetensors_header.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  if (name == "BF16") return DType::bf16;
  if (name == "F16") return DType::f16;
  if (name == "F32") return DType::f32;
  return std::nullopt;
}

std::string_view to_safetensors(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::f32:
      return "F32";
  }
  return "?";
}

std::int64_t TensorView::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

namespace {

constexpr std::int64_t largest_buffer = 1LL << 62;  // of a file to write: offsets in it never overflow

/// A shard is a plain name beside the index: no path from data is followed out of the folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

// ---- reading ----------------------------------------------------------------------------------------------

struct SafetensorsFile::State {
  std::deque<io::MappedFile> files;
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
  std::string name;

  Result<void> add(std::span<const std::byte> bytes, const std::string& file) {
    auto header = io::parse_safetensors_header(bytes);
    if (!header) return std::move(header).error().in_file(file);
    for (auto& [tensor_name, tensor] : header->tensors) {
      const auto begin = static_cast<std::size_t>(header->buffer_offset + tensor.begin);
      TensorView view{tensor.dtype, std::move(tensor.shape),
                      bytes.subspan(begin, static_cast<std::size_t>(tensor.end - tensor.begin)), file};
      if (!tensors.emplace(tensor_name, std::move(view)).second) {
        return Error(ErrorCode::bad_format, fmt::format("tensor '{}' is in another shard too", tensor_name))
            .in_file(file);
      }
    }
    metadata.merge(header->metadata);
    return {};
  }

  Result<void> add_file(const std::filesystem::path& path) {
    SEQKV_ASSIGN(io::MappedFile mapped, io::MappedFile::open(path));
    files.push_back(std::move(mapped));
    return add(files.back().bytes(), path.string());
  }
};

SafetensorsFile::SafetensorsFile() : state_(std::make_unique<State>()) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.state_->name = path.string();
  SEQKV_TRY(file.state_->add_file(path));
  return file;
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  SafetensorsFile file;
  file.state_->name = name;
  SEQKV_TRY(file.state_->add(bytes, name));
  return file;
}

Result<SafetensorsFile> SafetensorsFile::open_model(const std::filesystem::path& directory) {
  const auto single = directory / "model.safetensors";
  const auto index_path = directory / "model.safetensors.index.json";
  std::error_code ignored;  // what cannot be looked up cannot be opened either, and that is reported
  if (std::filesystem::exists(single, ignored) || !std::filesystem::exists(index_path, ignored)) return open(single);

  SEQKV_ASSIGN(const nlohmann::json index, io::read_json(index_path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return Error(ErrorCode::missing_field, "not there, or not an object")
        .at_field("weight_map")
        .in_file(index_path.string());
  }
  std::map<std::string, std::vector<std::string>> tensors_of_shard;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get<std::string>())) {
      return Error(ErrorCode::bad_format, "is not mapped to a plain file name")
          .at_field(fmt::format("weight_map '{}'", tensor))
          .in_file(index_path.string());
    }
    tensors_of_shard[shard.get<std::string>()].push_back(tensor);
  }
  SafetensorsFile file;
  file.state_->name = index_path.string();
  for (const auto& [shard, names] : tensors_of_shard) {
    SEQKV_TRY(file.state_->add_file(directory / shard));
    for (const auto& name : names) {
      if (file.find(name) == nullptr) {
        return Error(ErrorCode::missing_field, fmt::format("tensor '{}' is not in the shard the index names", name))
            .in_file((directory / shard).string());
      }
    }
  }
  return file;
}

const std::map<std::string, TensorView>& SafetensorsFile::tensors() const { return state_->tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return state_->metadata; }

const TensorView* SafetensorsFile::find(const std::string& name) const {
  const auto found = state_->tensors.find(name);
  return found == state_->tensors.end() ? nullptr : &found->second;
}

Result<TensorView> SafetensorsFile::tensor(const std::string& name) const {
  const TensorView* found = find(name);
  if (found == nullptr) {
    return Error(ErrorCode::missing_field, "is not in the file")
        .at_field(fmt::format("tensor '{}'", name))
        .in_file(state_->name);
  }
  return *found;
}

Result<void> SafetensorsFile::read(std::span<const std::byte> part, std::byte* to) const {
  for (const io::MappedFile& file : state_->files) {
    if (file.holds(part)) return file.read(part, to);
  }
  std::memcpy(to, part.data(), part.size());
  return {};
}

void SafetensorsFile::prefetch(std::span<const std::byte> part) const noexcept {
  for (const io::MappedFile& file : state_->files) {
    if (file.holds(part)) file.prefetch(part);
  }
}

// ---- writing ----------------------------------------------------------------------------------------------

struct SafetensorsWriter::State {
  io::AtomicFile file;
  std::map<std::string, io::HeaderTensor> tensors;
  std::int64_t buffer_offset = 0;
  std::int64_t size = 0;
};

SafetensorsWriter::SafetensorsWriter() = default;
SafetensorsWriter::~SafetensorsWriter() = default;
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                                    const std::map<std::string, std::string>& metadata) {
  // As the reference implementation: wider elements first, so that every tensor is aligned; then by name.
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return std::pair(-io::safetensors_bits(a.dtype), a.name) < std::pair(-io::safetensors_bits(b.dtype), b.name);
  });
  const auto refuse = [&path](const std::string& what, const std::string& field) {
    return Error(ErrorCode::invalid_argument, what).at_field(io::printable(field)).in_file(path.string());
  };
  const auto is_utf8 = [](const std::string& text) { return io::find_invalid_utf8(text) < 0; };
  nlohmann::ordered_json header;
  for (const auto& [key, value] : metadata) {
    if (!is_utf8(key) || !is_utf8(value)) return refuse("is not UTF-8", fmt::format("metadata '{}'", key));
    header["__metadata__"][key] = value;
  }
  std::map<std::string, io::HeaderTensor> layout;
  std::int64_t position = 0;
  for (const auto& spec : tensors) {
    if (!is_utf8(spec.name) || spec.name == "__metadata__") return refuse("is not a name for a tensor", spec.name);
    if (io::safetensors_bits(spec.dtype) == 0) return refuse("has an unknown dtype", spec.name);
    const std::int64_t bytes = io::safetensors_bytes(spec.dtype, spec.shape);
    io::HeaderTensor tensor{spec.dtype, spec.shape, position, position};
    if (bytes < 0 || __builtin_add_overflow(position, bytes, &tensor.end) || tensor.end > largest_buffer) {
      return refuse("has a shape that is negative, too large or not of whole bytes", spec.name);
    }
    position = tensor.end;
    header[spec.name] = {{"dtype", spec.dtype}, {"shape", spec.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
    if (!layout.emplace(spec.name, std::move(tensor)).second) return refuse("is there twice", spec.name);
  }
  std::string text = header.empty() ? "{}" : header.dump();
  text.resize(round_up(text.size(), std::size_t{8}), ' ');
  if (static_cast<std::int64_t>(text.size()) > limits::max_safetensors_header) {
    return Error(ErrorCode::limit_exceeded, fmt::format("the header takes {} bytes, at most {} are allowed",
                                                        text.size(), limits::max_safetensors_header))
        .in_file(path.string());
  }

  SEQKV_ASSIGN(io::AtomicFile file, io::AtomicFile::create(path));
  ByteWriter head;
  head.put(static_cast<std::uint64_t>(text.size()));
  head.put(as_bytes(std::string_view(text)));
  const auto buffer_offset = static_cast<std::int64_t>(head.size());
  SEQKV_TRY(file.append(std::move(head).take()));
  SafetensorsWriter writer;
  writer.state_ =
      std::make_unique<State>(State{std::move(file), std::move(layout), buffer_offset, buffer_offset + position});
  return writer;
}

Result<void> SafetensorsWriter::write(const std::string& tensor, std::int64_t offset,
                                      std::span<const std::byte> bytes) {
  const auto found = state_->tensors.find(tensor);
  if (found == state_->tensors.end()) return Error(ErrorCode::invalid_argument, "no such tensor").at_field(tensor);
  const auto& [name, place] = *found;
  if (offset < 0 || offset > place.end - place.begin ||
      static_cast<std::int64_t>(bytes.size()) > place.end - place.begin - offset) {
    return Error(ErrorCode::invalid_argument, "a write outside the tensor").at_field(tensor).at_byte(offset);
  }
  return state_->file.write_at(bytes, state_->buffer_offset + place.begin + offset);
}

Result<void> SafetensorsWriter::reserve() { return state_->file.reserve(state_->size); }

Result<void> SafetensorsWriter::commit() {
  SEQKV_TRY(state_->file.resize(state_->size));
  return state_->file.commit();
}

}  // namespace seqkv
