# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""LMCache keeps its chunks as frames (docs/python-adapters.md). Written for LMCache 0.5.

A remote storage of its engine, a file a chunk:

    remote_storage_plugins: ["seqkv"]
    extra_config:
      remote_storage_plugin.seqkv.module_path: seqkv.lmcache
      remote_storage_plugin.seqkv.class_name: SeqkvConnector
      remote_storage_plugin.seqkv.base_path: /scratch/kv
      remote_storage_plugin.seqkv.codec: none+lossless

and a serde of its multiprocess server, for whatever storage is below, once this module is imported there:

    {"type": "fs", "base_path": "/scratch/kv", "serde": {"type": "seqkv", "codec": "none+lossless", "head_dim": 128}}

LMCache names a chunk by a hash: what tokens are in it, and where they stand, is not known here. So codecs without
prediction (`none+...`) can be used, and keys are coded as they are.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import logging
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from lmcache.v1.distributed.serde import (
    AsyncSerdeProcessor,
    Deserializer,
    SerdeProcessor,
    Serializer,
    get_registered_serde_types,
    register_serde_factory,
)
from lmcache.v1.memory_management import MemoryFormat, MemoryObj
from lmcache.v1.storage_backend.connector.base_connector import RemoteConnector

from . import frames
from .errors import Error, ShapeMismatch, WrongModel
from .paged import DTYPES

log = logging.getLogger("seqkv")

#: Bytes of a length in front of a frame in memory.
_LENGTH = 8


def check_codec(codec: str) -> str:
    """Raises ValueError for codecs that need to know the tokens of a chunk, or its place."""
    predictor = codec.split("+", 1)[0]
    if predictor != "none":
        raise ValueError(f"the codec '{codec}' predicts from tokens, which LMCache does not hand on: use none+...")
    return codec


