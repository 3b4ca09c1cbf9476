// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/token_file.hpp"

#include <fmt/format.h>
#include <algorithm>

#include <charconv>
#include <cstdint>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv {
namespace {

using Sequences = std::vector<std::vector<Token>>;
constexpr std::string_view npy_magic = "\x93NUMPY";

Error out_of_range(const std::string& value, std::size_t index) {
  return Error(ErrorCode::token_out_of_range, fmt::format("entry {} is {}, expected 0 to 2^31 - 1", index, value));
}
Error no_tokens() { return Error(ErrorCode::empty_input, "there are no tokens"); }

Result<Token> checked_token(std::int64_t value, std::size_t index) {
  if (value < 0 || value > INT32_MAX) return out_of_range(fmt::format("{}", value), index);
  return static_cast<Token>(value);
}

Result<std::vector<Token>> from_json(const nlohmann::json& array) {
  if (!array.is_array()) return Error(ErrorCode::bad_format, "expected an array of token ids");
  std::vector<Token> tokens;
  tokens.reserve(array.size());
  for (const auto& entry : array) {
    if (!entry.is_number_integer()) {
      return Error(ErrorCode::bad_format, fmt::format("entry {} is not an integer", tokens.size()));
    }
    if (entry.is_number_unsigned() && entry.get<std::uint64_t>() > INT32_MAX)
      return out_of_range(entry.dump(), tokens.size());
    SEQKV_ASSIGN(const Token token, checked_token(entry.get<std::int64_t>(), tokens.size()));
    tokens.push_back(token);
  }
  if (tokens.empty()) return no_tokens();
  return tokens;
}

/// The value of `'key': value` in the Python literal that is a .npy header.
std::string_view npy_field(std::string_view header, std::string_view key) {
  const auto at = header.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) return {};
  auto value = header.substr(at + key.size() + 3);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const auto end = value.starts_with('(') ? value.find(')') : value.find_first_of(",}");
  return value.substr(0, end);
}

/// NEP 1: magic, version, header length (2 or 4 bytes), a Python dict literal, data.
Result<std::vector<Token>> from_npy(std::string_view file) {
  const auto bad = [](std::string what) {
    return Error(ErrorCode::bad_format, std::move(what)).at_field(".npy header");
  };
  ByteReader reader(as_bytes(file));
  if (reader.get_string(npy_magic.size()) != npy_magic) return bad("the magic bytes are not those of a .npy file");
  const auto major = reader.get<std::uint8_t>();
  reader.get<std::uint8_t>();
  const std::size_t length = major == 1 ? reader.get<std::uint16_t>() : reader.get<std::uint32_t>();
  const std::string header = reader.get_string(length);
  if (!reader.ok() || major < 1 || major > 3) return bad("truncated, or an unknown version");

  const auto descr = npy_field(header, "descr");
  const bool is_signed = descr == "'<i4'" || descr == "'<i8'";
  if (!is_signed && descr != "'<u4'" && descr != "'<u8'") {
    return bad(fmt::format("dtype {} (little-endian 32- or 64-bit integers are expected)", io::printable(descr)));
  }
  const std::size_t width = descr[3] == '4' ? 4 : 8;
  auto shape = npy_field(header, "shape");
  const auto comma = shape.find(',');
  if (!shape.starts_with('(') || comma == std::string_view::npos ||
      shape.find_first_not_of(" ", comma + 1) != std::string_view::npos) {
    return bad("a one-dimensional array is expected");
  }
  std::size_t count = 0;
  const auto digits = shape.substr(1, comma - 1);
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (problem != std::errc() || end != digits.data() + digits.size() || count != reader.remaining() / width ||
      reader.remaining() % width != 0) {
    return bad(fmt::format("shape ({},) does not fit the {} bytes of data", io::printable(digits), reader.remaining()));
  }
  std::vector<Token> tokens;
  tokens.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t value = 0;
    if (width == 8) {
      value = reader.get<std::int64_t>();  // an unsigned value above 2^63 turns negative and is refused
    } else {
      value = is_signed ? reader.get<std::int32_t>() : std::int64_t{reader.get<std::uint32_t>()};
    }
    SEQKV_ASSIGN(const Token token, checked_token(value, i));
    tokens.push_back(token);
  }
  return tokens;
}

