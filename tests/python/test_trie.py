# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""seqkv trie, encode-tokens and decode-tokens as a user meets them.

Needs nothing but the standard library (and pytest).
"""

import array
import math
import random
import resource
import struct

import pytest
from support import BAD_INPUT, CORRUPT, MODEL, NOT_FOUND, RESOURCES, USAGE, refused, run, write_json_lines


def similar(count, longest, vocabulary, seed):
    """Sequences that begin as others do."""
    numbers = random.Random(seed)
    sequences = []
    for _ in range(count):
        tokens = []
        if sequences and numbers.random() < 0.7:
            other = numbers.choice(sequences)
            tokens = other[: numbers.randrange(len(other) + 1)]
        while len(tokens) < 1 + numbers.randrange(longest):
            tokens.append(numbers.randrange(vocabulary))
        sequences.append(tokens)
    return sequences


def common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


@pytest.fixture
def stored(tmp_path):
    """Sequences, their file, and a trie of them."""
    sequences = similar(60, 40, 6, 1)
    file = write_json_lines(tmp_path / "stored.jsonl", sequences)
    trie = tmp_path / "stored.trie"
    run("trie", "build", "--tokens", file, "--out", trie)
    return sequences, file, trie


@pytest.mark.parametrize("what", ["build", "remove", "match", "stats", "probability", "distance"])
def test_help(what):
    done = run("trie", what, "--help")
    assert done.err == "" and "Example" in done.out


def test_match(stored, tmp_path):
    sequences, _, trie = stored
    queries = similar(40, 50, 6, 2)
    file = write_json_lines(tmp_path / "queries.jsonl", queries)
    for block in (1, 8):
        result = run("trie", "match", "--trie", trie, "--tokens", file, "--block", block, "--json").json
        for query, row in zip(queries, result["rows"], strict=True):
            longest = max(common(query, s) for s in sequences) // block * block
            sharing = [i for i, s in enumerate(sequences) if common(query, s) >= longest]
            assert row["tokens"] == len(query) and row["prefix_tokens"] == longest
            assert row["sessions"] == len(sharing)
            assert row["session"] in sharing if longest else row["session"] is None
        assert result["prefix_tokens"] == sum(row["prefix_tokens"] for row in result["rows"])


def test_growing_and_shrinking(stored, tmp_path):
    sequences, _, trie = stored
    first = write_json_lines(tmp_path / "first.jsonl", sequences[:25])
    rest = write_json_lines(tmp_path / "rest.jsonl", sequences[25:])
    run("trie", "build", "--tokens", first, "--out", tmp_path / "first.trie")
    run("trie", "build", "--tokens", rest, "--add", tmp_path / "first.trie", "--out", tmp_path / "grown.trie")
    assert (tmp_path / "grown.trie").read_bytes() == trie.read_bytes()
    run("trie", "build", "--tokens", first, rest, "--out", tmp_path / "both.trie")
    assert (tmp_path / "both.trie").read_bytes() == trie.read_bytes()
    run("trie", "remove", "--trie", trie, "--session", *range(25, 60), "--out", tmp_path / "less.trie")
    assert (tmp_path / "less.trie").read_bytes() == (tmp_path / "first.trie").read_bytes()
    refused(NOT_FOUND, "trie", "remove", "--trie", trie, "--session", 60, "--out", tmp_path / "x", names=["60"])
    twice = ["--add", trie, "--first-id", 59]
    refused(USAGE, "trie", "build", "--tokens", rest, *twice, "--out", tmp_path / "x", names=["59"])


def test_stats(stored):
    sequences, _, trie = stored
    stats = run("trie", "stats", "--trie", trie, "--json").json
    prefixes = {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}
    assert stats["sequences"] == len(sequences)
    assert stats["tokens"] == sum(map(len, sequences))
    assert stats["stored_tokens"] == len(prefixes)
    assert stats["kind"] == "sessions" and stats["depth_limit"] is None


def test_threads_and_kernels_change_no_byte(tmp_path):
    file = write_json_lines(tmp_path / "t.jsonl", similar(200, 300, 50, 3))
    for name, options in {"sessions": [], "windows": ["--windows", 5]}.items():
        made = []
        for threads in (1, 2):
            out = tmp_path / f"{name}-{threads}.trie"
            run("trie", "build", "--tokens", file, *options, "--threads", threads, "--out", out)
            made.append(out.read_bytes())
        assert made[0] == made[1]


def test_probability_and_distance(tmp_path):
    # Of four sequences three go on from 1 with 2 and one with 3; (2c - 1) / 2n at each step.
    file = write_json_lines(tmp_path / "t.jsonl", [[1, 2, 4], [1, 2, 4], [1, 2, 5], [1, 3]])
    run("trie", "build", "--tokens", file, "--out", tmp_path / "t.trie")
    result = run("trie", "probability", "--trie", tmp_path / "t.trie", "--tokens", file, "--json").json
    assert result["source"] == "counts of sessions"
    expected = -math.log2(7 / 8 * 5 / 8 * 3 / 6)
    assert abs(result["rows"][0]["bits"] - expected) < 1e-3
    rows = run("trie", "distance", "--trie", tmp_path / "t.trie", "--tokens", file, "--json").json["rows"]
    pair = {(row["a"], row["b"]): row for row in rows}
    assert pair[0, 1]["path_bits"] == 0 and pair[0, 1]["ultrametric"] == 0
    assert pair[0, 2]["common_tokens"] == 2 and pair[0, 3]["common_tokens"] == 1
    assert abs(pair[0, 2]["shared_bits"] + math.log2(7 / 8 * 5 / 8)) < 1e-3
    assert abs(pair[0, 2]["ultrametric"] - 7 / 8 * 5 / 8) < 1e-3
    assert pair[0, 3]["path_bits"] <= pair[0, 2]["path_bits"] + pair[2, 3]["path_bits"]


def test_surprisals_of_a_model(tmp_path):
    file = write_json_lines(tmp_path / "t.jsonl", [[0, 17, 99, 5], [0, 17, 99, 6, 1]])
    for threads in (1, 2):
        out = tmp_path / f"{threads}.trie"
        run("trie", "build", "--tokens", file, "--model", MODEL, "--threads", threads, "--out", out)
    assert (tmp_path / "1.trie").read_bytes() == (tmp_path / "2.trie").read_bytes()
    result = run("trie", "probability", "--trie", tmp_path / "1.trie", "--tokens", file, "--json").json
    assert result["source"] == "recorded surprisals" and result["rows"][0]["bits"] > 12
    other = write_json_lines(tmp_path / "other.jsonl", [[0, 18]])
    refused(NOT_FOUND, "trie", "probability", "--trie", tmp_path / "1.trie", "--tokens", other)


@pytest.mark.parametrize("options", [[], ["--static"], ["--block", 16], ["--block", 1, "--static"]])
def test_tokens_come_back(tmp_path, options):
    corpus = write_json_lines(tmp_path / "corpus.jsonl", similar(50, 200, 30, 4))
    notes = write_json_lines(tmp_path / "notes.jsonl", [*similar(10, 300, 30, 5), [77]])
    run("trie", "build", "--tokens", corpus, "--windows", 4, "--out", tmp_path / "counts.trie")
    coded = run(
        "encode-tokens", "--trie", tmp_path / "counts.trie", "--tokens", notes, "--out", tmp_path / "c", *options, "--json"
    ).json
    assert coded["bytes"] == (tmp_path / "c").stat().st_size
    run("decode-tokens", "--trie", tmp_path / "counts.trie", tmp_path / "c", "--out", tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_text() == notes.read_text().replace(" ", "")


def test_what_is_refused(stored, tmp_path):
    _, file, trie = stored
    counts = tmp_path / "counts.trie"
    run("trie", "build", "--tokens", file, "--windows", 3, "--out", counts)
    run("trie", "build", "--tokens", file, "--windows", 2, "--out", tmp_path / "other.trie")
    coded = tmp_path / "coded"
    run("encode-tokens", "--trie", counts, "--tokens", file, "--out", coded)
    out = tmp_path / "out.jsonl"
    refused(BAD_INPUT, "decode-tokens", "--trie", tmp_path / "other.trie", coded, "--out", out, names=[coded])
    refused(USAGE, "encode-tokens", "--trie", trie, "--tokens", file, "--out", out, names=["sessions"])
    refused(USAGE, "trie", "build", "--tokens", file, "--windows", 3, "--add", trie, "--out", out)
    refused(NOT_FOUND, "trie", "stats", "--trie", tmp_path / "none.trie", names=["none.trie"])
    run("trie", "build", "--tokens", file, "--windows", 32, "--out", out, expect=USAGE)
    run("trie", expect=USAGE)
    for name, tokens in {"negative": "[1,-2]", "empty": "[]", "large": "[4294967295]"}.items():
        bad = tmp_path / f"{name}.jsonl"
        bad.write_text(tokens + "\n")
        refused(BAD_INPUT, "trie", "build", "--tokens", bad, "--out", out, names=[bad])
    for good in (trie, coded):
        bytes_of = good.read_bytes()
        for at in (0, len(bytes_of) // 2, len(bytes_of) - 1):
            bad = tmp_path / "bad"
            bad.write_bytes(bytes_of[:at] + bytes([bytes_of[at] ^ 4]) + bytes_of[at + 1 :])
            if good == trie:
                refused(CORRUPT, "trie", "stats", "--trie", bad, names=[bad])
            elif run("decode-tokens", "--trie", counts, bad, "--out", out, expect=None).code == 0:
                # The last bits of a block may say nothing.
                assert out.read_text() == file.read_text().replace(" ", "")
        (tmp_path / "short").write_bytes(bytes_of[:-9])
        command = ["trie", "stats", "--trie"] if good == trie else ["decode-tokens", "--out", out, "--trie", counts]
        refused(CORRUPT, *command, tmp_path / "short", names=["short"])


def test_memory_short_of_supply(tmp_path):
    if run("info", "--json").json["devices"] > 0:
        pytest.skip("a GPU takes more addresses than are left here")
    count = 3_000_000
    numbers = random.Random(1)
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({count},), }}".ljust(117) + "\n"
    tokens = array.array("i", (numbers.randrange(32000) for _ in range(count)))
    (tmp_path / "t.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + tokens.tobytes()
    )

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (180 << 20, 180 << 20))

    command = ["trie", "build", "--tokens", tmp_path / "t.npy", "--windows", 8, "--out", tmp_path / "t.trie"]
    refused(RESOURCES, *command, "--threads", 1, names=["memory"], preexec_fn=limited)
    assert not (tmp_path / "t.trie").exists()
