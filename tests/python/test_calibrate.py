# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Profiles: what they are worth, the same bytes for any number of threads and stops."""

import collections
import signal
import subprocess
import time

import pytest
from support import BAD_INPUT, CLI, ENVIRONMENT, INTERRUPTED, SOURCE, refused, run

Calibration = collections.namedtuple("Calibration", ["path", "report"])


def calibrate(model, out, *options):
    """A quick calibration on the project's own pages."""
    texts = sorted((SOURCE / "docs").glob("*.md"))
    amount = ["--effort", 1, "--context", 64, "--continue", 16]
    return ["calibrate", "--model", model, "--text", *texts, "--out", out, *amount, *options]


@pytest.fixture(scope="module")
def calibration(model, tmp_path_factory):
    """One that nobody disturbed, by one thread."""
    path = tmp_path_factory.mktemp("calibration") / "profile.safetensors"
    return Calibration(path, run(*calibrate(model, path, "--threads", 1, "--json")).json)


def test_codes(calibration, model):
    path, report = calibration
    assert report["profile_bytes"] == path.stat().st_size
    assert [found.name for found in path.parent.iterdir()] == [path.name], "something is left behind"
    # Steps fall, so bits rise. KL of so little text is noisy from step to step, but not from end to end.
    bits = [row["bits_per_component"] for row in report["rows"]]
    assert bits == sorted(bits) and report["rows"][-1]["kl_mean"] < report["rows"][0]["kl_mean"] / 2
    rows = run(
        *["evaluate", "--model", model, "--text", SOURCE / "README.md", "--context", 64, "--continue", 16, "--json"],
        *["--profile", path, "--codec", "linear+ecsq:step=1", "--only"],
    ).json["rows"]
    assert rows[0]["bits_per_component"] < 4 and rows[0]["kl_mean"] < 1


def test_same_bytes_for_any_number_of_threads(calibration, model, tmp_path):
    run(*calibrate(model, tmp_path / "again.safetensors", "--threads", 3))
    assert (tmp_path / "again.safetensors").read_bytes() == calibration.path.read_bytes()


def test_goes_on_after_a_signal(calibration, model, tmp_path):
    out = tmp_path / "profile.safetensors"
    work = tmp_path / "profile.safetensors.work"
    command = [CLI, *map(str, calibrate(model, out, "--json"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while len(list(work.rglob("*.samples"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and b"the same command goes on" in err, err
    assert not out.exists()
    report = run(*calibrate(model, out, "--json")).json
    assert 3 <= report["resumed_chunks"] < report["chunks"] and not work.exists()
    assert out.read_bytes() == calibration.path.read_bytes()


def test_too_little_text(model, box):
    refused(BAD_INPUT, *calibrate(model, box / "short", "--docs", 1), names=["too little text", "tokens"], beside=box)
