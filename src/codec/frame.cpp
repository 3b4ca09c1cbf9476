// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/frame.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/bytes.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

// The first byte has its high bit set and CR LF, SUB follow: a transfer as text breaks the magic, as with PNG.
constexpr std::array<char, 8> magic = {'\x89', 'S', 'Q', 'K', 'V', '\r', '\n', '\x1a'};
constexpr std::size_t alignment = 64;
constexpr std::size_t fixed_bytes = 192;  // up to the codec string

struct IndexEntry {
  std::uint64_t offset;
  std::uint64_t bytes;
};

std::size_t header_bytes(const FrameInfo& info) {
  const std::size_t index = round_up(fixed_bytes + info.codec.size(), std::size_t{8});
  return round_up(index + static_cast<std::size_t>(info.blocks()) * sizeof(IndexEntry) + 8, alignment);
}

std::vector<std::byte> write_header(const FrameInfo& info, std::span<const IndexEntry> index) {
  const RopeConfig& rope = info.shape.rope;
  ByteWriter out;
  out.put(std::as_bytes(std::span(magic)));
  out.put(frame_version);
  out.put(std::uint16_t{0});  // flags
  out.put(static_cast<std::uint32_t>(header_bytes(info)));
  out.put(static_cast<std::uint64_t>(info.tokens));
  out.put(static_cast<std::uint32_t>(info.block_tokens));
  out.put(static_cast<std::uint32_t>(info.blocks()));
  out.put(static_cast<std::uint32_t>(info.shape.layers));
  out.put(static_cast<std::uint32_t>(info.shape.kv_heads));
  out.put(static_cast<std::uint32_t>(info.shape.head_dim));
  out.put(static_cast<std::uint8_t>(info.shape.dtype));
  out.put(static_cast<std::uint8_t>(rope.scaling));
  out.put(static_cast<std::uint16_t>(info.codec.size()));
  out.put(static_cast<std::uint32_t>(rope.dim));
  out.put(std::uint32_t{0});
  out.put(static_cast<std::uint64_t>(rope.original_max_positions));
  for (double number : {rope.theta, rope.factor, rope.low_freq_factor, rope.high_freq_factor}) out.put(number);
  out.put(info.model.bytes);
  out.put(info.profile.bytes);
  out.pad_to(fixed_bytes);
  out.put(as_bytes(std::string_view(info.codec)));
  out.pad_to(8);
  for (const IndexEntry& entry : index) {
    out.put(entry.offset);
    out.put(entry.bytes);
  }
  out.put(xxh3_64({out.data(), out.size()}));
  out.pad_to(alignment);
  return std::move(out).take();
}

Error corrupt(const std::string& what, std::size_t position) {
  return Error(ErrorCode::corrupt, what).at_byte(static_cast<std::int64_t>(position));
}

Result<void> check_info(const FrameInfo& info) {
  SEQKV_TRY(info.shape.check());
  if (info.tokens < 1 || info.tokens > limits::max_tokens || info.block_tokens < limits::min_block_tokens ||
      info.block_tokens > limits::max_block_tokens || info.codec.empty() ||
      static_cast<std::int64_t>(info.codec.size()) > limits::max_codec_spec) {
    return Error(ErrorCode::invalid_argument, fmt::format("a frame of {} tokens in blocks of {} with codec '{}'",
                                                          info.tokens, info.block_tokens, info.codec));
  }
  return {};
}

