// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/trie.hpp"

#include <algorithm>
#include <cstring>

#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "trie/image.hpp"

namespace seqkv {

Trie::Trie(const TrieShape& shape, std::span<const std::byte> image, std::shared_ptr<const void> owner)
    : shape_(shape), image_(image), owner_(std::move(owner)), view_(trie::view_of(shape, image.data())) {}

Trie::Trie() {
  // A root that nothing passes: `allocate` cannot refuse a shape of one node.
  auto image = std::move(*trie::Image::allocate(shape_));
  std::memset(image.data(), 0, trie::Layout(shape_).bytes);
  image.arrays().child.set(0, 1);
  image.arrays().child.set(1, 1);
  *this = std::move(image).finish();
}

bool operator==(const Trie& a, const Trie& b) { return a.shape_ == b.shape_ && std::ranges::equal(a.image_, b.image_); }

Result<Trie> Trie::open(const std::filesystem::path& path) {
  return guard_memory("to check a trie", [&]() -> Result<Trie> {
    SEQKV_ASSIGN(auto file, io::MappedFile::open(path));
    const auto owner = std::make_shared<const io::MappedFile>(std::move(file));
    auto parsed = trie::parse(owner->bytes());
    if (!parsed) return std::move(parsed).error().in_file(path.string());
    return Trie(parsed->shape, parsed->image, owner);
  });
}

Result<void> Trie::save(const std::filesystem::path& path) const {
  SEQKV_ASSIGN(io::AtomicFile file, io::AtomicFile::create(path));
  SEQKV_TRY(file.append(trie::header_of(shape_, image_)));
  SEQKV_TRY(file.append(image_));
  return file.commit();
}

}  // namespace seqkv
