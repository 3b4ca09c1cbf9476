# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""LMCache's own connector manager, memory objects and serde processor around ours. Skipped where it is not installed."""

import asyncio
import os
import select
import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lmcache.v1.distributed.serde", reason="LMCache is not installed", exc_type=ImportError)
from lmcache.utils import CacheEngineKey  # noqa: E402
from lmcache.v1.config import LMCacheEngineConfig  # noqa: E402
from lmcache.v1.distributed.serde import SerdeConfig, create_serde_processor  # noqa: E402
from lmcache.v1.memory_management import MemoryFormat, MemoryObjMetadata, TensorMemoryObj  # noqa: E402
from lmcache.v1.metadata import LMCacheMetadata  # noqa: E402

import seqkv  # noqa: E402
import seqkv.lmcache as adapter  # noqa: E402

LAYERS, HEADS, DIM, CHUNK = 4, 2, 64, 256
HIDDEN = HEADS * DIM


def memory_obj(shape, dtype=torch.bfloat16, fmt=MemoryFormat.KV_2LTD):
    shape = torch.Size(shape)
    size = shape.numel() * dtype.itemsize
    metadata = MemoryObjMetadata(shape=shape, dtype=dtype, address=0, phy_size=size, ref_count=1, fmt=fmt)
    return TensorMemoryObj(torch.zeros(size, dtype=torch.uint8), metadata, None)


def chunk(tokens=CHUNK, seed=0, dtype=torch.bfloat16):
    found = memory_obj((2, LAYERS, tokens, HIDDEN), dtype)
    walk = torch.randn(2, LAYERS, tokens, HIDDEN, generator=torch.Generator().manual_seed(seed)).cumsum(2)
    found.tensor.copy_(walk / 8)
    return found


class Backend:
    """The memory that LMCache lends to connectors."""

    def __init__(self, config, metadata):
        self.config, self.metadata = config, metadata
        self.full = False

    def allocate(self, shapes, dtypes, fmt=None, **_):
        return None if self.full else memory_obj(shapes, dtypes, fmt)


def metadata_of(model="a/model", worker=0, **changes):
    return LMCacheMetadata(**{"model_name": model, "world_size": 2, "local_world_size": 2, "worker_id": worker,
                              "local_worker_id": worker, "kv_dtype": torch.bfloat16, "chunk_size": CHUNK,
                              "kv_shape": (LAYERS, 2, CHUNK, HEADS, DIM), **changes})


def config_of(folder, **options):
    extra = {"remote_storage_plugin.kv.module_path": "seqkv.lmcache",
             "remote_storage_plugin.kv.class_name": "SeqkvConnector", "remote_storage_plugin.kv.base_path": str(folder)}
    extra.update({f"remote_storage_plugin.kv.{name}": value for name, value in options.items()})
    return LMCacheEngineConfig.from_defaults(remote_storage_plugins=["kv"], extra_config=extra, chunk_size=CHUNK)


def key_of(number, model="a/model", worker=0):
    return CacheEngineKey(model, 2, worker, number, torch.bfloat16)


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


class Remote:
    """A connector, made as LMCache makes it, called from another thread than the loop's."""

    def __init__(self, loop, folder, metadata=None, **options):
        from lmcache.v1.storage_backend.connector import ConnectorManager

        config = config_of(folder, **options)
        self.backend = Backend(config, metadata or metadata_of())
        self.loop = loop
        self.connector = ConnectorManager("plugin://kv", loop, self.backend, config, self.backend.metadata,
                                          "kv").create_connector()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def __getattr__(self, name):
        return lambda *arguments: self.run(getattr(self.connector, name)(*arguments))


