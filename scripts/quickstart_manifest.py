#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Prints the quickstart's manifest: questions about this project's files behind shared preambles, as a batch of
document analysis has them."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREAMBLE_CHARACTERS = 2800
DOCUMENT_CHARACTERS = 1800
# What all sessions of a group read first, and what each reads on its own.
GROUPS = {
    "format": ("docs/format.md", ["include/seqkv/frame.hpp", "include/seqkv/codec.hpp", "include/seqkv/kv_file.hpp",
                                  "include/seqkv/safetensors.hpp", "docs/errors.md"]),
    "store": ("docs/store.md", ["include/seqkv/store.hpp", "include/seqkv/manifest.hpp", "include/seqkv/batch.hpp",
                                "docs/evaluate.md", "docs/codec.md"]),
}


def text_of(path, characters):
    return (ROOT / path).read_text(encoding="utf-8")[:characters]


def main():
    for group, (preamble, documents) in GROUPS.items():
        for document in documents:
            name = f"{group}-{pathlib.Path(document).stem}"
            text = f"{text_of(preamble, PREAMBLE_CHARACTERS)}\n\n# {document}\n\n{text_of(document, DOCUMENT_CHARACTERS)}"
            print(json.dumps({"session": name, "text": text}))


if __name__ == "__main__":
    main()
