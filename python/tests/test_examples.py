# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Each example does what it says, on the embedded model."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
from conftest import SOURCE  # noqa: E402

EXAMPLES = SOURCE / "examples"


def run(name, *arguments, expect=0):
    done = subprocess.run([sys.executable, EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == expect, done.stderr
    return done


def test_resume_gives_the_text_of_an_uninterrupted_run(tmp_path):
    def job(name, *more, expect=0):
        return run("resume.py", "--text", SOURCE / "docs" / "codec.md", "--context", 400, "--new-tokens", 40, "--state",
                   tmp_path / f"{name}.sqkv", "--out", tmp_path / f"{name}.txt", *more, expect=expect)

    job("whole")
    job("parts", "--stop-after", 15, expect=8)
    assert (tmp_path / "parts.sqkv").exists() and not (tmp_path / "parts.txt").exists()
    assert "goes on after 16 tokens" in job("parts", "--stop-after", 1, expect=8).stderr
    job("parts")
    assert (tmp_path / "parts.txt").read_text() == (tmp_path / "whole.txt").read_text() != ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.txt", "whole.txt"]


def test_resume_is_stopped_by_a_signal(tmp_path):
    command = [sys.executable, EXAMPLES / "resume.py", "--text", SOURCE / "docs" / "codec.md", "--context", "400",
               "--new-tokens", "7000", "--state", tmp_path / "s.sqkv", "--out", tmp_path / "s.txt"]
    job = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    while job.poll() is None and not handles(job.pid, signal.SIGUSR1):
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGUSR1)
    _, talk = job.communicate(timeout=300)
    assert job.returncode == 8 and "stopped after" in talk
    assert (tmp_path / "s.sqkv").stat().st_size > 0


def handles(pid, number):
    """Whether a process has a handler of a signal by now."""
    with open(f"/proc/{pid}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


def test_questions_share_their_document(tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text("What is a codec?\nWhich quantizers are there?\nWhat does a profile hold?\n")
    arguments = ("--document", SOURCE / "docs" / "codec.md", "--questions", questions, "--store", tmp_path / "kv",
                 "--context", 600, "--new-tokens", 6)
    first = json.loads(run("questions.py", *arguments).stdout)
    known = [row["known_tokens"] for row in first["rows"]]
    assert known == [0, 512, 512], "whole blocks of the document"
    assert first["rows"][0]["new_bytes"] > 3 * first["rows"][1]["new_bytes"]
    assert first["stored_bytes"] < first["raw_bytes"] / 2
    again = json.loads(run("questions.py", *arguments).stdout)
    assert all(row["known_tokens"] >= 512 and row["new_bytes"] == 0 for row in again["rows"])
    assert [row["answer"] for row in again["rows"]] == [row["answer"] for row in first["rows"]]


def test_rate_against_kl(tmp_path):
    plot = tmp_path / "plot.svg"
    done = run("rate_kl.py", "--documents", 2, "--out", plot, expect=0 if have_matplotlib() else 1)
    rows = json.loads(done.stdout)["rows"]
    assert plot.exists() == have_matplotlib()
    linear = [row for row in rows if row["family"] == "linear+ecsq"]
    assert len(linear) == 5
    for coarse, fine in zip(linear, linear[1:]):
        assert coarse["bits_per_component"] < fine["bits_per_component"] and coarse["kl_mean"] > fine["kl_mean"]
    by_codec = {row["codec"]: row for row in rows}
    turboquant = by_codec["none+turboquant:3"]
    better = [row for row in linear if row["bits_per_component"] < turboquant["bits_per_component"] / 2
              and row["kl_mean"] < turboquant["kl_mean"]]
    assert better, "half the bits, and less KL, of TurboQuant with 3 bits"
    assert by_codec["none+lossless"]["kl_mean"] < 1e-3


def have_matplotlib():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True