/// The fixed part, every number checked against the limits.
Result<FrameInfo> read_fixed(ByteReader& reader, std::size_t file_bytes, std::size_t& header_size) {
  const auto head = reader.get_bytes(magic.size());
  if (!std::ranges::equal(head, std::as_bytes(std::span(magic)))) return corrupt("not a seqkv frame (magic bytes)", 0);
  const auto version = reader.get<std::uint16_t>();
  if (!reader.ok())
    return Error(ErrorCode::truncated, "ends inside its header").at_byte(static_cast<std::int64_t>(file_bytes));
  if (version < min_frame_version || version > frame_version) {
    return Error(ErrorCode::unsupported_version, fmt::format("frame version {}, this library reads {} to {}", version,
                                                             min_frame_version, frame_version))
        .at_byte(8);
  }
  const auto flags = reader.get<std::uint16_t>();
  header_size = reader.get<std::uint32_t>();
  FrameInfo info;
  const auto tokens = reader.get<std::uint64_t>();
  info.block_tokens = reader.get<std::uint32_t>();
  const auto blocks = reader.get<std::uint32_t>();
  info.shape.layers = reader.get<std::uint32_t>();
  info.shape.kv_heads = reader.get<std::uint32_t>();
  info.shape.head_dim = reader.get<std::uint32_t>();
  const auto dtype = reader.get<std::uint8_t>();
  const auto scaling = reader.get<std::uint8_t>();
  const auto codec_size = reader.get<std::uint16_t>();
  RopeConfig& rope = info.shape.rope;
  rope.dim = reader.get<std::uint32_t>();
  const auto reserved = reader.get<std::uint32_t>();
  const auto original = reader.get<std::uint64_t>();
  for (double* number : {&rope.theta, &rope.factor, &rope.low_freq_factor, &rope.high_freq_factor}) {
    *number = reader.get<double>();
    if (!std::isfinite(*number)) return corrupt("a number of the rotary embedding is not finite", reader.position());
  }
  std::ranges::copy(reader.get_bytes(32), info.model.bytes.begin());
  std::ranges::copy(reader.get_bytes(32), info.profile.bytes.begin());
  const bool padding_is_zero = reader.skip_padding(fixed_bytes);
  info.codec = reader.get_string(codec_size);
  if (!reader.ok())
    return Error(ErrorCode::truncated, "ends inside its header").at_byte(static_cast<std::int64_t>(file_bytes));
  if (flags != 0 || reserved != 0 || !padding_is_zero) return corrupt("reserved bits are not zero", 10);
  if (dtype < 1 || dtype > 3 || scaling > 2) return corrupt("unknown dtype or rope scaling", 44);
  info.shape.dtype = static_cast<DType>(dtype);
  rope.scaling = static_cast<RopeScaling>(scaling);
  if (tokens > static_cast<std::uint64_t>(limits::max_tokens) ||
      original > static_cast<std::uint64_t>(limits::max_tokens)) {
    return corrupt("more tokens than a frame can have", 16);
  }
  info.tokens = static_cast<std::int64_t>(tokens);
  rope.original_max_positions = static_cast<std::int64_t>(original);
  if (const auto status = check_info(info); !status) return corrupt(status.error().message, 16);
  if (blocks != info.blocks()) return corrupt(fmt::format("{} blocks, {} are needed", blocks, info.blocks()), 28);
  if (header_size != header_bytes(info)) return corrupt("the size of the header is not the one its parts have", 12);
  return info;
}

}  // namespace

// ---- writing ----------------------------------------------------------------------------------------------

Result<std::vector<std::byte>> make_frame(const FrameInfo& info, std::span<const CodedBlock> blocks) {
  SEQKV_TRY(check_info(info));
  if (static_cast<std::int64_t>(blocks.size()) != info.blocks()) {
    return Error(ErrorCode::invalid_argument, fmt::format("{} blocks for a frame of {}", blocks.size(), info.blocks()));
  }
  std::vector<IndexEntry> index;
  std::size_t position = header_bytes(info);
  for (const CodedBlock& block : blocks) {
    index.push_back({position, block.size()});
    position = round_up(position + block.size(), alignment);
  }
  std::vector<std::byte> frame = write_header(info, index);
  frame.resize(index.back().offset + index.back().bytes);
  for (std::size_t i = 0; i < blocks.size(); ++i) std::ranges::copy(blocks[i], frame.begin() + index[i].offset);
  return frame;
}

struct FrameWriter::State {
  std::optional<io::AtomicFile> file;
  std::vector<std::byte> memory;  ///< where there is no file
  FrameInfo info;
  std::vector<IndexEntry> index;
  std::size_t end = 0;

  Result<void> write_at(std::span<const std::byte> bytes, std::size_t offset) {
    if (file) return file->write_at(bytes, static_cast<std::int64_t>(offset));
    return guard_memory("for a frame", [&]() -> Result<void> {
      if (memory.size() < offset + bytes.size()) memory.resize(offset + bytes.size());
      std::ranges::copy(bytes, memory.begin() + static_cast<std::ptrdiff_t>(offset));
      return {};
    });
  }
};

