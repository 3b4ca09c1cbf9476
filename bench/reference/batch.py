#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""64 sessions of 2,048 tokens, 8 documents behind 8 preambles each, by `seqkv batch`: stored bytes without sharing, with exact
prefixes shared, with references, and with bare reuse; KL of the last 128 tokens (docs/reference.md).

    python bench/reference/batch.py --seqkv build/release/bin/seqkv --model DIR --profile FILE --text eval.jsonl.xz --step 1.41

The profile is calibrated with --references. Prints JSON; needs nothing but the standard library.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

DOCUMENTS = PREAMBLES = 8
TOKENS, PREAMBLE = 2048, 401  # with the token that all begin with


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seqkv", default="seqkv")
    for name in ("--model", "--profile", "--text"):
        parser.add_argument(name, required=True)
    parser.add_argument("--step", default="1.41")
    parser.add_argument("--predictor", nargs="+", default=["linear", "linear+ref", "ref:recode=0"])
    how = parser.parse_args()

    def seqkv(*arguments):
        return subprocess.run([how.seqkv, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        seqkv("tokenize", "--model", how.model, "--text", how.text, "--template", "--out", folder / "texts.jsonl")
        texts = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
        texts.sort(key=len, reverse=True)
        documents, preambles = texts[:DOCUMENTS], texts[DOCUMENTS : DOCUMENTS + PREAMBLES]
        assert len(documents[-1]) > TOKENS - PREAMBLE
        with open(folder / "manifest.jsonl", "w") as manifest:
            for d, document in enumerate(documents):
                for p, preamble in enumerate(preambles):
                    tokens = preamble[:PREAMBLE] + document[1 : 1 + TOKENS - PREAMBLE]
                    manifest.write(json.dumps({"session": f"document {d}, preamble {p}", "tokens": tokens}) + "\n")
        rows = []
        for predictor in how.predictor:
            codec = f"{predictor}+ecsq:step={how.step}"
            store = folder / predictor
            report = json.loads(
                seqkv("batch", folder / "manifest.jsonl", "--store", store, "--model", how.model, "--profile", how.profile,
                      "--codec", codec, "--measure", 128, "--json")
            )
            seqkv("verify", "--store", store, "--json")
            rows.append({"codec": codec, **report["bytes"], "kl_mean": report["kl_mean"],
                         "kl_most": max(row["kl_mean"] for row in report["rows"])})
            print(codec, rows[-1], file=sys.stderr)
    print(json.dumps({"sessions": DOCUMENTS * PREAMBLES, "tokens": TOKENS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
