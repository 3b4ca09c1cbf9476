// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/nfc.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

#include "core/try.hpp"
#include "model/utf8.hpp"

namespace seqkv {
namespace {

// Characters of Unicode 10 to 16 that have a combining class or compose with others, in order. U+11A7 is there
// because utf8proc (2.8) takes it for an empty final consonant and swallows it.
constexpr std::array<std::pair<char32_t, char32_t>, 49> inert = {{
    {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x11a7, 0x11a7},   {0x1715, 0x1715},   {0x1abf, 0x1ace},
    {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x105c9, 0x105c9}, {0x105d2, 0x105d2}, {0x105da, 0x105da},
    {0x105e4, 0x105e4}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efa, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113e2},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x1611e, 0x1612f}, {0x16d63, 0x16d6a}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef},
}};

bool is_inert(char32_t point) {
  const auto range = std::lower_bound(inert.begin(), inert.end(), point,
                                      [](const auto& entry, char32_t value) { return entry.second < value; });
  return range != inert.end() && range->first <= point;
}

/// Whether every character is below U+0300, where the first combining mark stands: such text is in NFC.
bool is_nfc_at_a_glance(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xcc; });
}

Result<void> append_composed(std::string_view text, std::string& out) {
  if (is_nfc_at_a_glance(text)) {
    out += text;
    return {};
  }
  utf8proc_uint8_t* composed = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &composed, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  struct Free {
    void operator()(utf8proc_uint8_t* memory) const { std::free(memory); }
  };
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(composed);
  if (length < 0) return Error(ErrorCode::out_of_memory, fmt::format("NFC: {}", utf8proc_errmsg(length)));
  out.append(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(length));
  return {};
}

}  // namespace

Result<std::string> to_nfc(std::string_view text) {
  if (is_nfc_at_a_glance(text)) return std::string(text);
  // What stands between inert characters is composed on its own: nothing moves or combines across them.
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!is_inert(next_code_point(text, at))) continue;
    SEQKV_TRY(append_composed(text.substr(done, begin - done), out));
    out += text.substr(begin, at - begin);
    done = at;
  }
  SEQKV_TRY(append_composed(text.substr(done), out));
  return out;
}

}  // namespace seqkv
