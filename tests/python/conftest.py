# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Fixtures of the Python tests: the program, the embedded model, and the folder with models and texts."""

import pathlib
import shutil

import pytest
import support
from inputs import batch, manifest_of, random_cache, random_ids, some_sessions
from support import run, safetensors_bytes, write_json


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


@pytest.fixture
def box(tmp_path):
    """The folder in which a test lets the program write, so that what it leaves behind is seen."""
    folder = tmp_path / "box"
    folder.mkdir()
    return folder


@pytest.fixture
def tokens(tmp_path):
    return write_json(tmp_path / "tokens.json", random_ids(1, 50))


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "kv.safetensors"
    path.write_bytes(safetensors_bytes(random_cache(1)))
    return path


@pytest.fixture
def frame(cache, tmp_path):
    """A frame of five blocks."""
    run("compress", cache, tmp_path / "kv.sqkv", "--codec", "none+lossless", "--block-tokens", 16)
    return tmp_path / "kv.sqkv"


@pytest.fixture
def manifest(tmp_path):
    return manifest_of(tmp_path / "sessions.jsonl", some_sessions())


@pytest.fixture
def store(manifest, small, tmp_path):
    batch(manifest, tmp_path / "store", small)
    return tmp_path / "store"


@pytest.fixture
def large_cache(tmp_path):
    path = tmp_path / "large.safetensors"
    path.write_bytes(safetensors_bytes(random_cache(11, count=4000)))
    return path
