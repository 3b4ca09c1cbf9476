// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/text.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::io {
namespace {

using nlohmann::json;

/// Makes a document of bounded depth. Not by nlohmann's parser with a callback, which goes over all that an array has
/// whenever an object in it ends: the square of what a hostile file holds.
class DocumentBuilder : public nlohmann::json_sax<json> {
 public:
  explicit DocumentBuilder(Duplicates duplicates) : duplicates_(duplicates) {}

  Result<json> finish() {
    if (error_) return std::move(*error_);
    return std::move(root_);
  }

  bool null() override { return take(nullptr); }
  bool boolean(bool value) override { return take(value); }
  bool number_integer(std::int64_t value) override { return take(value); }
  bool number_unsigned(std::uint64_t value) override { return take(value); }
  bool number_float(double value, const std::string&) override { return take(value); }
  bool string(std::string& value) override { return take(std::move(value)); }
  bool binary(json::binary_t&) override { return fail(Error(ErrorCode::bad_format, "binary data in JSON")); }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    json& object = *open_.back();
    if (duplicates_ == Duplicates::refused && object.contains(name)) {
      return fail(Error(ErrorCode::bad_format, fmt::format("'{}' appears twice in one object", printable(name))));
    }
    member_ = &object[name];
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& problem) override {
    Error error(ErrorCode::bad_format, printable(problem.what()));
    // Its byte counts those read, so that the last one of them is the problem. A number that no double holds has none.
    const auto* at = dynamic_cast<const json::parse_error*>(&problem);
    if (at == nullptr) return fail(std::move(error));
    return fail(std::move(error).at_byte(std::max<std::int64_t>(static_cast<std::int64_t>(at->byte) - 1, 0)));
  }

 private:
  static constexpr std::size_t max_depth = 64;

  /// Where the value is now.
  json* put(json value) {
    if (!open_.empty() && open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    json* at = open_.empty() ? &root_ : member_;
    *at = std::move(value);
    return at;
  }
  bool take(json value) {
    put(std::move(value));
    return true;
  }
  bool open(json empty) {
    if (open_.size() >= max_depth) {
      return fail(Error(ErrorCode::limit_exceeded, "JSON nested deeper than 64 levels"));
    }
    open_.push_back(put(std::move(empty)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  bool fail(Error error) {
    error_ = std::move(error);
    return false;
  }

  Duplicates duplicates_;
  json root_;
  std::vector<json*> open_;  ///< objects and arrays that have not ended; what they hold so far does not move
  json* member_ = nullptr;   ///< of the innermost object: where its next value goes
  std::optional<Error> error_;
};

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, Duplicates duplicates) {
  // The parser takes a zero byte for the end of the text and would not look behind it.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    return Error(ErrorCode::bad_format, "a zero byte in JSON").at_byte(static_cast<std::int64_t>(zero));
  }
  DocumentBuilder builder(duplicates);
  json::sax_parse(text, &builder);  // false where the builder has an error
  return builder.finish();
}

Result<nlohmann::json> read_json(const std::filesystem::path& path) {
  SEQKV_ASSIGN(const std::string text, read_file(path, limits::max_json_bytes));
  auto document = parse_json(text);
  if (!document) return std::move(document).error().in_file(path.string());
  return document;
}

}  // namespace seqkv::io
