// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/text.hpp"

#include <fmt/format.h>
#include <lzma.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::io {
namespace {

constexpr std::size_t chunk_bytes = 1 << 16;
constexpr int decoder_window_log = 27;  // what a window of zstd may take, as the zstd program by default
constexpr std::uint64_t decoder_memory = 256ULL << 20U;  // and a decoder of xz: more than xz -9 needs

Error too_long() {
  return Error(ErrorCode::limit_exceeded, fmt::format("more than {} bytes of text", limits::max_text_bytes));
}

Error too_hungry() {
  return Error(ErrorCode::limit_exceeded,
               fmt::format("decompression takes more than {} bytes of memory", decoder_memory));
}

Result<std::string> decompress_xz(std::string_view packed) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, decoder_memory, LZMA_CONCATENATED) != LZMA_OK) {
    return Error(ErrorCode::out_of_memory, "no memory for an xz decoder");
  }
  struct End {
    lzma_stream* stream;
    ~End() { lzma_end(stream); }
  } end{&stream};
  stream.next_in = reinterpret_cast<const std::uint8_t*>(packed.data());
  stream.avail_in = packed.size();
  std::string text;
  std::array<std::uint8_t, chunk_bytes> chunk;
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) {
    stream.next_out = chunk.data();
    stream.avail_out = chunk.size();
    status = lzma_code(&stream, LZMA_FINISH);
    text.append(reinterpret_cast<const char*>(chunk.data()), chunk.size() - stream.avail_out);
    if (static_cast<std::int64_t>(text.size()) > limits::max_text_bytes) return too_long();
  }
  if (status == LZMA_MEMLIMIT_ERROR) return too_hungry();
  if (status != LZMA_STREAM_END) {
    return Error(ErrorCode::bad_format, fmt::format("broken xz data (liblzma says {})", static_cast<int>(status)))
        .at_byte(static_cast<std::int64_t>(stream.total_in));
  }
  return text;
}

Result<std::string> decompress_zstd(std::string_view packed) {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context) return Error(ErrorCode::out_of_memory, "no memory for a zstd decoder");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, decoder_window_log);
  std::string text;
  std::array<char, chunk_bytes> chunk;
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t status = 1;
  while (in.pos < in.size || status != 0) {
    ZSTD_outBuffer out{chunk.data(), chunk.size(), 0};
    const std::size_t before = in.pos;
    status = ZSTD_decompressStream(context.get(), &out, &in);
    const auto at = static_cast<std::int64_t>(in.pos);
    if (ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge) return too_hungry();
    if (ZSTD_isError(status) != 0U) {
      return Error(ErrorCode::bad_format, fmt::format("broken zstd data: {}", ZSTD_getErrorName(status))).at_byte(at);
    }
    if (out.pos == 0 && in.pos == before) return Error(ErrorCode::bad_format, "zstd data ends too early").at_byte(at);
    text.append(chunk.data(), out.pos);
    if (static_cast<std::int64_t>(text.size()) > limits::max_text_bytes) return too_long();
  }
  return text;
}

}  // namespace

Result<std::string> read_text(const std::filesystem::path& path) {
  SEQKV_ASSIGN(std::string raw, read_file(path, limits::max_text_bytes));
  const std::string suffix = path.extension().string();
  if (suffix != ".xz" && suffix != ".zst") return raw;
  auto text = suffix == ".xz" ? decompress_xz(raw) : decompress_zstd(raw);
  if (!text) return std::move(text).error().in_file(path.string());
  return text;
}

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 200;
  std::string out(text.substr(0, longest));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  if (text.size() > longest) out += "...";
  return out;
}

std::int64_t find_invalid_utf8(std::string_view text) noexcept {
  const auto byte = [&text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  std::size_t i = 0;
  while (i < text.size()) {
    const unsigned lead = byte(i);
    std::size_t length = 1;
    unsigned low = 0x80;  // bounds of the second byte
    unsigned high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;   // overlong
      if (lead == 0xed) high = 0x9f;  // surrogates
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;   // overlong
      if (lead == 0xf4) high = 0x8f;  // above U+10FFFF
    } else if (lead >= 0x80) {
      return static_cast<std::int64_t>(i);
    }
    for (std::size_t k = 1; k < length; ++k) {
      const unsigned next = byte(i + k);
      if (next < (k == 1 ? low : 0x80U) || next > (k == 1 ? high : 0xbfU)) return static_cast<std::int64_t>(i);
    }
    i += length;
  }
  return -1;
}

Result<void> for_each_json_line(const std::filesystem::path& path,
                                const std::function<Result<void>(std::int64_t, const nlohmann::json&)>& visit) {
  SEQKV_ASSIGN(const std::string text, read_text(path));
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    const auto offset = static_cast<std::int64_t>(begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto on_line = [&](Error error) {
      if (error.offset >= 0) error.offset += offset;
      return std::move(error).at_field(fmt::format("line {}", number)).in_file(path.string());
    };
    if (const auto bad = find_invalid_utf8(line); bad >= 0) {
      return on_line(Error(ErrorCode::not_utf8, "not UTF-8").at_byte(bad));
    }
    const auto document = parse_json(line, Duplicates::refused);
    if (!document) return on_line(document.error());
    if (auto result = visit(number, *document); !result) {
      return std::move(result).error().at_field(fmt::format("line {}", number)).in_file(path.string());
    }
  }
  return {};
}

}  // namespace seqkv::io
