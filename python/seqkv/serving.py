# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Prefixes of requests in and out of stores, for serving engines with a scheduler and workers.

The `Planner` runs where the engine schedules: it asks the stores what they know of a request's tokens, and says what
the workers load and save in a step. A `Worker` does it on its shard of the heads. Neither knows the engine; the
adapters (seqkv.vllm) translate.

Each worker has a store of its own, all in one folder. Loading never gives wrong values: what fails a checksum, or is
not of this model, is reported by block, and the engine computes it.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from .codecs import codec_of, profile_of
from .errors import Error, InvalidArgument, Unsupported, WrongStore
from .paged import Pages
from .store import Store

log = logging.getLogger("seqkv")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user says, for the planner and all workers alike."""

    path: pathlib.Path
    codec: str = "none+lossless"
    profile: str | None = None
    salt: str = ""
    block_tokens: int = 256
    save: str = "prompt"  #: "prompt", "all" (also generated tokens) or "none"
    layout: str | None = None
    model: str | None = None  #: fingerprint, where the engine's own name for the model is not to be used

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """From a dictionary of the engine's configuration. Raises ValueError with the name of what is wrong."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"seqkv has no option '{unknown[0]}'; there are {', '.join(sorted(known))}")
        if not options.get("path"):
            raise ValueError("seqkv needs the option 'path': the folder of the stores")
        settings = cls(**{**options, "path": pathlib.Path(options["path"])})
        if settings.save not in ("prompt", "all", "none"):
            raise ValueError(f"option 'save' is '{settings.save}', not prompt, all or none")
        if not isinstance(settings.block_tokens, int) or settings.block_tokens < 1:
            raise ValueError(f"option 'block_tokens' is {settings.block_tokens!r}")
        return settings

    def coder(self) -> _core.Codec:
        """The codec with its profile. Errors: InvalidCodecSpec, Unsupported, those of the profile's file."""
        codec = codec_of(self.codec, profile_of(self.profile))
        if codec.needs_profile and codec.profile is None:
            raise InvalidArgument(f"codec {codec.spec} needs the option 'profile'")
        if codec.needs_model:
            raise Unsupported(f"codec {codec.spec}: engines restore without running seqkv's model")
        return codec

    def store(self, worker: int, workers: int) -> pathlib.Path:
        """The folder of a worker's store. Another number of workers has other shards, and other stores."""
        return self.path / f"shard-{worker}-of-{workers}"


@dataclasses.dataclass(frozen=True)
class Load:
    """Tokens [first, end) of a request come from the store."""

    request: str
    tokens: list[int]  #: from the start of the request to the end of the store's block with the last one
    first: int
    end: int
    block_ids: list[int]


@dataclasses.dataclass(frozen=True)
class Save:
    """All of these tokens go into the store."""

    request: str
    tokens: list[int]
    block_ids: list[int]


@dataclasses.dataclass
class Step:
    """What the workers do in a step of the engine."""

    loads: list[Load] = dataclasses.field(default_factory=list)
    saves: list[Save] = dataclasses.field(default_factory=list)


def session_name(tokens: Sequence[int]) -> str:
    """Sessions are named by what is in them: who saves the same tokens again finds them there."""
    return "tokens-" + hashlib.sha256(np.asarray(tokens, dtype="<u4").tobytes()).hexdigest()[:32]


