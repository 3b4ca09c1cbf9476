// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/peers.hpp"

#include <cstdio>
#include <cstdlib>

#define ZSTD_STATIC_LINKING_ONLY  // for the choice of how literals are coded
#include <zstd.h>

#if defined(SEQKV_HAVE_HTSCODECS)
#include <htscodecs/rANS_static4x16.h>
#endif
#if defined(SEQKV_HAVE_LZ4)
#include <lz4.h>
#endif
#if defined(SEQKV_HAVE_BLOSC)
#include <blosc.h>
#endif

namespace seqkv::bench {
namespace {

void require(bool condition, const char* who) {
  if (condition) return;
  std::fprintf(stderr, "%s failed\n", who);
  std::exit(1);
}

/// zstd's Huffman coder: everything is a literal, since matches are looked for at steps of 128 KiB only.
class ZstdHuffman : public Peer {
 public:
  ZstdHuffman() : Peer("zstd-huffman"), coder_(ZSTD_createCCtx()), decoder_(ZSTD_createDCtx()) {
    require(!ZSTD_isError(ZSTD_CCtx_setParameter(coder_, ZSTD_c_compressionLevel, -131072)) &&
                !ZSTD_isError(ZSTD_CCtx_setParameter(coder_, ZSTD_c_literalCompressionMode, ZSTD_lcm_huffman)) &&
                !ZSTD_isError(ZSTD_CCtx_setParameter(coder_, ZSTD_c_contentSizeFlag, 0)),
            "zstd");
  }
  ~ZstdHuffman() override {
    ZSTD_freeCCtx(coder_);
    ZSTD_freeDCtx(decoder_);
  }
  std::size_t bound(std::size_t bytes) const override { return ZSTD_compressBound(bytes); }
  std::size_t encode(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> room) override {
    const std::size_t size = ZSTD_compress2(coder_, room.data(), room.size(), bytes.data(), bytes.size());
    require(!ZSTD_isError(size), "zstd");
    return size;
  }
  void decode(std::span<const std::uint8_t> coded, std::span<std::uint8_t> bytes) override {
    require(ZSTD_decompressDCtx(decoder_, bytes.data(), bytes.size(), coded.data(), coded.size()) == bytes.size(),
            "zstd");
  }

 private:
  ZSTD_CCtx* coder_;
  ZSTD_DCtx* decoder_;
};

#if defined(SEQKV_HAVE_HTSCODECS)
class Htscodecs : public Peer {
 public:
  Htscodecs() : Peer("htscodecs-rans32x16") {}
  std::size_t bound(std::size_t bytes) const override {
    return rans_compress_bound_4x16(static_cast<unsigned>(bytes), RANS_ORDER_X32);
  }
  std::size_t encode(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> room) override {
    auto size = static_cast<unsigned>(room.size());
    auto* in = const_cast<std::uint8_t*>(bytes.data());
    require(
        rans_compress_to_4x16(in, static_cast<unsigned>(bytes.size()), room.data(), &size, RANS_ORDER_X32) != nullptr,
        "htscodecs");
    return size;
  }
  void decode(std::span<const std::uint8_t> coded, std::span<std::uint8_t> bytes) override {
    auto size = static_cast<unsigned>(bytes.size());
    auto* in = const_cast<std::uint8_t*>(coded.data());
    require(rans_uncompress_to_4x16(in, static_cast<unsigned>(coded.size()), bytes.data(), &size) != nullptr,
            "htscodecs");
  }
};
#endif

#if defined(SEQKV_HAVE_LZ4)
class Lz4 : public Peer {
 public:
  Lz4() : Peer("lz4") {}
  std::size_t bound(std::size_t bytes) const override {
    return static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(bytes)));
  }
  std::size_t encode(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> room) override {
    const int size =
        LZ4_compress_default(reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<char*>(room.data()),
                             static_cast<int>(bytes.size()), static_cast<int>(room.size()));
    require(size > 0, "lz4");
    return static_cast<std::size_t>(size);
  }
  void decode(std::span<const std::uint8_t> coded, std::span<std::uint8_t> bytes) override {
    require(LZ4_decompress_safe(reinterpret_cast<const char*>(coded.data()), reinterpret_cast<char*>(bytes.data()),
                                static_cast<int>(coded.size()), static_cast<int>(bytes.size())) > 0,
            "lz4");
  }
};
#endif

#if defined(SEQKV_HAVE_BLOSC)
/// Bit shuffle and lz4: what c-blosc does best with numbers of few bits.
class Blosc : public Peer {
 public:
  Blosc() : Peer("blosc-lz4-bitshuffle") {}
  std::size_t bound(std::size_t bytes) const override { return bytes + BLOSC_MAX_OVERHEAD; }
  std::size_t encode(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> room) override {
    const int size =
        blosc_compress_ctx(5, BLOSC_BITSHUFFLE, 1, bytes.size(), bytes.data(), room.data(), room.size(), "lz4", 0, 1);
    require(size > 0, "blosc");
    return static_cast<std::size_t>(size);
  }
  void decode(std::span<const std::uint8_t> coded, std::span<std::uint8_t> bytes) override {
    require(blosc_decompress_ctx(coded.data(), bytes.data(), bytes.size(), 1) > 0, "blosc");
  }
};
#endif

}  // namespace

std::vector<Peer*> peers() {
  static ZstdHuffman zstd;
  std::vector<Peer*> all = {&zstd};
#if defined(SEQKV_HAVE_HTSCODECS)
  static Htscodecs htscodecs;
  all.push_back(&htscodecs);
#endif
#if defined(SEQKV_HAVE_LZ4)
  static Lz4 lz4;
  all.push_back(&lz4);
#endif
#if defined(SEQKV_HAVE_BLOSC)
  static Blosc blosc;
  all.push_back(&blosc);
#endif
  return all;
}

}  // namespace seqkv::bench