@pytest.mark.parametrize("tokens", [CHUNK, 100, 1])
def test_chunks_come_back(tmp_path, loop, tokens):
    remote = Remote(loop, tmp_path)
    assert isinstance(remote.connector, adapter.SeqkvConnector)
    given = chunk(tokens)
    assert not remote.exists(key_of(1))
    remote.put(key_of(1), given)
    assert remote.exists(key_of(1)) and remote.connector.exists_sync(key_of(1))
    found = remote.get(key_of(1))
    assert found.tensor.shape == given.tensor.shape and found.get_memory_format() == MemoryFormat.KV_2LTD
    assert torch.equal(found.tensor, given.tensor)
    assert remote.get(key_of(2)) is None
    assert remote.list() == [key_of(1).to_string()]
    assert remote.connector.remove_sync(key_of(1)) and not remote.connector.remove_sync(key_of(1))
    remote.close()


def test_files_are_smaller_and_frames(tmp_path, loop):
    remote = Remote(loop, tmp_path)
    given = chunk()
    remote.put(key_of(1), given)
    file = next(tmp_path.iterdir())
    assert file.stat().st_size < given.get_size()
    assert seqkv.open_frame(file).codec == "none+lossless"
    lossy = Remote(loop, tmp_path / "lossy", codec="none+turboquant:4")
    lossy.put(key_of(1), given)
    found = lossy.get(key_of(1)).tensor.float()
    error = (found - given.tensor.float()).norm() / given.tensor.float().norm()
    assert 0.01 < error < 0.2
    assert next((tmp_path / "lossy").iterdir()).stat().st_size < given.get_size() / 3


def test_keys_do_not_mix(tmp_path, loop):
    remote = Remote(loop, tmp_path)
    remote.put(key_of(1), chunk(seed=1))
    remote.put(key_of(1, worker=1), chunk(seed=2))
    assert torch.equal(remote.get(key_of(1)).tensor, chunk(seed=1).tensor)
    assert torch.equal(remote.get(key_of(1, worker=1)).tensor, chunk(seed=2).tensor)
    assert remote.run(remote.connector.batched_async_contains("x", [key_of(1), key_of(3), key_of(1)])) == 1


def test_a_batch_stops_at_what_is_damaged(tmp_path, loop):
    remote = Remote(loop, tmp_path)
    for i in range(4):
        remote.put(key_of(i), chunk(seed=i))
    file = remote.connector._path(key_of(2))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    found = remote.run(remote.connector.batched_get_non_blocking("x", [key_of(i) for i in range(4)]))
    assert len(found) == 2 and torch.equal(found[1].tensor, chunk(seed=1).tensor)
    file.write_bytes(data[:100])
    assert remote.get(key_of(2)) is None


def test_what_does_not_belong_here_is_a_miss(tmp_path, loop):
    remote = Remote(loop, tmp_path)
    remote.put(key_of(1), chunk())
    for other in (metadata_of(kv_shape=(LAYERS, 2, CHUNK, 1, 2 * DIM)), metadata_of(kv_dtype=torch.float16),
                  metadata_of(kv_shape=(LAYERS + 1, 2, CHUNK, HEADS, DIM)), metadata_of(model="another/model"),
                  metadata_of(chunk_size=128, kv_shape=(LAYERS, 2, 128, HEADS, DIM))):
        assert Remote(loop, tmp_path, other).get(key_of(1)) is None
    remote.backend.full = True
    assert remote.get(key_of(1)) is None


def test_a_chunk_that_cannot_be_coded_leaves_nothing(tmp_path, loop):
    remote = Remote(loop, tmp_path)
    with pytest.raises(ValueError, match="float64"):
        remote.put(key_of(1), chunk(dtype=torch.float64))
    assert list(tmp_path.iterdir()) == []


def test_names_of_plugins(tmp_path):
    one = {"remote_storage_plugin.a.b.class_name": "SeqkvConnector", "remote_storage_plugin.a.b.base_path": "x",
           "remote_storage_plugin.c.class_name": "Other", "remote_storage_plugin.c.base_path": "y"}
    assert adapter._plugin_options(one, "SeqkvConnector")["base_path"] == "x"
    with pytest.raises(ValueError, match="2 plugins"):
        adapter._plugin_options({**one, "remote_storage_plugin.d.class_name": "SeqkvConnector"}, "SeqkvConnector")


