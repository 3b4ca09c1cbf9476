#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Runs one file of this folder with pytest, for CTest: exit code 77 where it cannot be run here."""

import pathlib
import sys

SKIPPED = 77


def main():
    sys.dont_write_bytecode = True
    try:
        import pytest
    except ImportError:
        print(f"skipped: {sys.executable} has no pytest (set SEQKV_TEST_PYTHON to a Python that has it)")
        return SKIPPED
    file = pathlib.Path(__file__).resolve().parent / sys.argv[1]
    status = pytest.main(["-q", "-rs", "-p", "no:cacheprovider", str(file), *sys.argv[2:]])
    return SKIPPED if status == pytest.ExitCode.NO_TESTS_COLLECTED else int(status)


if __name__ == "__main__":
    sys.exit(main())