def layers_of(chunk: torch.Tensor, heads: int, head_dim: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A chunk [2, layers, tokens, heads * head_dim] as keys and values [heads, tokens, head_dim] of each layer; views
    of the same memory."""
    if chunk.dim() != 4 or chunk.shape[0] != 2 or chunk.shape[3] != heads * head_dim:
        raise ValueError(
            f"a chunk of shape {tuple(chunk.shape)}: expected are [2, layers, tokens, {heads} heads of {head_dim}]"
        )
    if chunk.dtype not in DTYPES:
        raise ValueError(f"a chunk of {chunk.dtype}: {', '.join(DTYPES.values())} are supported")
    split = chunk.view(*chunk.shape[:3], heads, head_dim).transpose(2, 3)
    return [(split[0, layer], split[1, layer]) for layer in range(chunk.shape[1])]


def compress(chunk: torch.Tensor, heads: int, head_dim: int, codec: str, **options: Any) -> bytes | None:
    """seqkv.compress of a chunk."""
    return frames.compress(torch.zeros(chunk.shape[2], dtype=torch.int64), layers_of(chunk, heads, head_dim), codec,
                           **options)


def decompress(frame: frames.Frame, chunk: torch.Tensor, heads: int, head_dim: int) -> None:
    """Fills a chunk, after all checksums held. Raises seqkv.ShapeMismatch where the frame is of another shape, or of
    another type of numbers."""
    if frame.shape.dtype != DTYPES.get(chunk.dtype):
        raise ShapeMismatch(f"a frame of {frame.shape.dtype} for a chunk of {chunk.dtype}")
    frames.decompress(frame, out=layers_of(chunk, heads, head_dim))


def _plugin_options(extra: dict[str, Any], class_name: str) -> dict[str, Any]:
    """Those of the plugin whose class this is: LMCache does not say its name."""
    prefix, suffix = "remote_storage_plugin.", ".class_name"
    names = [key.removeprefix(prefix).removesuffix(suffix) for key, value in extra.items()
             if key.startswith(prefix) and key.endswith(suffix) and value == class_name]
    if len(names) != 1:
        raise ValueError(f"seqkv: {len(names)} plugins in extra_config have the class {class_name}, there is to be one")
    start = f"{prefix}{names[0]}."
    options = {key.removeprefix(start): value for key, value in extra.items() if key.startswith(start)}
    if not options.get("base_path"):
        raise ValueError(f"seqkv needs {start}base_path in extra_config")
    return options


class SeqkvConnector(RemoteConnector):  # type: ignore[misc]
    """Remote storage: a file a chunk in a folder that all engines see."""

    def __init__(self, loop: asyncio.AbstractEventLoop, local_cpu_backend: Any, config: Any):
        metadata = local_cpu_backend.metadata
        super().__init__(local_cpu_backend.config, metadata)
        extra = (config.extra_config if config is not None else None) or {}
        options = _plugin_options(extra, type(self).__name__)
        if metadata.use_mla or len(self.meta_shapes) != 1 or config.use_layerwise:
            raise ValueError("seqkv: MLA, several groups of layers and layerwise chunks are not supported")
        if self.meta_dtypes[0] not in DTYPES:
            raise ValueError(f"seqkv: chunks of {self.meta_dtypes[0]}: {', '.join(DTYPES.values())} are supported")
        self.codec = check_codec(options.get("codec", "none+lossless"))
        self.folder = pathlib.Path(options["base_path"])
        self.folder.mkdir(parents=True, exist_ok=True)
        self.loop = loop
        self.local_cpu_backend = local_cpu_backend
        self._heads, self._head_dim = metadata.kv_shape[3], metadata.kv_shape[4]
        self._model = hashlib.sha256(metadata.model_name.encode()).hexdigest()
        # One chunk at a time: seqkv works on all cores by itself.
        self._threads = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="seqkv")

    def _path(self, key: Any) -> pathlib.Path:
        return self.folder / (str(key.to_string()).replace("/", "-SEP-") + ".sqkv")

    async def exists(self, key: Any) -> bool:
        return self.exists_sync(key)

    def exists_sync(self, key: Any) -> bool:
        return self._path(key).exists()

    async def put(self, key: Any, memory_obj: MemoryObj) -> None:
        await self.loop.run_in_executor(self._threads, self._put, self._path(key), memory_obj)

    def _put(self, path: pathlib.Path, memory_obj: MemoryObj) -> None:
        # Under a name of its own until it is whole: engines may write the same chunk at the same time.
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            compress(_tensor_of(memory_obj), self._heads, self._head_dim, self.codec, model=self._model, path=os.fspath(part))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    async def get(self, key: Any) -> MemoryObj | None:
        return await self.loop.run_in_executor(self._threads, self._get, self._path(key))

    def _get(self, path: pathlib.Path) -> MemoryObj | None:
        """None, as if there were no such chunk, for whatever is not wholly right: the engine computes it."""
        if not path.exists():
            return None
        shape = self.meta_shapes[0]
        memory_obj = None
        try:
            frame = frames.open_frame(path)
            if frame.model != self._model:
                raise WrongModel(f"the chunk is of model {frame.model[:16]}, not {self._model[:16]}")
            if frame.shape.layers != shape[1] or frame.tokens > shape[2]:
                raise ShapeMismatch(f"{frame.shape.layers} layers of {frame.tokens} tokens for chunks of {tuple(shape)}")
            memory_obj = self.local_cpu_backend.allocate(torch.Size([2, shape[1], frame.tokens, shape[3]]),
                                                         self.meta_dtypes[0], MemoryFormat.KV_2LTD)
            if memory_obj is None:
                return None  # no memory
            decompress(frame, _tensor_of(memory_obj), self._heads, self._head_dim)
            return memory_obj
        except (Error, ValueError) as error:
            log.warning("seqkv: %s: %s", path, error)
            if memory_obj is not None:
                memory_obj.ref_count_down()
            return None

    def remove_sync(self, key: Any) -> bool:
        try:
            self._path(key).unlink()
            return True
        except OSError:
            return False

    async def list(self) -> list[str]:
        return [path.name.removesuffix(".sqkv").replace("-SEP-", "/") for path in self.folder.glob("*.sqkv")]

    async def close(self) -> None:
        self._threads.shutdown(wait=True)


class SeqkvSerializer(Serializer):  # type: ignore[misc]
    """A chunk into a frame, its length in front."""

    def __init__(self, codec: str, head_dim: int):
        self.codec = check_codec(codec)
        self.head_dim = head_dim

    def serialize(self, src: MemoryObj, dst: MemoryObj, key: Any) -> int:
        chunk = _tensor_of(src)
        frame = compress(chunk, _heads_of(chunk.shape, self.head_dim), self.head_dim, self.codec)
        assert frame is not None
        out = _tensor_of(dst).flatten().view(torch.uint8)
        size = _LENGTH + len(frame)
        if size > out.numel():
            raise ValueError(f"a frame of {len(frame)} bytes for a buffer of {out.numel()}")
        out[:_LENGTH] = torch.frombuffer(bytearray(len(frame).to_bytes(_LENGTH, "little")), dtype=torch.uint8)
        out[_LENGTH:size] = torch.frombuffer(bytearray(frame), dtype=torch.uint8)
        return size

    def estimate_serialized_size(self, layout_desc: Any) -> int:
        """An upper bound: a codec stores raw what it cannot make smaller, and adds headers."""
        shape, dtype = _only(layout_desc.shapes), _only(layout_desc.dtypes)
        values = math.prod(map(int, shape)) * int(dtype.itemsize)
        blocks = -(-int(shape[2]) // 256)
        return _LENGTH + values + 8 * int(shape[2]) + blocks * (1024 + 256 * int(shape[1])) + (16 << 10)


class SeqkvDeserializer(Deserializer):  # type: ignore[misc]
    """The reverse. Raises, and leaves the chunk as it was, unless every checksum holds."""

    def __init__(self, head_dim: int):
        self.head_dim = head_dim

    def deserialize(self, src: MemoryObj, dst: MemoryObj, key: Any) -> None:
        data = _tensor_of(src).flatten().view(torch.uint8).numpy()
        size = int.from_bytes(data[:_LENGTH].tobytes(), "little")
        if len(data) < _LENGTH or size > len(data) - _LENGTH:
            raise ValueError(f"a frame of {size} bytes in a buffer of {len(data)}")
        chunk = _tensor_of(dst)
        heads = _heads_of(chunk.shape, self.head_dim)
        decompress(frames.open_frame(data[_LENGTH : _LENGTH + size].tobytes()), chunk, heads, self.head_dim)


def _tensor_of(memory_obj: MemoryObj) -> torch.Tensor:
    if memory_obj.tensor is None:
        raise ValueError("seqkv: an object without a tensor, or with several")
    tensor: torch.Tensor = memory_obj.tensor
    return tensor


def _heads_of(shape: Sequence[int], head_dim: int) -> int:
    if len(shape) != 4 or shape[3] % head_dim:
        raise ValueError(f"a chunk of shape {tuple(shape)} has no heads of {head_dim}")
    return shape[3] // head_dim


def _only(items: Sequence[Any]) -> Any:
    if len(items) != 1:
        raise ValueError(f"seqkv: {len(items)} groups of layers, one is supported")
    return items[0]


def create_serde(options: dict[str, Any]) -> SerdeProcessor:
    """For LMCache's registry: {"type": "seqkv", "codec": ..., "head_dim": ...}."""
    unknown = sorted(set(options) - {"codec", "head_dim"})
    if unknown:
        raise ValueError(f"the serde 'seqkv' has no option '{unknown[0]}'")
    head_dim = options.get("head_dim")
    if not isinstance(head_dim, int) or head_dim < 1:
        raise ValueError("the serde 'seqkv' needs the option 'head_dim': components of a head")
    codec = str(options.get("codec", "none+lossless"))
    return AsyncSerdeProcessor(SeqkvSerializer(codec, head_dim), SeqkvDeserializer(head_dim))


if "seqkv" not in get_registered_serde_types():
    register_serde_factory("seqkv", create_serde)
