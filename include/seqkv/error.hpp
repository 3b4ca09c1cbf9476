// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbered errors. A code is never reused and never changes its meaning; its hundreds digit is the exit
/// code of the command line program (DESIGN 6).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace seqkv {

enum class ErrorCode : std::int32_t {
  internal = 100,  ///< a broken invariant: a bug in seqkv, please report it

  invalid_argument = 200,    ///< a parameter of the call is out of its domain
  invalid_codec_spec = 201,  ///< a codec string that the grammar does not know

  bad_format = 300,          ///< a file of another program that does not follow its own format
  unsupported = 301,         ///< well-formed, but a kind that seqkv does not implement (named in the message)
  shape_mismatch = 302,      ///< a tensor whose shape or dtype is not the expected one
  missing_field = 303,       ///< a tensor or key that must be there is not
  not_finite = 304,          ///< NaN or infinity where only finite numbers make sense
  not_utf8 = 305,            ///< text that is not UTF-8
  empty_input = 306,         ///< nothing to work on: no text, no tokens, no lines
  token_out_of_range = 307,  ///< a token id that is not in the vocabulary
  wrong_model = 310,         ///< made with another model than the one given
  wrong_store = 311,         ///< a store with other parameters than the ones given
  wrong_profile = 313,       ///< a profile of another model, or not the one that coded
  session_differs = 312,     ///< a session of this name exists with other tokens
  wrong_key = 314,           ///< not the key of the store, none where one is needed, or one where there is none
  ranks_differ = 315,        ///< ranks of one job that were given different things

  file_not_found = 400,     ///< no such file or folder
  session_not_found = 401,  ///< no such session in the store

  corrupt = 500,              ///< a seqkv file that breaks its own rules
  checksum_mismatch = 501,    ///< stored and recomputed checksum differ
  truncated = 502,            ///< a seqkv file that ends too early
  unsupported_version = 503,  ///< a seqkv file of a version this library does not read
  missing_reference = 504,    ///< a block that was predicted from another one, which is not there
  forged = 505,               ///< a record or an index that nobody with the store's key made

  io = 600,             ///< the operating system refused a read or write
  disk_full = 601,      ///< no space left on the device, or a quota
  communication = 602,  ///< MPI reports an error: another rank is gone, or the network

  out_of_memory = 700,   ///< an allocation failed
  limit_exceeded = 701,  ///< more than include/seqkv/limits.hpp allows
  busy = 702,            ///< another process holds the store

  interrupted = 800,  ///< stopped by a signal, at a point from which the job can go on or with nothing left behind
};

/// The name of a code, for example "checksum_mismatch".
std::string_view to_string(ErrorCode code) noexcept;

/// The exit code of the command line program for an error of this code (DESIGN 6).
constexpr int exit_code(ErrorCode code) noexcept { return static_cast<int>(code) / 100; }

/// `text` for a terminal, which would obey the control characters (C0, DEL, C1) of names from files: '?' for each of
/// them, and for each byte that is not of a UTF-8 character.
std::string without_controls(std::string_view text);

/// What went wrong, and where. The message is a whole sentence without the place; `describe` adds it.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  std::string file;          ///< path, or empty
  std::string field;         ///< tensor, key, option or line, or empty
  std::int64_t offset = -1;  ///< byte offset in `file`, or -1
  std::int64_t block = -1;   ///< coded block, or -1

  Error(ErrorCode error_code, std::string text) : code(error_code), message(std::move(text)) {}

  /// Names the file, unless an inner function has named one already.
  Error&& in_file(std::string_view path) &&;
  Error&& at_field(std::string_view name) &&;
  Error&& at_byte(std::int64_t position) &&;
  Error&& in_block(std::int64_t index) &&;

  /// One line, with '?' for control characters: "file: field: message (byte 12, block 3) [name 500]".
  std::string describe() const;
};

}  // namespace seqkv