def known_tokens(store: Store, tokens: np.ndarray, codec: _core.Codec) -> int:
    """How many of the first tokens a store knows; where it is damaged, up to there."""
    try:
        return store.match(tokens, codec)
    except Error as error:
        log.warning("seqkv: %s", error)
    good, bad = 0, -(-len(tokens) // store.block_tokens)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            known = store.match(tokens[: middle * store.block_tokens], codec) // store.block_tokens
            if known < middle:
                return known * store.block_tokens
            good = middle
        except Error:
            bad = middle
    return good * store.block_tokens


@dataclasses.dataclass
class _Request:
    tokens: Sequence[int]  #: grows as the engine generates
    prompt: int
    block_ids: list[int] = dataclasses.field(default_factory=list)
    saved: int = 0  #: tokens that the stores have, as far as is known here


@dataclasses.dataclass
class _Match:
    tokens: int  #: of the request
    changes: int  #: of the stores before it
    known: int
    computed: int = 0  #: that the engine has itself


class Planner:
    """The scheduler's side. `stores` of all workers are read, as a prefix is of use only where all of them have it."""

    def __init__(self, settings: Settings, workers: int, block_size: int):
        self.settings = settings
        self._codec = settings.coder()
        self.workers = workers
        self.block_size = block_size
        self._requests: dict[str, _Request] = {}
        self._matches: dict[str, _Match] = {}  #: of requests that wait for their blocks
        self._changes = 0  #: of what the stores know, as far as is known here
        self._planned: dict[str, Load] = {}
        # Of this step and the one before: an engine that schedules ahead hears late of what failed.
        self._recent: collections.deque[list[Load]] = collections.deque(maxlen=2)
        self._stores: dict[int, Store] = {}
        self._damaged: dict[bytes, int] = {}  #: by hash of the tokens up to the end of a block that failed

    # ---- what is known ----------------------------------------------------------------------------------------------

    def match(self, tokens: Sequence[int]) -> int:
        """Known first tokens, in whole blocks of the engine, never all of the request: one must be left to run."""
        usable = (len(tokens) - 1) // self.block_size * self.block_size
        if usable <= 0:
            return 0
        array = np.asarray(tokens, dtype=np.uint32)
        known = len(array)
        for worker in range(self.workers):
            store = self._store(worker)
            if store is None:
                return 0
            known = known_tokens(store, array[:known], self._codec)
            if known < self.block_size:
                return 0
        known = min(known // self.block_size * self.block_size, usable)
        return self._short_of_damage(array[:known])

    def _store(self, worker: int) -> Store | None:
        if worker not in self._stores:
            path = self.settings.store(worker, self.workers)
            if not path.exists():
                return None  # no worker has saved yet
            try:
                self._stores[worker] = Store(path, "r", salt=self.settings.salt)
            except Error as error:
                log.warning("seqkv: %s", error)
                return None
        return self._stores[worker]

    def _short_of_damage(self, tokens: np.ndarray) -> int:
        for end in range(self.block_size, len(tokens) + 1, self.block_size) if self._damaged else ():
            usable = self._damaged.get(hashlib.sha256(tokens[:end].tobytes()).digest())
            if usable is not None:
                return usable
        return len(tokens)

    # ---- the life of a request --------------------------------------------------------------------------------------

    def matched(self, request: str, tokens: Sequence[int], computed: int) -> int:
        """How many tokens beyond the `computed` first ones, which the engine has, can be loaded. Engines ask again and
        again while a request waits; the stores are read once, and when they have changed."""
        match = self._matches.get(request)
        if match is None or (match.tokens, match.changes) != (len(tokens), self._changes):
            match = self._matches[request] = _Match(len(tokens), self._changes, self.match(tokens))
        match.computed = computed
        return max(0, match.known - computed)

    def allocated(self, request: str, tokens: Sequence[int], prompt: int, block_ids: Sequence[int],
                  external: int) -> None:
        """The engine has given a request its blocks; `external` of the tokens that were matched are to be loaded.
        `tokens` may grow, and is read again later."""
        before = self._requests.get(request)
        match = self._matches.pop(request, _Match(0, 0, 0))
        saved = max(match.known, before.saved if before else 0)
        self._requests[request] = _Request(tokens, prompt, list(block_ids), saved)
        self._planned.pop(request, None)
        if external > 0:
            end = match.computed + external
            whole = -(-end // self.settings.block_tokens) * self.settings.block_tokens
            self._planned[request] = Load(request, list(tokens[:whole]), match.computed, end, list(block_ids))

    def more_blocks(self, request: str, block_ids: Sequence[int], instead: bool) -> None:
        """Blocks behind those that a request has, or, after it was preempted, instead of them."""
        known = self._requests.get(request)
        if known is not None:
            known.block_ids = list(block_ids) if instead else known.block_ids + list(block_ids)

    def computed(self, request: str, before: int, scheduled: int) -> Save | None:
        """In this step the engine computes `scheduled` tokens behind `before` ones; maybe the worker saves then.
        Of generated tokens only those before this step count: the engine may still drop what it guesses."""
        known = self._requests.get(request)
        if known is None or self.settings.save == "none":
            return None
        done = max(min(before + scheduled, known.prompt), min(before, len(known.tokens)))
        if done < known.prompt:
            return None  # once, when the prompt is whole
        if self.settings.save == "prompt":
            done = known.prompt
        done -= done % self.settings.block_tokens
        if done <= known.saved or done > len(known.block_ids) * self.block_size:
            return None
        known.saved = done
        self._changes += 1
        tokens = list(known.tokens[:done])
        return Save(request, tokens, list(known.block_ids[: -(-done // self.block_size)]))

    def step(self, saves: Sequence[Save | None]) -> Step:
        """Ends the planning of a step."""
        loads = list(self._planned.values())
        self._recent.append(loads)
        self._planned.clear()
        return Step(loads, [save for save in saves if save is not None])

    def finished(self, request: str) -> None:
        for known in (self._requests, self._planned, self._matches):
            known.pop(request, None)

    def failed(self, block_ids: set[int]) -> None:
        """Blocks that the workers could not load: the same tokens are not asked for again."""
        self._changes += bool(block_ids)
        for load in [load for loads in self._recent for load in loads]:
            for number in range(load.first // self.block_size, -(-load.end // self.block_size)):
                if load.block_ids[number] not in block_ids:
                    continue
                usable = number * self.block_size
                tokens = np.asarray(load.tokens[: usable + self.block_size], dtype=np.uint32)
                self._damaged[hashlib.sha256(tokens.tobytes()).digest()] = usable
                known = self._requests.get(load.request)
                if known is not None:
                    known.saved = max(known.saved, load.end)  # the store has the blocks, damaged as they are
                break

    def close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()


class Worker:
    """One shard of the heads: loads and saves as the planner says."""

    def __init__(self, settings: Settings, worker: int, workers: int, pages: Pages, *, model: str,
                 rope: _core.Rope | None):
        self.settings = settings
        self._codec = settings.coder()
        self.pages = pages
        self._failed: set[int] = set()
        self._received: set[str] = set()
        self._spoiled: set[str] = set()  #: requests whose tokens the store has, damaged: there is no place for others
        profile = profile_of(settings.profile)
        self._store = _open(settings, settings.store(worker, workers), pages,
                            settings.model or (profile.model if profile else model),
                            profile.shape.rope if profile else rope or _core.Rope())

    def load(self, loads: Sequence[Load]) -> None:
        for load in loads:
            self._received.add(load.request)
            try:
                self._load(load)
            except Exception as error:  # noqa: BLE001: whatever it is, the engine can compute the tokens
                log.warning("seqkv: request %s: %s", load.request, error)
                good = self._good_tokens(load, error)
                self._failed |= set(self._blocks(load, good))
                self._spoiled.add(load.request)

    def _load(self, load: Load) -> None:
        count, layers = self._store.restore_prefix(load.tokens, self._codec, framework="torch")
        if count < load.end:
            raise LookupError(f"the store has {count} of {load.end} tokens")
        part = slice(load.first, load.end)
        self.pages.scatter(load.block_ids, load.first, [(key[:, part], value[:, part]) for key, value in layers])

    def _good_tokens(self, load: Load, error: Exception) -> int:
        """Where a block is damaged, those before it are loaded all the same. Returns the tokens that are right."""
        size = self._store.block_tokens
        try:
            known = known_tokens(self._store, np.asarray(load.tokens, dtype=np.uint32), self._codec)
            block = getattr(error, "block", None)
            if block is not None:
                known = min(known, block * size)
            good = known // self.pages.block_size * self.pages.block_size
            if not load.first < good < load.end:
                return load.first
            self._load(dataclasses.replace(load, tokens=load.tokens[:known], end=good))
            return good
        except Exception as again:  # noqa: BLE001
            log.warning("seqkv: request %s: %s", load.request, again)
            return load.first

    def _blocks(self, load: Load, first: int) -> list[int]:
        """Ids of the blocks with tokens of a load from `first` on."""
        size = self.pages.block_size
        return list(load.block_ids[first // size : -(-load.end // size)])

    def save(self, saves: Sequence[Save]) -> None:
        for save in saves:
            # What was computed in this step behind blocks that were not loaded is wrong.
            if save.request in self._spoiled or not self._failed.isdisjoint(save.block_ids):
                continue
            try:
                layers = self.pages.gather(save.block_ids, 0, len(save.tokens))
                self._store.save(session_name(save.tokens), save.tokens, layers, self._codec, if_exists="replace")
            except Exception as error:  # noqa: BLE001: a cache that is not saved is computed again
                log.warning("seqkv: request %s is not saved: %s", save.request, error)

    def finished(self, requests: Iterable[str]) -> None:
        self._spoiled.difference_update(requests)

    def take_received(self) -> set[str]:
        """Requests whose loads are done, whether or not all was well, since the last call."""
        received, self._received = self._received, set()
        return received

    def take_failed(self) -> set[int]:
        """Block ids that could not be loaded since the last call."""
        failed, self._failed = self._failed, set()
        return failed

    def close(self) -> None:
        self._store.close()


def _open(settings: Settings, path: pathlib.Path, pages: Pages, model: str, rope: _core.Rope) -> Store:
    """A worker's store. Raises WrongStore where it is another model's, or of other shapes."""
    _, _, heads, head_dim = pages.keys[0].shape
    shape = _core.Shape(len(pages.keys), heads, head_dim, pages.dtype, rope)
    if settings.save != "none":
        path.parent.mkdir(parents=True, exist_ok=True)
        return Store(path, "w", shape=shape, model=model, block_tokens=settings.block_tokens, salt=settings.salt)
    store = Store(path, "r", salt=settings.salt)  # which another engine may be writing
    for name, found, wanted in (("model", store.model, model), ("shape", store.shape, shape),
                                ("block_tokens", store.block_tokens, settings.block_tokens)):
        if found != wanted:
            store.close()
            raise WrongStore(f"{path}: its {name} is {found!r}, here it is {wanted!r}")
    return store
