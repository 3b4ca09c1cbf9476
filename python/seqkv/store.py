# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Stores: many sessions in one folder, their common prefixes stored once (docs/store.md)."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, NamedTuple

from . import _core
from ._arrays import Destination, Layers, Tokens, as_tokens, readable
from .codecs import CodecLike, PathLike, ProfileLike, codec_of, fingerprint_of, profile_of, rope_of
from .errors import InvalidArgument
from .frames import Progress

Session = _core.Session


class SaveReport(NamedTuple):
    known_tokens: int
    """Tokens at the front that the store had already."""
    new_bytes: int
    """That this session added."""


class Store:
    """A store. One process writes to it at a time; any number read. Threads may share one object: they take turns.

    mode "r" reads; "w" also writes, and makes the store where there is none: then `shape` (or layers, kv_heads,
    head_dim) says what its caches are like. Where there is one and a shape is given, the two must agree.
    """

    def __init__(
        self,
        folder: PathLike,
        mode: str = "r",
        *,
        shape: _core.Shape | None = None,
        layers: int | None = None,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        dtype: str = "bfloat16",
        rope: _core.Rope | None = None,
        model: _core.Model | str | None = None,
        profile: ProfileLike = None,
        block_tokens: int = 256,
        protection: str = "none",
        salt: str = "",
        key_file: PathLike | None = None,
        immutable: bool = False,
    ) -> None:
        if mode not in ("r", "w"):
            raise InvalidArgument(f"mode '{mode}': there are r and w")
        key = None if key_file is None else os.fspath(key_file)
        loaded = profile_of(profile)
        if shape is None and layers is not None and kv_heads is not None and head_dim is not None:
            shape = _core.Shape(layers, kv_heads, head_dim, dtype, rope_of(rope, model, loaded))
        elif shape is None and isinstance(model, _core.Model):
            shape = model.shape(dtype)
        elif shape is None and loaded is not None:
            shape = loaded.shape
        if mode == "r" or shape is None:
            self._store = _core.open_store(os.fspath(folder), salt, key, immutable, mode == "w")
        else:
            self._store = _core.create_store(
                os.fspath(folder), shape, fingerprint_of(model, loaded), block_tokens, protection, salt, key
            )

    def close(self) -> None:
        """Gives the store to other writers. Anything but close() fails afterwards."""
        self._store.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def shape(self) -> _core.Shape:
        return self._store.shape

    @property
    def model(self) -> str:
        """Fingerprint of the model; empty: not named."""
        return self._store.model

    @property
    def block_tokens(self) -> int:
        return self._store.block_tokens

    # ---- caches in and out

    def save(
        self,
        name: str,
        tokens: Any,
        layers: Layers,
        codec: CodecLike,
        *,
        profile: ProfileLike = None,
        share: bool = True,
        if_exists: str = "refuse",
        expires: int = 0,
        pinned: bool = False,
    ) -> SaveReport:
        """Saves a cache as a session, durably; of tokens that the store knows the values are not looked at.

        tokens, layers: as for compress.
        share: with all sessions of the tenant, by tokens: the values are what the store's model computes. False: with
            nobody, for values of unknown origin.
        if_exists: "refuse", "extend" (the new tokens begin with the old ones) or "replace".
        expires: seconds since 1970 from when on gc removes it; 0: never.
        """
        arrays, dtype = readable(layers)
        return SaveReport(
            *self._store.save(
                name, arrays, dtype, as_tokens(tokens), codec_of(codec, profile), share, if_exists, expires, pinned
            )
        )

    def restore(
        self,
        name: str,
        *,
        first: int = 0,
        count: int | None = None,
        first_layer: int = 0,
        layers: int | None = None,
        first_head: int = 0,
        heads: int | None = None,
        model: _core.Model | None = None,
        out: Layers | None = None,
        framework: str = "numpy",
        dtype: str | None = None,
    ) -> tuple[Tokens, list[tuple[Any, Any]]]:
        """The tokens [first, first + count) of a session and their values, of some layers and heads or of all.

        out, framework, dtype: as for decompress. model: for sessions of `replay` codecs.
        """
        shape = self.shape
        tokens = self.session(name).tokens
        end = tokens if count is None else first + count
        if not 0 <= first < end <= tokens:
            raise InvalidArgument(f"tokens {first} to {end} of a session of {tokens}")
        layers = shape.layers - first_layer if layers is None else layers
        heads = shape.kv_heads - first_head if heads is None else heads
        kept = _core.Shape(layers, heads, shape.head_dim, shape.dtype, shape.rope)
        target = Destination(kept, end - first, out, framework, dtype)
        part = _core.Part(first, end - first, first_layer, layers, first_head, heads)
        ids = self._store.restore(name, target.arrays, target.dtype, part, model)
        return as_tokens(ids), target.finish()

    def match(self, tokens: Any, codec: CodecLike, *, profile: ProfileLike = None) -> int:
        """How many of the first tokens are stored with this codec: whole blocks, or a whole session."""
        return self._store.match(as_tokens(tokens), codec_of(codec, profile))

    def restore_prefix(
        self,
        tokens: Any,
        codec: CodecLike,
        *,
        profile: ProfileLike = None,
        out: Layers | None = None,
        framework: str = "numpy",
        dtype: str | None = None,
    ) -> tuple[int, list[tuple[Any, Any]]]:
        """The longest known prefix: how many tokens, and their values. `out` decides how many it may be, if given."""
        ids = as_tokens(tokens)
        chosen = codec_of(codec, profile)
        count = self._store.match(ids, chosen)
        if out is not None:
            count = min(count, int(out[0][0].shape[1]))
        if count == 0:
            return 0, []
        target = Destination(self.shape, count, out, framework, dtype)
        self._store.restore_prefix(ids[:count], chosen, target.arrays, target.dtype)
        return count, target.finish()

    def tokens(self, name: str) -> Tokens:
        """The token ids of a session."""
        return as_tokens(self._store.tokens(name))

    def codec(self, name: str) -> _core.Codec:
        """The codec of a session, with its profile."""
        return self._store.codec(name)

    # ---- sessions

    def sessions(self) -> list[Session]:
        """By name."""
        return self._store.sessions()

    def session(self, name: str) -> Session:
        return self._store.session(name)

    def remove(self, name: str) -> None:
        """Its bytes stay on the disk until gc."""
        self._store.remove(name)

    def fork(self, name: str, to: str, tokens: int) -> None:
        """A session of the first tokens of another; nothing is copied."""
        self._store.fork(name, to, tokens)

    def touch(self, name: str) -> None:
        """Counts a use, for retain."""
        self._store.touch(name)

    def set_expiry(self, name: str, expires: int) -> None:
        self._store.set_expiry(name, expires)

    def set_pinned(self, name: str, pinned: bool = True) -> None:
        self._store.set_pinned(name, pinned)

    # ---- upkeep

    def totals(self) -> dict[str, int]:
        """What the store holds, of all tenants."""
        return self._store.totals()

    def verify(self, *, progress: Progress | None = None) -> dict[str, Any]:
        """Reads every byte; `problems` is empty where all is well."""
        return self._store.verify(progress)

    def gc(self, *, dead_part: float = 0.25) -> dict[str, Any]:
        """Gives back the disk space of what was removed or is past its time."""
        return self._store.gc(dead_part)

    def retain(
        self, *, bytes: int = 0, sessions: int = 0, policy: str = "value", half_life: float = 7 * 86400.0
    ) -> dict[str, Any]:
        """Brings the store within budgets (0: none): what is worth least goes (docs/retention.md)."""
        return self._store.retain(policy, bytes, sessions, half_life)
