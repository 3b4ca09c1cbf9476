#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Bytes that every codec makes of caches and tokens that are always the same, against sizes.csv: exactly.

    sizes.py BUILD/bin/seqkv [--update]

Coding is the same on every machine, so a byte more is a change, meant or not.
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
STORED = HERE / "sizes.csv"
MODEL = SOURCE / "models" / "docs-7m"
PROFILE = MODEL / "profile.safetensors"
DATA = SOURCE / "tests" / "data"
TOKENS = 512

PLAIN = ["raw", "none+lossless", *(f"none+turboquant:{bits}" for bits in range(1, 6))]
UNROTATED = ["none+turboquant:3,keys=unrotated"]
PROFILED = ["linear+lossless", *(f"linear+ecsq:step={step}" for step in ("0.25", "0.5", "1", "1.41", "2", "4")),
            "linear+ecsq:kl=0.005", "linear+ecsq:bits=1", *(f"linear+turboquant:{bits}" for bits in range(1, 6))]
REPLAYED = ["replay", "replay:2+ecsq:step=1", "replay:4+turboquant:3", "replay+lossless:engine=none"]
ENGINE = ["replay+lossless:engine=eager", "replay+lossless:engine=sdpa"]


class Sizes:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.rows = []

    def run(self, *words):
        done = subprocess.run([self.program, "--json", "--quiet", *map(str, words)], capture_output=True, text=True,
                              env={"OMP_WAIT_POLICY": "passive", "OMP_PROC_BIND": "false", **os.environ})
        if done.returncode != 0:
            sys.exit(f"seqkv {' '.join(map(str, words))}: exit code {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def compress(self, name, cache, codecs, *options):
        for codec in codecs:
            out = self.folder / "out.sqkv"
            self.run("compress", cache, out, "--codec", codec, *options)
            self.rows.append((name, codec, out.stat().st_size))

    def caches(self):
        text = self.folder / "license.safetensors"
        self.run("prefill", "--model", MODEL, "--text", SOURCE / "LICENSE", "--max-tokens", TOKENS, "--dtype", "bf16",
                 "--out", text)
        known = ["--model", MODEL, "--profile", PROFILE]
        self.compress("docs-7m bf16", text, PLAIN + UNROTATED)
        self.compress("docs-7m bf16", text, PROFILED + REPLAYED, *known)
        self.compress("transformers bf16", DATA / "docs-7m-transformers-bf16.safetensors", ["none+lossless"])
        self.compress("transformers bf16", DATA / "docs-7m-transformers-bf16.safetensors",
                      ENGINE, "--model", MODEL)
        for family in ("llama-f16", "llama-mqa-80", "qwen3"):
            self.compress(f"{family} f32", DATA / "families" / family / "golden.safetensors", PLAIN)

    def store(self):
        lines = [{"session": "all", "text_file": str(SOURCE / "LICENSE")},
                 {"session": "twice", "text_file": str(SOURCE / "LICENSE")},
                 {"session": "short", "text": "Licensed under the Apache License"}]
        manifest = self.folder / "sessions.jsonl"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        report = self.run("batch", manifest, "--store", self.folder / "store", "--model", MODEL, "--codec", "none+turboquant:3")
        self.rows += [("sessions", f"blocks of {row['session']}", row["new_bytes"]) for row in report["rows"]]

    def tokens(self):
        ids = self.folder / "license.jsonl"
        self.run("tokenize", "--model", MODEL, "--text", SOURCE / "LICENSE", "--out", ids)
        trie, windows, coded = (self.folder / name for name in ("sessions.trie", "windows.trie", "coded"))
        self.run("trie", "build", "--tokens", ids, "--out", trie)
        self.run("trie", "build", "--tokens", ids, "--out", windows, "--windows", 6)
        self.rows += [("tokens", "trie of sessions", trie.stat().st_size), ("tokens", "trie of windows", windows.stat().st_size)]
        for name, options in (("by windows", ["--trie", windows]), ("by windows, blocks of 256", ["--trie", windows, "--block", 256]),
                              ("by windows, static", ["--trie", windows, "--static"]), ("by the model", ["--model", MODEL])):
            self.run("encode-tokens", *options, "--tokens", ids, "--out", coded)
            self.rows.append(("tokens", name, coded.stat().st_size))


def main():
    program, update = sys.argv[1], "--update" in sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        sizes = Sizes(program, pathlib.Path(folder))
        sizes.caches()
        sizes.store()
        sizes.tokens()
    if update:
        with open(STORED, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("data", "codec", "bytes"), *sizes.rows])
        return
    found = {(data, codec): size for data, codec, size in sizes.rows}
    with open(STORED, newline="") as file:
        stored = {(row["data"], row["codec"]): int(row["bytes"]) for row in csv.DictReader(file)}
    wrong = [key for key in sorted(found.keys() | stored.keys()) if found.get(key) != stored.get(key)]
    for key in wrong:
        print(f"{' / '.join(key)}: {found.get(key)} bytes, {STORED.name} has {stored.get(key)}")
    if wrong:
        sys.exit(f"where that is meant: {sys.argv[0]} {program} --update")
    print(f"{len(found)} sizes as they were")


if __name__ == "__main__":
    main()
