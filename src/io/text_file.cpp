// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/text_file.hpp"

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/text.hpp"

namespace seqkv {
namespace {

bool is_json_lines(std::filesystem::path path) {
  if (path.extension() == ".xz" || path.extension() == ".zst") path.replace_extension();
  return path.extension() == ".jsonl";
}

}  // namespace

Result<std::string> read_text_file(const std::filesystem::path& path) {
  SEQKV_ASSIGN(std::string text, io::read_text(path));
  if (const auto bad = io::find_invalid_utf8(text); bad >= 0) {
    return Error(ErrorCode::not_utf8, "the text is not UTF-8").in_file(path.string()).at_byte(bad);
  }
  return text;
}

Result<std::vector<std::string>> read_documents(const std::filesystem::path& path) {
  std::vector<std::string> documents;
  if (is_json_lines(path)) {
    SEQKV_TRY(io::for_each_json_line(path, [&documents](std::int64_t, const nlohmann::json& line) -> Result<void> {
      if (!line.is_object() || !line.contains("text") || !line["text"].is_string()) {
        return Error(ErrorCode::missing_field, "an object with a string 'text' is expected");
      }
      documents.push_back(line["text"].get<std::string>());
      return {};
    }));
  } else {
    SEQKV_ASSIGN(documents.emplace_back(), read_text_file(path));
  }
  if (documents.empty() || (documents.size() == 1 && documents[0].empty())) {
    return Error(ErrorCode::empty_input, "there is no text").in_file(path.string());
  }
  return documents;
}

Result<void> write_documents(const std::filesystem::path& path, const std::vector<std::string>& documents) {
  SEQKV_ASSIGN(io::AtomicFile file, io::AtomicFile::create(path));
  for (const std::string& document : documents) {
    const nlohmann::json line = {{"text", document}};
    SEQKV_TRY(file.append(as_bytes(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n")));
  }
  return file.commit();
}

}  // namespace seqkv
