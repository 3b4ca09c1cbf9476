// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/frame.hpp"

#include <fmt/format.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "arrays.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::python {
namespace {

using SharedModel = std::shared_ptr<const Model<Space>>;
using SharedProfile = std::shared_ptr<const Profile>;
using Path = std::optional<std::filesystem::path>;

/// A frame, and the object whose bytes it is in.
struct Frame {
  nb::object bytes;
  FrameReader reader;
};

Frame parse(const nb::bytes& bytes) {
  const auto view = std::span(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
  return {bytes, released([&]() { return value_of(FrameReader::parse(view, "bytes")); })};
}

/// [tokens, hidden] arrays of the states that enter the layers, for replay+lossless.
std::vector<std::span<const std::byte>> rows_of(const std::vector<ReadArray>& hidden, const ConstKvView& kv) {
  std::vector<std::span<const std::byte>> layers;
  for (const ReadArray& array : hidden) {
    const bool contiguous = array.ndim() == 2 && array.stride(1) == 1 &&
                            (array.shape(0) < 2 || array.stride(0) == static_cast<std::int64_t>(array.shape(1)));
    if (!contiguous || array.itemsize() != size_of(kv.shape.dtype) ||
        static_cast<std::int64_t>(array.shape(0)) != kv.tokens) {
      fail(ErrorCode::shape_mismatch, "hidden states are contiguous [tokens, hidden] arrays in the dtype of the cache");
    }
    layers.emplace_back(static_cast<const std::byte*>(array.data()), array.nbytes());
  }
  if (!layers.empty() && static_cast<std::int64_t>(layers.size()) != kv.shape.layers) {
    fail(ErrorCode::shape_mismatch,
         fmt::format("hidden states of {} layers, the cache has {}", layers.size(), kv.shape.layers));
  }
  return layers;
}

KvSource source_with(const ConstKvView& kv, TokenSpan tokens, const std::vector<std::span<const std::byte>>& hidden) {
  KvSource source = source_of(kv, tokens);
  if (hidden.empty()) return source;
  source.hidden = [&hidden, all = kv.tokens](std::int64_t first, std::int64_t count) {
    std::vector<std::span<const std::byte>> rows;
    for (const auto layer : hidden) {
      const std::size_t width = layer.size() / static_cast<std::size_t>(all);
      rows.push_back(layer.subspan(static_cast<std::size_t>(first) * width, static_cast<std::size_t>(count) * width));
    }
    return Result<std::vector<std::span<const std::byte>>>(std::move(rows));
  };
  return source;
}

/// Little work is done sooner by the thread that asks for it.
int cores_for(const ConstKvView& kv) {
  constexpr std::int64_t little = 1 << 20;  // components
  return kv.shape.components_per_token() * kv.tokens < little ? 1 : threads();
}

/// Into a file, which gives None, or into bytes.
std::optional<nb::bytes> compress(const std::vector<ReadArray>& arrays, const std::string& dtype,
                                  const ReadTokens& tokens, const Codec& codec, const RopeConfig& rope,
                                  const std::string& model_fingerprint, const SharedModel& model,
                                  const std::vector<ReadArray>& hidden, std::int64_t block_tokens, const Path& path,
                                  nb::object progress) {
  const ConstKvView kv = view_of(arrays, rope, dtype);
  if (static_cast<std::int64_t>(tokens.size()) != kv.tokens) {
    fail(ErrorCode::shape_mismatch, fmt::format("{} token ids for a cache of {} tokens", tokens.size(), kv.tokens));
  }
  const Digest digest = digest_of(model_fingerprint);
  const auto rows = rows_of(hidden, kv);
  const KvSource source = source_with(kv, span_of(tokens), rows);
  Progress talk(std::move(progress));
  const Interrupt interrupt;
  TransferOptions options;
  options.cores = cores_for(kv);
  options.stop = interrupt.stop();
  options.progress = talk.function();
  std::vector<std::byte> bytes = released([&]() {
    const Codec settled = value_of(settle(Space(), codec, source, block_tokens, options));
    const FrameInfo info{kv.shape, kv.tokens, block_tokens, settled.spec(), digest, settled.profile_fingerprint()};
    FrameWriter writer = value_of(path ? FrameWriter::create(*path, info) : FrameWriter::create(info));
    options.profile = settled.profile();
    value_of(seqkv::compress(Space(), model, source, writer, options));
    value_of(writer.commit());
    return path ? std::vector<std::byte>() : writer.take();
  });
  talk.rethrow();
  if (path) return std::nullopt;
  return nb::bytes(bytes.data(), bytes.size());
}

void decompress(const Frame& frame, const std::vector<WriteArray>& arrays, const std::string& dtype,
                const WriteTokens& tokens, const SharedProfile& profile, const SharedModel& model,
                nb::object progress) {
  const KvView kv = view_of(arrays, frame.reader.info().shape.rope, dtype);
  if (static_cast<std::int64_t>(tokens.size()) != kv.tokens) {
    fail(ErrorCode::shape_mismatch,
         fmt::format("room for {} token ids and a cache of {} tokens", tokens.size(), kv.tokens));
  }
  Progress talk(std::move(progress));
  const Interrupt interrupt;
  TransferOptions options;
  options.cores = cores_for(kv);
  options.profile = profile;
  options.stop = interrupt.stop();
  options.progress = talk.function();
  released([&]() {
    value_of(frame.reader.inspect({}));  // every checksum of what is stored, before the first value is written
    const std::span<Token> ids(tokens.data(), tokens.size());
    value_of(seqkv::decompress(Space(), model, source_of(frame.reader), sink_of(kv, ids), options));
    return true;
  });
  talk.rethrow();
}

}  // namespace

void bind_frame(nb::module_& module) {
  nb::class_<Frame>(module, "Frame", "An open frame (.sqkv): one coded cache.")
      .def_static(
          "open",
          [](const std::filesystem::path& path) {
            return Frame{nb::none(), released([&]() { return value_of(FrameReader::open(path)); })};
          },
          nb::arg("path"))
      .def_static("parse", &parse, nb::arg("data"))
      .def_prop_ro("shape", [](const Frame& frame) { return frame.reader.info().shape; })
      .def_prop_ro(
          "tokens", [](const Frame& frame) { return frame.reader.info().tokens; }, "How many.")
      .def_prop_ro("block_tokens", [](const Frame& frame) { return frame.reader.info().block_tokens; })
      .def_prop_ro("codec", [](const Frame& frame) { return frame.reader.info().codec; })
      .def_prop_ro(
          "model", [](const Frame& frame) { return hex_of(frame.reader.info().model); },
          "Fingerprint of the model, in hex; empty: not named.")
      .def_prop_ro(
          "profile", [](const Frame& frame) { return hex_of(frame.reader.info().profile); },
          "Fingerprint of the profile that it needs, in hex; empty: none.")
      .def_prop_ro("bytes", [](const Frame& frame) { return frame.reader.bytes(); });
  module.def("compress", &compress, nb::arg("arrays"), nb::arg("dtype"), nb::arg("tokens"), nb::arg("codec"),
             nb::arg("rope"), nb::arg("model_fingerprint"), nb::arg("model").none(), nb::arg("hidden"),
             nb::arg("block_tokens"), nb::arg("path").none(), nb::arg("progress").none());
  module.def("decompress", &decompress, nb::arg("frame"), nb::arg("arrays"), nb::arg("dtype"), nb::arg("tokens"),
             nb::arg("profile").none(), nb::arg("model").none(), nb::arg("progress").none());
}

}  // namespace seqkv::python
