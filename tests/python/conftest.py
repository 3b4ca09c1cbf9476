# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Fixtures of the Python tests: the program, the embedded model, and the folder with models and texts."""

import pathlib

import pytest
import support


def pytest_configure():
    if not support.CLI.is_file():
        pytest.exit(f"there is no program {support.CLI} (set SEQKV_CLI)", returncode=1)


@pytest.fixture(scope="session")
def cli():
    """Runs the program: cli("ls", "--store", folder, "--json", expect=0), and gives a support.Run."""
    return support.run


@pytest.fixture(scope="session")
def model():
    """The folder of the embedded model."""
    return support.MODEL


@pytest.fixture(scope="session")
def shared():
    """A path below the folder of models and texts beside the project; without it the test is skipped."""

    def find(name):
        path: pathlib.Path = support.SHARED / name
        if not path.exists():
            pytest.skip(f"{path} is absent (SEQKV_SHARED names the folder)")
        return path

    return find
