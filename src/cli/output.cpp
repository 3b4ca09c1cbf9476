// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "cli/command.hpp"

namespace seqkv::cli {

void print(const Options& options, const Report& report) {
  options.json ? print_json(report) : print_text(report, without_controls);
}

void say(const Options& options, const std::string& line) {
  if (!options.quiet) put(stderr, line + "\n");
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Progress::Progress(const Options& options, std::string label)
    : visible_(!options.quiet && ::isatty(STDERR_FILENO) == 1), label_(std::move(label)), started_(now()) {}

Progress::~Progress() {
  if (visible_ && drawn_ > 0) put(stderr, "\r\033[K");
}

void Progress::update(std::int64_t done, std::int64_t all) {
  constexpr double interval = 0.1;
  if (!visible_ || (now() - drawn_ < interval && done < all)) return;
  draw(done, all);
  drawn_ = now();
}

void Progress::draw(std::int64_t done, std::int64_t all) {
  constexpr int width = 30;
  const double part = all > 0 ? static_cast<double>(done) / static_cast<double>(all) : 1.0;
  const int filled = static_cast<int>(part * width);
  const double elapsed = now() - started_;
  const double left = part > 0 ? elapsed / part - elapsed : 0;
  put(stderr, fmt::format("\r\033[K{} [{}{}] {}/{}  {:.0f} s, {:.0f} s left", label_, std::string(filled, '#'),
                          std::string(width - filled, ' '), done, all, elapsed, left));
  std::fflush(stderr);
}

}  // namespace seqkv::cli
