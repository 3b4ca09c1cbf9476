// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A program has the tests of an area; a test of CTest are those of one file. After InitGoogleTest:
///   --file=AREA/NAME.cpp   only tests of this file
///   --only=TEXT            and of those only such with TEXT in their names
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace seqkv::test {

/// False, and says so, if the arguments select nothing. A filter that was given to GoogleTest is left as it is.
inline bool select_tests(int argc, char** argv) {
  std::string_view file;
  std::string_view only = "";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--file=")) file = argument.substr(7);
    if (argument.starts_with("--only=")) only = argument.substr(7);
  }
  if (file.empty() || testing::GTEST_FLAG(filter) != "*") return true;
  std::string names;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const testing::TestInfo& test = *suite.GetTestInfo(t);
      const std::string name = std::string(suite.name()) + "." + test.name();
      const std::string_view path = test.file();
      const bool of_file = path.ends_with(file) && path.substr(0, path.size() - file.size()).ends_with('/');
      if (of_file && name.find(only) != std::string::npos) names += name + ":";
    }
  }
  testing::GTEST_FLAG(filter) = names;
  if (names.empty()) std::fprintf(stderr, "no test of '%s' has '%s' in its name\n", file.data(), only.data());
  return !names.empty();
}

}  // namespace seqkv::test
