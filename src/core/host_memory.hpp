// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Large arrays on the host.
#pragma once

#include <cstddef>
#include <memory>

namespace seqkv {

/// `bytes` of uninitialized memory, 64-byte aligned, in huge pages where the system grants them: random accesses to
/// arrays of many megabytes otherwise spend more time on address translation than on the data.
/// Throws std::bad_alloc.
std::shared_ptr<std::byte> allocate_host(std::size_t bytes);

/// An uninitialized array of numbers in such memory.
template <class T>
class HostArray {
 public:
  HostArray() = default;
  explicit HostArray(std::size_t count) : memory_(allocate_host(count * sizeof(T))), count_(count) {}

  T* data() const { return reinterpret_cast<T*>(memory_.get()); }
  T& operator[](std::size_t i) const { return data()[i]; }
  std::size_t size() const { return count_; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::size_t count_ = 0;
};

}  // namespace seqkv
