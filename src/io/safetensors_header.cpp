// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/safetensors_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::io {
namespace {

/// Receives the header token by token:
///   { "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"k": "v"} }
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;
  std::string problem;  ///< set when a handler returned false

  bool start_object(std::size_t) override {
    ++depth_;
    if (depth_ == 1) return true;
    if (depth_ == 2 && !in_metadata_) {
      tensor_ = {};
      seen_.fill(false);
      return true;
    }
    if (depth_ == 2) return true;
    return fail("an object inside a tensor's entry");
  }

  bool end_object() override {
    if (depth_-- != 2) return true;
    if (in_metadata_) {
      in_metadata_ = false;
      return true;
    }
    if (!seen_[0] || !seen_[1] || !seen_[2]) return fail("needs dtype, shape and data_offsets");
    if (offsets_.size() != 2) return fail("data_offsets is not a pair");
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    tensor_.shape = std::move(shape_);
    header.tensors.emplace(name_, std::move(tensor_));
    return true;
  }

  bool key(std::string& text) override {
    if (depth_ == 1) {
      name_ = text;
      in_metadata_ = text == "__metadata__";
      if (in_metadata_ ? std::exchange(seen_metadata_, true) : header.tensors.contains(text)) {
        return fail("appears twice");
      }
      return true;
    }
    if (in_metadata_) {
      key_ = text;
      return header.metadata.contains(text) ? fail(fmt::format("metadata key '{}' appears twice", text)) : true;
    }
    static constexpr std::array<std::string_view, 3> fields = {"dtype", "shape", "data_offsets"};
    const auto* field = std::find(fields.begin(), fields.end(), text);
    if (field == fields.end()) return fail(fmt::format("unknown field '{}'", text));
    field_ = static_cast<std::size_t>(field - fields.begin());
    if (std::exchange(seen_[field_], true)) return fail(fmt::format("field '{}' appears twice", text));
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ == 2 && in_metadata_) {
      header.metadata.emplace(key_, text);
      return true;
    }
    if (depth_ != 2 || in_array_ || field_ != 0) return fail("a string where a number or object belongs");
    if (safetensors_bits(text) == 0) return fail(fmt::format("unknown dtype '{}'", text));
    tensor_.dtype = text;
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || in_array_ || field_ == 0) return fail("a list where none belongs");
    in_array_ = true;
    numbers().clear();
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (!in_array_) return fail("a number where none belongs");
    if (value > static_cast<std::uint64_t>(INT64_MAX)) return fail("a number above 2^63 - 1");
    if (numbers().size() >= max_rank) return fail("a list that is too long");
    numbers().push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool number_integer(std::int64_t) override { return fail("a negative number"); }
  bool number_float(double, const std::string&) override { return fail("a number that is not an integer"); }
  bool null() override { return fail("null"); }
  bool boolean(bool) override { return fail("a boolean"); }
  bool binary(nlohmann::json::binary_t&) override { return fail("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& what) override {
    name_.clear();
    return fail(fmt::format("the header is not valid JSON near its byte {}: {}", position, printable(what.what())));
  }

  const std::string& name() const { return name_; }

 private:
  static constexpr std::size_t max_rank = 64;

  bool fail(std::string what) {
    problem = std::move(what);
    return false;
  }
  std::vector<std::int64_t>& numbers() { return field_ == 1 ? shape_ : offsets_; }

  int depth_ = 0;
  bool in_metadata_ = false;
  bool seen_metadata_ = false;
  bool in_array_ = false;
  std::string name_;
  std::string key_;
  std::size_t field_ = 0;
  std::array<bool, 3> seen_{};
  HeaderTensor tensor_;
  std::vector<std::int64_t> shape_;
  std::vector<std::int64_t> offsets_;
};

Error bad(const std::string& tensor, std::string what) {
  return Error(ErrorCode::bad_format, std::move(what))
      .at_field(tensor.empty() ? "" : fmt::format("tensor '{}'", tensor));
}

