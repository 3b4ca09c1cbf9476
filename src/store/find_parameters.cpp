// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <algorithm>

#include "core/try.hpp"
#include "io/file.hpp"
#include "store/pack.hpp"
#include "store/parameters.hpp"

namespace seqkv::store {

Result<std::string> find_parameters(const std::filesystem::path& folder, const std::vector<std::int64_t>& packs) {
  for (const std::int64_t number : packs) {
    const auto mapped = io::MappedFile::open(pack_path(folder, number), io::Links::refuse);
    if (!mapped) continue;
    const auto bytes = mapped->bytes();
    const auto items = walk_pack(bytes, std::min<std::int64_t>(static_cast<std::int64_t>(bytes.size()), 1 << 16));
    for (const PackItem& item : items) {
      if (item.damaged || item.type != RecordType::parameters) continue;
      const auto here = bytes.subspan(static_cast<std::size_t>(item.offset), static_cast<std::size_t>(item.bytes));
      const auto record = read_record(Seal(), here, item.offset);
      if (!record) continue;
      const auto text = parameters_text(*record, item.offset);
      StoreParameters parameters;
      Digest id;
      if (!text || !parse_text(*text, parameters, id) || !check_pack_header(bytes, id)) continue;
      return *text;
    }
  }
  return Error(ErrorCode::corrupt, "no pack tells what store it is of").in_file(folder.string());
}

}  // namespace seqkv::store
