# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Loads the compiled half with threads that sleep while they wait.

Its OpenMP threads share the cores with those of torch and numpy. The runtime reads the environment once, when it is
loaded, so what is set here is meant for ours alone, and taken back. What the user has set stays.
"""

import os

_VARIABLE = "OMP_WAIT_POLICY"
_was_set = _VARIABLE in os.environ
os.environ.setdefault(_VARIABLE, "passive")
try:
    from . import _core  # noqa: F401
finally:
    if not _was_set:
        del os.environ[_VARIABLE]