Result<void> check_extent(const std::string& name, const HeaderTensor& tensor) {
  const std::int64_t bytes = safetensors_bytes(tensor.dtype, tensor.shape);
  if (bytes < 0) return bad(name, "its shape overflows 64 bits or does not fill whole bytes");
  if (tensor.begin > tensor.end || tensor.end - tensor.begin != bytes) {
    return bad(name, fmt::format("its shape needs {} bytes, data_offsets [{}, {}] hold {}", bytes, tensor.begin,
                                 tensor.end, tensor.end - tensor.begin));
  }
  return {};
}

/// No holes, no overlaps, the whole buffer used.
Result<void> check_layout(const SafetensorsHeader& header, std::int64_t buffer_size) {
  std::vector<std::pair<std::int64_t, const std::string*>> order;
  order.reserve(header.tensors.size());
  for (const auto& [name, tensor] : header.tensors) {
    SEQKV_TRY(check_extent(name, tensor));
    order.emplace_back(tensor.begin, &name);
  }
  std::sort(order.begin(), order.end(), [&header](const auto& a, const auto& b) {
    // Empty tensors share their begin with the tensor that follows them.
    return std::pair(a.first, header.tensors.at(*a.second).end) < std::pair(b.first, header.tensors.at(*b.second).end);
  });
  std::int64_t position = 0;
  for (const auto& [begin, name] : order) {
    if (begin != position) {
      return bad(*name, fmt::format("starts at {} of the buffer where {} was expected (a hole or an overlap)", begin,
                                    position));
    }
    position = header.tensors.at(*name).end;
  }
  if (position != buffer_size) {
    return bad("", fmt::format("the tensors end at {}, the file at {} (of the buffer)", position, buffer_size))
        .at_byte(header.buffer_offset);
  }
  return {};
}

}  // namespace

int safetensors_bits(const std::string& dtype) {
  static const std::map<std::string, int> bits = {
      {"BOOL", 8},        {"U8", 8},          {"I8", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
      {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16},
      {"U16", 16},        {"F16", 16},        {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},
      {"I64", 64},        {"U64", 64},        {"F64", 64},  {"C64", 64}};
  const auto found = bits.find(dtype);
  return found == bits.end() ? 0 : found->second;
}

std::int64_t safetensors_bytes(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  std::int64_t bits = safetensors_bits(dtype);
  for (std::int64_t extent : shape) {
    if (extent < 0 || !checked_multiply(bits, extent, bits)) return -1;
  }
  return bits % 8 == 0 ? bits / 8 : -1;
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file) {
  if (file.size() < 8) return bad("", "shorter than the 8 bytes of a safetensors header length").at_byte(0);
  const auto length = load_le<std::uint64_t>(file.data());
  if (length > static_cast<std::uint64_t>(limits::max_safetensors_header)) {
    return Error(ErrorCode::limit_exceeded, fmt::format("the header claims {} bytes, at most {} are allowed", length,
                                                        limits::max_safetensors_header))
        .at_byte(0);
  }
  if (length > file.size() - 8) {
    return bad("",
               fmt::format("the header claims {} bytes, the file holds {} behind its length", length, file.size() - 8))
        .at_byte(0);
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (text.empty() || text.front() != '{') return bad("", "the header does not start with '{'").at_byte(8);
  // The parser takes a zero byte for the end of the text and would not look behind it.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    return bad("", "the header is not valid JSON: it has a zero byte").at_byte(static_cast<std::int64_t>(8 + zero));
  }
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &handler)) {
    return bad(handler.name(), handler.problem).at_byte(8);
  }
  handler.header.buffer_offset = static_cast<std::int64_t>(8 + length);
  SEQKV_TRY(check_layout(handler.header, static_cast<std::int64_t>(file.size()) - handler.header.buffer_offset));
  return std::move(handler.header);
}

}  // namespace seqkv::io
