# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""seqkv compresses, stores and restores the KV caches of language models as sequences.

    data = seqkv.compress(tokens, layers, "none+lossless")
    tokens, layers = seqkv.decompress(data)

with a key and a value for every layer, each [kv_heads, tokens, head_dim]: numpy, torch or DLPack. `seqkv.Store` keeps
many sessions, `seqkv.hf` speaks with transformers. docs/python.md is the guide.
"""

from . import _load, errors  # isort: skip  (_load comes first)
from ._core import Codec, Profile, Rope, Shape, Trie, cpu_kernels, set_threads, threads, version
from .errors import *  # noqa: F403
from .frames import Frame, compress, decompress, open_frame
from .models import Model, calibrate, evaluate, prefill
from .store import SaveReport, Session, Store

__version__ = version()

__all__ = [
    "Codec", "Frame", "Model", "Profile", "Rope", "SaveReport", "Session", "Shape", "Store", "Trie", "__version__",
    "calibrate", "compress", "cpu_kernels", "decompress", "errors", "evaluate", "open_frame", "prefill", "set_threads",
    "threads", "version", *errors.__all__,
]  # fmt: skip
