# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What the program codes, a decoder written from docs/token-coder.md decodes."""

import random

import pytest
from support import run, write_json_lines
from token_decoder import Decoder


def text(count, vocabulary, numbers):
    """Tokens that repeat themselves."""
    tokens = []
    while len(tokens) < count:
        if len(tokens) > 8 and numbers.random() < 0.5:
            at = numbers.randrange(len(tokens) - 4)
            tokens += tokens[at : at + numbers.randrange(1, 12)]
        else:
            tokens.append(min(int(numbers.expovariate(4 / vocabulary)), vocabulary - 1))
    return tokens[:count]


@pytest.mark.parametrize("options", [[], ["--static"], ["--block", 40], ["--block", 1]])
@pytest.mark.parametrize(("vocabulary", "depth"), [(2, 1), (5, 3), (60, 5), (300, 4), (70_000, 2)])
@pytest.mark.parametrize("weights", [True, False])
def test_decodes(tmp_path, vocabulary, depth, weights, options):
    numbers = random.Random(f"{vocabulary} {depth} {options}")
    corpus = [text(300, vocabulary, numbers) for _ in range(4)]
    notes = [text(count, vocabulary, numbers) for count in (1, 7, 150)]
    counts, coded = tmp_path / "counts.trie", tmp_path / "coded"
    build = ["--tokens", write_json_lines(tmp_path / "corpus.jsonl", corpus), "--windows", depth, "--out", counts]
    run("trie", "build", *build, *([] if weights else ["--no-weights"]))
    notes_file = write_json_lines(tmp_path / "notes.jsonl", notes)
    run("encode-tokens", "--trie", counts, "--tokens", notes_file, "--out", coded, *options)
    assert Decoder(counts.read_bytes()).decode(coded.read_bytes()) == notes