Result<std::vector<Token>> from_safetensors(const std::filesystem::path& path) {
  SEQKV_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  SEQKV_ASSIGN(const TensorView ids, file.tensor("input_ids"));
  if (ids.dtype != "I32" || ids.shape.size() != 1) {
    return Error(ErrorCode::shape_mismatch, "expected I32 [tokens]").at_field("input_ids");
  }
  std::vector<Token> tokens;
  ByteReader reader(ids.bytes);
  while (reader.remaining() > 0) {
    SEQKV_ASSIGN(const Token token, checked_token(reader.get<std::int32_t>(), tokens.size()));
    tokens.push_back(token);
  }
  return tokens;
}

Result<Sequences> read_any(const std::filesystem::path& path) {
  const std::string suffix = path.extension().string();
  Sequences sequences;
  if (suffix == ".npy") {
    SEQKV_ASSIGN(const std::string file, io::read_file(path, limits::max_text_bytes));
    SEQKV_ASSIGN(sequences.emplace_back(), from_npy(file));
  } else if (suffix == ".json") {
    SEQKV_ASSIGN(const nlohmann::json json, io::read_json(path));
    SEQKV_ASSIGN(sequences.emplace_back(), from_json(json));
  } else if (suffix == ".jsonl") {
    SEQKV_TRY(io::for_each_json_line(path, [&sequences](std::int64_t, const nlohmann::json& line) -> Result<void> {
      SEQKV_ASSIGN(sequences.emplace_back(), from_json(line));
      return {};
    }));
  } else if (suffix == ".safetensors") {
    SEQKV_ASSIGN(sequences.emplace_back(), from_safetensors(path));
  } else {
    return Error(ErrorCode::unsupported,
                 fmt::format("token files end in .npy, .json, .jsonl or .safetensors, not '{}'", suffix));
  }
  if (sequences.empty()) return Error(ErrorCode::empty_input, "no sequence in the file");
  if (sequences[0].empty()) return no_tokens();
  return sequences;
}

std::string npy_header(std::size_t count) {
  std::string dict = fmt::format("{{'descr': '<i4', 'fortran_order': False, 'shape': ({},), }}", count);
  dict.resize(round_up(dict.size() + 11, std::size_t{64}) - 11, ' ');  // magic 6, version 2, length 2, newline 1
  dict += '\n';
  ByteWriter head;
  head.put(as_bytes(npy_magic));
  head.put(std::uint8_t{1});
  head.put(std::uint8_t{0});
  head.put(static_cast<std::uint16_t>(dict.size()));
  return std::string(reinterpret_cast<const char*>(head.data()), head.size()) + dict;
}

}  // namespace

Result<std::vector<std::vector<Token>>> read_token_file(const std::filesystem::path& path) {
  auto sequences = read_any(path);
  if (!sequences) return std::move(sequences).error().in_file(path.string());
  return sequences;
}

Result<void> write_token_file(const std::filesystem::path& path, const std::vector<std::vector<Token>>& sequences) {
  const std::string suffix = path.extension().string();
  if (suffix != ".npy" && suffix != ".json" && suffix != ".jsonl") {
    return Error(ErrorCode::unsupported, fmt::format("token files end in .npy, .json or .jsonl, not '{}'", suffix))
        .in_file(path.string());
  }
  if (suffix != ".jsonl" && sequences.size() != 1) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{} takes one sequence, there are {}", suffix, sequences.size()))
        .in_file(path.string());
  }
  for (const auto& sequence : sequences) {
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      if (sequence[i] > INT32_MAX) return out_of_range(fmt::format("{}", sequence[i]), i).in_file(path.string());
    }
  }
  SEQKV_ASSIGN(io::AtomicFile file, io::AtomicFile::create(path));
  if (suffix == ".npy") {
    SEQKV_TRY(file.append(as_bytes(npy_header(sequences[0].size()))));
    SEQKV_TRY(file.append(as_bytes(TokenSpan(sequences[0]))));
  } else {
    for (const auto& sequence : sequences)
      SEQKV_TRY(file.append(as_bytes(fmt::format("[{}]\n", fmt::join(sequence, ",")))));
  }
  return file.commit();
}

}  // namespace seqkv
