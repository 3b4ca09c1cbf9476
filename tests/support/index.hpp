// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Damage to the index of a store that no program of ours would do.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <string>

namespace seqkv::test {

/// Runs statements on the index in `folder`, whatever its keys and its schema say to them.
inline void edit_index(const std::filesystem::path& folder, const std::string& sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "store.db").c_str(), &database), SQLITE_OK);
  char* words = nullptr;
  const std::string script = "PRAGMA foreign_keys = OFF; PRAGMA writable_schema = ON;" + sql;
  EXPECT_EQ(sqlite3_exec(database, script.c_str(), nullptr, nullptr, &words), SQLITE_OK) << sql << ": " << words;
  sqlite3_free(words);
  sqlite3_close(database);
}

}  // namespace seqkv::test
