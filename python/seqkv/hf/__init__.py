# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Caches of Hugging Face transformers (version 5): on disk and back, compressed in memory, recorded as they grow.

    data = seqkv.hf.snapshot(cache, input_ids)
    cache = seqkv.hf.restore(data, config=model.config)
"""

from .cache import SeqkvCache
from .calibrate import calibrate, fingerprint_of
from .capture import Capture, capture
from .config import rope_of_config
from .snapshot import restore, snapshot

__all__ = ["Capture", "SeqkvCache", "calibrate", "capture", "fingerprint_of", "restore", "rope_of_config", "snapshot"]
