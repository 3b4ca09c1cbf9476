// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/bytes.hpp"
#include "io/file.hpp"
#include "store/pack.hpp"

namespace seqkv::store {

std::vector<PackItem> walk_pack(std::span<const std::byte> pack, std::int64_t end) {
  constexpr auto alignment = static_cast<std::size_t>(pack_alignment);
  pack = pack.first(std::min(pack.size(), static_cast<std::size_t>(std::max<std::int64_t>(end, 0))));
  std::vector<PackItem> items;
  const auto damaged = [&items](std::size_t at) {
    if (items.empty() || !items.back().damaged) items.push_back({static_cast<std::int64_t>(at), 0, {}, true});
  };
  for (std::size_t at = pack_header_bytes; at < pack.size();) {
    const auto rest = pack.subspan(at);
    const auto size = whole_record(rest);
    if (!size) {
      damaged(at);
      at += alignment;
      continue;
    }
    items.push_back({static_cast<std::int64_t>(at), static_cast<std::int64_t>(*size),
                     static_cast<RecordType>(load_le<std::uint32_t>(rest.data() + 4)), false});
    const std::size_t next = std::min(round_up(at + *size, alignment), pack.size());
    const auto padding = pack.subspan(at + *size, next - at - *size);
    if (!std::ranges::all_of(padding, [](std::byte b) { return b == std::byte{0}; })) damaged(at + *size);
    at = next;
  }
  return items;
}

std::filesystem::path pack_path(const std::filesystem::path& folder, std::int64_t number) {
  return folder / "packs" / fmt::format("{:08}.pack", number);
}

Result<std::vector<std::int64_t>> pack_files(const std::filesystem::path& folder) {
  std::vector<std::int64_t> numbers;
  std::error_code problem;
  std::filesystem::directory_iterator entry(folder / "packs", problem);
  for (; !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    std::int64_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad == std::errc() && number > 0 && pack_path(folder, number).filename() == name) numbers.push_back(number);
  }
  if (problem && problem != std::errc::no_such_file_or_directory) {
    return io::system_error("cannot list", folder / "packs", problem.value());
  }
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace seqkv::store