FrameWriter::FrameWriter() = default;
FrameWriter::FrameWriter(FrameWriter&&) noexcept = default;
FrameWriter& FrameWriter::operator=(FrameWriter&&) noexcept = default;
FrameWriter::~FrameWriter() = default;

Result<FrameWriter> FrameWriter::create(const std::filesystem::path& path, const FrameInfo& info) {
  SEQKV_TRY(check_info(info));
  SEQKV_ASSIGN(io::AtomicFile file, io::AtomicFile::create(path));
  FrameWriter writer;
  writer.state_ = std::make_unique<State>(State{std::move(file), {}, info, {}, header_bytes(info)});
  return writer;
}

Result<FrameWriter> FrameWriter::create(const FrameInfo& info) {
  SEQKV_TRY(check_info(info));
  FrameWriter writer;
  writer.state_ = std::make_unique<State>(State{{}, {}, info, {}, header_bytes(info)});
  return writer;
}

Result<void> FrameWriter::append(CodedBlockView block) {
  State& state = *state_;
  const std::size_t offset = round_up(state.end, alignment);
  SEQKV_TRY(state.write_at(block, offset));
  state.index.push_back({offset, block.size()});
  state.end = offset + block.size();
  return {};
}

Result<void> FrameWriter::commit() {
  State& state = *state_;
  if (static_cast<std::int64_t>(state.index.size()) != state.info.blocks()) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{} blocks of {} were written", state.index.size(), state.info.blocks()))
        .in_file(state.file ? state.file->path().string() : std::string());
  }
  SEQKV_TRY(state.write_at(write_header(state.info, state.index), 0));
  return state.file ? state.file->commit() : Result<void>();
}

std::int64_t FrameWriter::bytes() const noexcept { return static_cast<std::int64_t>(state_->end); }
const FrameInfo& FrameWriter::info() const noexcept { return state_->info; }
std::vector<std::byte> FrameWriter::take() noexcept { return std::move(state_->memory); }

// ---- reading ----------------------------------------------------------------------------------------------

struct FrameReader::State {
  io::MappedFile file;
  std::span<const std::byte> bytes;
  std::string name;
  FrameInfo info;
  std::vector<CodedBlockView> blocks;
};

FrameReader::FrameReader() = default;
FrameReader::FrameReader(FrameReader&&) noexcept = default;
FrameReader& FrameReader::operator=(FrameReader&&) noexcept = default;
FrameReader::~FrameReader() = default;

namespace {

/// Blocks follow one another at the next multiple of 64, zeros between, to the end of the file.
Result<std::vector<CodedBlockView>> read_index(ByteReader& reader, std::span<const std::byte> bytes,
                                               const FrameInfo& info, std::size_t header_size) {
  if (!reader.skip_padding(8)) return corrupt("padding is not zero", reader.position());
  const auto entries = reader.get_bytes(static_cast<std::size_t>(info.blocks()) * sizeof(IndexEntry));
  const std::size_t hashed = reader.position();
  const auto hash = reader.get<std::uint64_t>();
  if (!reader.ok())
    return Error(ErrorCode::truncated, "ends inside its index").at_byte(static_cast<std::int64_t>(bytes.size()));
  if (hash != xxh3_64(bytes.first(hashed))) {
    return Error(ErrorCode::checksum_mismatch, "the header does not have the checksum stored with it")
        .at_byte(static_cast<std::int64_t>(hashed));
  }
  std::vector<CodedBlockView> blocks;
  std::size_t end = hashed + 8;
  std::size_t expected = header_size;
  for (std::int64_t i = 0; i < info.blocks(); ++i) {
    const auto offset = load_le<std::uint64_t>(entries.data() + i * 16);
    const auto size = load_le<std::uint64_t>(entries.data() + i * 16 + 8);
    if (offset != expected || size > static_cast<std::uint64_t>(limits::max_coded_block)) {
      return corrupt(fmt::format("block at {} of {} bytes, expected at {}", offset, size, expected), hashed)
          .in_block(i);
    }
    if (offset > bytes.size() || size > bytes.size() - offset) {
      return Error(ErrorCode::truncated, fmt::format("the block should end at byte {}", offset + size))
          .at_byte(static_cast<std::int64_t>(bytes.size()))
          .in_block(i);
    }
    for (; end < offset; ++end) {
      if (bytes[end] != std::byte{0}) return corrupt("padding is not zero", end).in_block(i);
    }
    blocks.push_back(bytes.subspan(offset, size));
    end = offset + size;
    expected = round_up(end, alignment);
  }
  if (end != bytes.size()) return corrupt("bytes behind the last block", end);
  return blocks;
}

}  // namespace

