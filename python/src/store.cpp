// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/store.hpp"

#include <fmt/format.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <mutex>

#include "arrays.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/replay.hpp"
#include "seqkv/session.hpp"

namespace seqkv::python {
namespace {

using SharedModel = std::shared_ptr<const Model<Space>>;
using Path = std::filesystem::path;

/// A store is for one thread at a time.
class SharedStore {
 public:
  explicit SharedStore(Store store) : store_(std::move(store)) {}

  /// Without the interpreter's lock: who waits for the store does not hold it.
  template <class Work>
  auto with(const Work& work) {
    return released([&]() {
      const std::lock_guard lock(mutex_);
      if (!store_) fail(ErrorCode::invalid_argument, "the store is closed");
      return work(*store_);
    });
  }
  void close() {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    store_.reset();
  }

 private:
  std::mutex mutex_;
  std::optional<Store> store_;
};

StoreAccess access_of(const std::string& salt, const std::optional<Path>& key_file, bool immutable) {
  StoreAccess access{salt, {}, immutable};
  if (key_file) access.key = value_of(read_key_file(*key_file));
  return access;
}

Protection protection_of(const std::string& name) {
  for (const Protection known : {Protection::none, Protection::authentic, Protection::encrypted}) {
    if (name == to_string(known)) return known;
  }
  fail(ErrorCode::invalid_argument, "protection '" + name + "': there are none, authentic and encrypted");
}

IfExists if_exists_of(const std::string& name) {
  if (name == "refuse") return IfExists::refuse;
  if (name == "extend") return IfExists::extend;
  if (name == "replace") return IfExists::replace;
  fail(ErrorCode::invalid_argument, "if_exists '" + name + "': there are refuse, extend and replace");
}

std::unique_ptr<SharedStore> open(const Path& folder, const std::string& salt, const std::optional<Path>& key_file,
                                  bool immutable, bool writing) {
  return released([&]() {
    const StoreAccess access = access_of(salt, key_file, immutable);
    return std::make_unique<SharedStore>(
        value_of(writing ? Store::open_for_writing(folder, access) : Store::open(folder, access)));
  });
}

std::unique_ptr<SharedStore> create(const Path& folder, const KvShape& shape, const std::string& model,
                                    std::int64_t block_tokens, const std::string& protection, const std::string& salt,
                                    const std::optional<Path>& key_file) {
  const StoreParameters parameters{shape, digest_of(model), block_tokens, protection_of(protection)};
  return released([&]() {
    return std::make_unique<SharedStore>(
        value_of(Store::open_for_writing(folder, parameters, access_of(salt, key_file, false))));
  });
}

/// (known tokens, new bytes)
std::pair<std::int64_t, std::int64_t> save(SharedStore& store, const std::string& name,
                                           const std::vector<ReadArray>& arrays, const std::string& dtype,
                                           const ReadTokens& tokens, const Codec& codec, bool share,
                                           const std::string& if_exists, std::int64_t expires, bool pinned) {
  const SaveOptions options{share ? Sharing::by_tokens : Sharing::none, if_exists_of(if_exists), expires, pinned};
  return store.with([&](Store& open) {
    const ConstKvView kv = view_of(arrays, open.parameters().shape.rope, dtype);
    const SaveReport report = value_of(seqkv::save(Space(), open, name, span_of(tokens), codec, kv, options));
    return std::pair(report.known_tokens, report.new_bytes);
  });
}

std::int64_t match(SharedStore& store, const ReadTokens& tokens, const Codec& codec) {
  return store.with([&](Store& open) { return value_of(open.match(span_of(tokens), codec)).tokens(); });
}

std::vector<Token> restore(SharedStore& store, const std::string& name, const std::vector<WriteArray>& arrays,
                           const std::string& dtype, const RestorePart& part, const SharedModel& model) {
  return store.with([&](Store& open) {
    const KvView out = view_of(arrays, open.parameters().shape.rope, dtype);
    const Codec codec = value_of(open.codec(name));
    if (!codec.needs_model()) return value_of(seqkv::restore(Space(), open, name, part, out));
    const bool all = part.first_token == 0 && part.first_layer == 0 && part.first_head == 0;
    if (!all) fail(ErrorCode::unsupported, "a session of codec " + codec.spec() + " is restored as a whole");
    const BlockSource source = value_of(open.source(name));
    std::vector<Token> ids(static_cast<std::size_t>(source.tokens()));
    TransferOptions options;
    options.profile = codec.profile();
    value_of(decompress(Space(), model, source, sink_of(out, ids), options));
    return ids;
  });
}

/// The first arrays' tokens of what match() counts; without values left of a failure.
void restore_prefix(SharedStore& store, const ReadTokens& tokens, const Codec& codec,
                    const std::vector<WriteArray>& arrays, const std::string& dtype) {
  store.with([&](Store& open) {
    const KvView out = view_of(arrays, open.parameters().shape.rope, dtype);
    const auto blocks = value_of(open.match(span_of(tokens).first(static_cast<std::size_t>(out.tokens)), codec));
    if (blocks.tokens() != out.tokens) {
      fail(ErrorCode::invalid_argument, fmt::format("{} tokens are known, {} are wanted", blocks.tokens(), out.tokens));
    }
    if (out.shape.dtype == open.parameters().shape.dtype) {
      value_of(decode(Space(), codec, blocks, out));
      return true;
    }
    KvCache cache = value_of(KvCache::create(open.parameters().shape, out.tokens));
    value_of(decode(Space(), codec, blocks, cache.view()));
    value_of(copy(Space(), cache.view(), out));
    return true;
  });
}

void bind_session(nb::module_& module) {
  nb::class_<SessionInfo>(module, "Session", "A session of a store.")
      .def_ro("name", &SessionInfo::name)
      .def_ro("tokens", &SessionInfo::tokens)
      .def_ro("blocks", &SessionInfo::blocks)
      .def_ro("bytes", &SessionInfo::bytes, "Of its coded blocks, shared ones included.")
      .def_ro("own_bytes", &SessionInfo::own_bytes, "Of those that no other session shares.")
      .def_ro("codec", &SessionInfo::codec)
      .def_prop_ro("profile", [](const SessionInfo& info) { return hex_of(info.profile); })
      .def_ro("created", &SessionInfo::created, "Seconds since 1970.")
      .def_ro("expires", &SessionInfo::expires, "Seconds since 1970; 0: never.")
      .def_ro("pinned", &SessionInfo::pinned)
      .def("__repr__", [](const SessionInfo& info) {
        return fmt::format("Session('{}', tokens={}, bytes={}, codec='{}')", info.name, info.tokens, info.bytes,
                           info.codec);
      });
}

nb::dict dict_of(const StoreTotals& totals) {
  nb::dict out;
  out["sessions"] = totals.sessions;
  out["blocks"] = totals.blocks;
  out["session_tokens"] = totals.session_tokens;
  out["stored_tokens"] = totals.stored_tokens;
  out["block_bytes"] = totals.block_bytes;
  out["pack_bytes"] = totals.pack_bytes;
  out["index_bytes"] = totals.index_bytes;
  out["profile_bytes"] = totals.profile_bytes;
  return out;
}

nb::dict dict_of(const VerifyReport& report) {
  nb::dict out;
  out["sessions"] = report.sessions;
  out["blocks"] = report.blocks;
  out["bytes"] = report.bytes;
  out["problems"] = report.problems;
  out["broken_sessions"] = report.broken_sessions;
  return out;
}

nb::dict dict_of(const GcReport& report) {
  nb::dict out;
  out["expired"] = report.expired;
  out["packs_removed"] = report.packs_removed;
  out["packs_written"] = report.packs_written;
  out["bytes_before"] = report.bytes_before;
  out["bytes_after"] = report.bytes_after;
  return out;
}

nb::dict dict_of(const RetainReport& report) {
  nb::dict out;
  out["expired"] = report.expired;
  out["evicted"] = report.evicted;
  out["blocks_evicted"] = report.blocks_evicted;
  out["bytes_evicted"] = report.bytes_evicted;
  out["bytes"] = report.bytes;
  return out;
}

using StoreClass = nb::class_<SharedStore>;

void bind_values(StoreClass& type) {
  type.def("save", &save, nb::arg("name"), nb::arg("arrays"), nb::arg("dtype"), nb::arg("tokens"), nb::arg("codec"),
           nb::arg("share"), nb::arg("if_exists"), nb::arg("expires"), nb::arg("pinned"))
      .def("match", &match, nb::arg("tokens"), nb::arg("codec"))
      .def("restore", &restore, nb::arg("name"), nb::arg("arrays"), nb::arg("dtype"), nb::arg("part"),
           nb::arg("model").none())
      .def("restore_prefix", &restore_prefix, nb::arg("tokens"), nb::arg("codec"), nb::arg("arrays"), nb::arg("dtype"))
      .def(
          "tokens",
          [](SharedStore& store, const std::string& name) {
            return store.with([&](Store& open) { return value_of(open.tokens(name)); });
          },
          nb::arg("name"))
      .def(
          "codec",
          [](SharedStore& store, const std::string& name) {
            return store.with([&](Store& open) { return value_of(open.codec(name)); });
          },
          nb::arg("name"));
}

void bind_sessions(StoreClass& type) {
  const auto each = [&type](const char* name, auto act, const auto&... arguments) {
    type.def(name, act, nb::arg("name"), arguments...);
  };
  type.def("sessions",
           [](SharedStore& store) { return store.with([](Store& open) { return value_of(open.sessions()); }); });
  each("session", [](SharedStore& store, const std::string& name) {
    return store.with([&](Store& open) { return value_of(open.session(name)); });
  });
  each("remove", [](SharedStore& store, const std::string& name) {
    store.with([&](Store& open) { return value_of(open.remove(name)), true; });
  });
  each("touch", [](SharedStore& store, const std::string& name) {
    store.with([&](Store& open) { return value_of(open.touch(name)), true; });
  });
  each(
      "fork",
      [](SharedStore& store, const std::string& name, const std::string& to, std::int64_t tokens) {
        store.with([&](Store& open) { return value_of(open.fork(name, to, tokens)), true; });
      },
      nb::arg("to"), nb::arg("tokens"));
  each(
      "set_expiry",
      [](SharedStore& store, const std::string& name, std::int64_t expires) {
        store.with([&](Store& open) { return value_of(open.set_expiry(name, expires)), true; });
      },
      nb::arg("expires"));
  each(
      "set_pinned",
      [](SharedStore& store, const std::string& name, bool pinned) {
        store.with([&](Store& open) { return value_of(open.set_pinned(name, pinned)), true; });
      },
      nb::arg("pinned"));
}

void bind_upkeep(StoreClass& type) {
  type.def("totals",
           [](SharedStore& store) { return dict_of(store.with([](Store& open) { return value_of(open.totals()); })); })
      .def(
          "verify",
          [](SharedStore& store, nb::object progress) {
            Progress talk(std::move(progress));
            const VerifyReport report = store.with([&](Store& open) { return value_of(open.verify(talk.function())); });
            talk.rethrow();
            return dict_of(report);
          },
          nb::arg("progress").none())
      .def(
          "gc",
          [](SharedStore& store, double dead_part) {
            return dict_of(store.with([&](Store& open) { return value_of(open.gc({dead_part})); }));
          },
          nb::arg("dead_part"))
      .def(
          "retain",
          [](SharedStore& store, const std::string& policy, std::int64_t bytes, std::int64_t sessions,
             double half_life) {
            return dict_of(store.with([&](Store& open) {
              RetentionRule rule;
              rule.policy = value_of(parse_retention_policy(policy));
              rule.bytes = bytes;
              rule.sessions = sessions;
              rule.half_life = half_life;
              return value_of(open.retain(rule));
            }));
          },
          nb::arg("policy"), nb::arg("bytes"), nb::arg("sessions"), nb::arg("half_life"));
}

}  // namespace

void bind_store(nb::module_& module) {
  bind_session(module);
  nb::class_<RestorePart>(module, "Part", "Some tokens, layers and heads of a session; a count of 0: all that follow.")
      .def(
          "__init__",
          [](RestorePart* self, std::int64_t first_token, std::int64_t tokens, std::int64_t first_layer,
             std::int64_t layers, std::int64_t first_head, std::int64_t heads) {
            new (self) RestorePart{first_token, tokens, first_layer, layers, first_head, heads};
          },
          nb::arg("first_token") = 0, nb::arg("tokens") = 0, nb::arg("first_layer") = 0, nb::arg("layers") = 0,
          nb::arg("first_head") = 0, nb::arg("heads") = 0);
  StoreClass type(module, "Store");
  type.def("close", &SharedStore::close)
      .def_prop_ro("shape",
                   [](SharedStore& store) { return store.with([](Store& open) { return open.parameters().shape; }); })
      .def_prop_ro(
          "model",
          [](SharedStore& store) { return hex_of(store.with([](Store& open) { return open.parameters().model; })); })
      .def_prop_ro("block_tokens", [](SharedStore& store) {
        return store.with([](Store& open) { return open.parameters().block_tokens; });
      });
  bind_values(type);
  bind_sessions(type);
  bind_upkeep(type);
  module.def("open_store", &open, nb::arg("folder"), nb::arg("salt"), nb::arg("key_file").none(), nb::arg("immutable"),
             nb::arg("writing"));
  module.def("create_store", &create, nb::arg("folder"), nb::arg("shape"), nb::arg("model"), nb::arg("block_tokens"),
             nb::arg("protection"), nb::arg("salt"), nb::arg("key_file").none());
}

}  // namespace seqkv::python
