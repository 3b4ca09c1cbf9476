#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Many questions over one long document, which is computed once: in this run or in one of another day.

    examples/questions.py --document docs/codec.md --questions questions.txt --store /scratch/kv

The store keeps the caches of all questions; what they have in common, the document, it keeps once. A question finds its
longest known beginning there and runs on from it.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import seqkv
import seqkv.hf

ROOT = pathlib.Path(__file__).resolve().parents[1]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=ROOT / "models" / "docs-7m", help="a folder or name for transformers")
    parser.add_argument("--document", type=pathlib.Path, required=True)
    parser.add_argument("--questions", type=pathlib.Path, required=True, help="a line each")
    parser.add_argument("--store", type=pathlib.Path, required=True, help="a folder; made where there is none")
    parser.add_argument("--codec", default="none+lossless")
    parser.add_argument("--context", type=int, default=2048, help="tokens of the document, at most")
    parser.add_argument("--new-tokens", type=int, default=24)
    return parser.parse_args()


def known_cache(store, tokens, codec):
    """A cache of the tokens that the store knows, but the last: at least one must run."""
    cache = DynamicCache()
    count, layers = store.restore_prefix(tokens[:-1], codec, framework="torch")
    for number, (key, value) in enumerate(layers):
        cache.update(key[None], value[None], number)
    return cache, count


def answer(model, cache, tokens, count, new_tokens):
    """Runs what is not in the cache, then generates. The cache holds all but the last token then."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens[count:]]), past_key_values=cache, use_cache=True).logits
        prefilled = [(layer.keys[0].clone(), layer.values[0].clone()) for layer in cache.layers]
        generated = [int(logits[0, -1].argmax())]
        while len(generated) < new_tokens:
            logits = model(torch.tensor([generated[-1:]]), past_key_values=cache, use_cache=True).logits
            generated.append(int(logits[0, -1].argmax()))
    return generated, prefilled


def main():
    options = parse()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    config = model.config
    first = [config.bos_token_id] if config.bos_token_id is not None else []
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    document = (first + encode(options.document.read_text()))[: options.context]
    store = seqkv.Store(
        options.store, "w", layers=config.num_hidden_layers, kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim, rope=seqkv.hf.rope_of_config(config), model=seqkv.hf.fingerprint_of(model),
    )  # fmt: skip
    rows = []
    for question in options.questions.read_text().splitlines():
        tokens = document + encode("\n" + question + "\n")
        start = time.perf_counter()
        cache, count = known_cache(store, tokens, options.codec)
        generated, prefilled = answer(model, cache, tokens, count, options.new_tokens)
        seconds = time.perf_counter() - start
        name = "question-" + hashlib.sha256(question.encode()).hexdigest()[:16]
        report = store.save(name, tokens, prefilled, options.codec, if_exists="replace")
        rows.append({"question": question, "tokens": len(tokens), "known_tokens": count, "seconds": seconds,
                     "new_bytes": report.new_bytes, "answer": tokenizer.decode(generated)})
    totals = store.totals()
    raw = sum(row["tokens"] for row in rows) * config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * 2
    json.dump({"rows": rows, "stored_bytes": totals["block_bytes"], "raw_bytes": raw}, sys.stdout, indent=2)
    print()
    store.close()


if __name__ == "__main__":
    main()
