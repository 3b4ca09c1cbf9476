# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Fixtures of the Python tests: the program, the embedded model, and the folder with models and texts."""

import pathlib
import shutil

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


@pytest.fixture
def small(tmp_path):
    """A copy of a tiny random model without a tokenizer: folder with config.json and model.safetensors."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(support.SOURCE / "tests" / "data" / "families" / "llama-f16" / name, folder / name)
    return folder