Result<FrameReader> FrameReader::parse(std::span<const std::byte> bytes, const std::string& name) {
  const auto load = [&]() -> Result<FrameReader> {
    ByteReader reader(bytes);
    FrameReader frame;
    frame.state_ = std::make_unique<State>();
    std::size_t header_size = 0;
    SEQKV_ASSIGN(frame.state_->info, read_fixed(reader, bytes.size(), header_size));
    SEQKV_ASSIGN(frame.state_->blocks, read_index(reader, bytes, frame.state_->info, header_size));
    frame.state_->bytes = bytes;
    frame.state_->name = name;
    return frame;
  };
  auto frame = load();
  if (!frame) return std::move(frame).error().in_file(name);
  return frame;
}

Result<FrameReader> FrameReader::open(const std::filesystem::path& path) {
  SEQKV_ASSIGN(io::MappedFile file, io::MappedFile::open(path));
  SEQKV_ASSIGN(FrameReader frame, parse(file.bytes(), path.string()));
  frame.state_->file = std::move(file);
  return frame;
}

const FrameInfo& FrameReader::info() const noexcept { return state_->info; }
std::int64_t FrameReader::bytes() const noexcept { return static_cast<std::int64_t>(state_->bytes.size()); }

std::span<const CodedBlockView> FrameReader::blocks(std::int64_t first, std::int64_t count) const {
  return std::span(state_->blocks).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

Result<CodedBlockView> FrameReader::read(std::int64_t block, std::vector<std::byte>& buffer) const {
  const CodedBlockView bytes = state_->blocks[block];
  if (!state_->file.holds(bytes)) return bytes;
  if (buffer.size() < bytes.size()) buffer.resize(bytes.size());
  SEQKV_TRY(state_->file.read(bytes, buffer.data()));
  return CodedBlockView(buffer).first(bytes.size());
}

void FrameReader::prefetch(std::int64_t block) const {
  const CodedBlockView bytes = state_->blocks[block];
  if (state_->file.holds(bytes)) state_->file.prefetch(bytes);
}

Result<std::vector<Token>> FrameReader::tokens() const {
  std::vector<Token> tokens;
  SEQKV_TRY(inspect([&tokens](const CodedBlockInfo& block) -> Result<void> {
    if (block.tokens.empty()) {
      return Error(ErrorCode::invalid_argument, "its tokens are coded by a model, and decoded with it");
    }
    tokens.insert(tokens.end(), block.tokens.begin(), block.tokens.end());
    return {};
  }));
  return tokens;
}

Result<void> FrameReader::inspect(const std::function<Result<void>(const CodedBlockInfo& block)>& visit) const {
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < state_->blocks.size(); ++i) {
    auto block = inspect_block(state_->info.shape, state_->blocks[i]);
    const auto number = static_cast<std::int64_t>(i);
    if (!block) return std::move(block).error().in_block(number).in_file(state_->name);
    if (block->first_position != number * state_->info.block_tokens) {
      return corrupt(fmt::format("it is for position {}", block->first_position), 0)
          .in_block(number)
          .in_file(state_->name);
    }
    auto visited = visit ? visit(*block) : Result<void>();
    if (!visited) return std::move(visited).error().in_block(number).in_file(state_->name);
    tokens += block->count;
  }
  if (tokens == state_->info.tokens) return {};
  return corrupt(fmt::format("its blocks hold {} tokens, its header says {}", tokens, state_->info.tokens), 16)
      .in_file(state_->name);
}

}  // namespace seqkv