@pytest.mark.parametrize(
    ("options", "metadata", "message"),
    [
        ({"codec": "linear+ecsq:step=1"}, {}, "predicts from tokens"),
        ({"base_path": ""}, {}, "base_path"),
        ({}, {"use_mla": True, "kv_shape": (LAYERS, 1, CHUNK, 1, DIM)}, "MLA"),
        ({}, {"kv_dtype": torch.uint8}, "uint8"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(tmp_path, loop, options, metadata, message):
    with pytest.raises(ValueError, match=message):
        Remote(loop, tmp_path, metadata_of(**metadata), **options)


def test_under_the_remote_backend_of_the_engine(tmp_path, loop):
    from lmcache.v1.storage_backend.remote_backend import RemoteBackend

    config, metadata = config_of(tmp_path), metadata_of()
    remote = RemoteBackend(config, metadata, loop, Backend(config, metadata), "cpu", plugin_name="kv")
    given = chunk()
    remote.submit_put_task(key_of(1), given).result(60)
    assert remote.contains(key_of(1)) and not remote.contains(key_of(2))
    assert torch.equal(remote.get_blocking(key_of(1)).tensor, given.tensor)
    assert remote.get_blocking(key_of(2)) is None


# ---- serde -----------------------------------------------------------------------------------------------------------


class Desc:
    def __init__(self, shape, dtype):
        self.shapes, self.dtypes = [torch.Size(shape)], [dtype]


def run_serde(serde, submit, query, fd, src, dst):
    task = submit([src], [dst], [None])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(60_000)
    os.read(fd, 8)
    return query(task)


def serialize(serde, src, dst):
    return run_serde(serde, serde.submit_serialize, serde.query_serialize_result, serde.get_serialize_event_fd(), src, dst)


def deserialize(serde, src, dst):
    return run_serde(serde, serde.submit_deserialize, serde.query_deserialize_result, serde.get_deserialize_event_fd(),
                     src, dst)


@pytest.mark.parametrize("tokens", [CHUNK, 3])
def test_the_serde_of_the_server(tokens):
    serde = create_serde_processor(SerdeConfig("seqkv", {"head_dim": DIM}))
    given = chunk(tokens)
    size = serde.estimate_serialized_size(Desc(given.tensor.shape, torch.bfloat16))
    buffer = memory_obj((size,), torch.uint8, MemoryFormat.BINARY_BUFFER)
    assert serialize(serde, given, buffer) is True
    if tokens == CHUNK:
        assert buffer.get_size() < given.get_size(), "the buffer is cut to what was written"
    found = memory_obj(given.tensor.shape)
    assert deserialize(serde, buffer, found) is True
    assert torch.equal(found.tensor, given.tensor)

    buffer.tensor[buffer.get_size() // 2] ^= 1
    found.tensor.fill_(3)
    assert deserialize(serde, buffer, found) is False
    assert (found.tensor == 3).all(), "a chunk is as it was where its frame is damaged"
    serde.close()


def test_noise_fits_the_estimate():
    """What cannot be made smaller."""
    serde = create_serde_processor(SerdeConfig("seqkv", {"head_dim": DIM}))
    for tokens in (1, 16, 257, 1000):
        given = memory_obj((2, LAYERS, tokens, HIDDEN))
        given.tensor.copy_(torch.randint(-(2**15), 2**15, given.tensor.shape, dtype=torch.int16).view(torch.bfloat16))
        size = serde.estimate_serialized_size(Desc(given.tensor.shape, torch.bfloat16))
        buffer = memory_obj((size,), torch.uint8, MemoryFormat.BINARY_BUFFER)
        assert serialize(serde, given, buffer) is True
        found = memory_obj(given.tensor.shape)
        assert deserialize(serde, buffer, found) is True
        assert torch.equal(found.tensor.view(torch.int16), given.tensor.view(torch.int16))
    serde.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "head_dim"), ({"head_dim": 64, "speed": 9}, "speed"), ({"head_dim": 64, "codec": "replay"}, "predicts")],
)
def test_serde_options_that_are_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        create_serde_processor(SerdeConfig("seqkv", options))
