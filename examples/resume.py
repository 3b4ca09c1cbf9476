#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""A long generation that outlives its job: what a batch system stops goes on where it was, in the next job.

    examples/resume.py --text docs/codec.md --state state.sqkv --new-tokens 200 --out answer.txt

Stopped by SIGTERM or SIGUSR1 (or after --stop-after tokens, to try it out), it leaves the cache in --state and exits
with 8; the same command goes on from there. The prompt is not computed again, and with the codec none+lossless the text
is the one of an uninterrupted run, token by token.
"""

import argparse
import pathlib
import signal
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import seqkv.hf

ROOT = pathlib.Path(__file__).resolve().parents[1]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=ROOT / "models" / "docs-7m", help="a folder or name for transformers")
    parser.add_argument("--text", type=pathlib.Path, required=True, help="what comes before")
    parser.add_argument("--context", type=int, default=1024, help="tokens of it, at most")
    parser.add_argument("--state", type=pathlib.Path, required=True, help="where the cache waits between jobs (.sqkv)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the text that was generated")
    parser.add_argument("--new-tokens", type=int, default=200)
    parser.add_argument("--stop-after", type=int, default=0, help="tokens of this job")
    parser.add_argument("--codec", default="none+lossless")
    return parser.parse_args()


def main():
    options = parse()
    stopped = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: stopped.append(True))
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    first = [model.config.bos_token_id] if model.config.bos_token_id is not None else []
    prompt = (first + tokenizer(options.text.read_text(), add_special_tokens=False)["input_ids"])[: options.context]

    if options.state.exists():
        cache = seqkv.hf.restore(options.state, config=model.config)
        tokens = cache.seqkv_tokens[0]
        print(f"goes on after {len(tokens) - len(prompt) + 1} tokens", file=sys.stderr)
        # The token that was generated last is not in the cache yet; it follows from the end of the cache's tokens.
        last = int(options.out.with_suffix(".last").read_text())
    else:
        with torch.no_grad():
            output = model(torch.tensor([prompt]), use_cache=True)
        cache, tokens = output.past_key_values, list(prompt)
        last = int(output.logits[0, -1].argmax())

    done = 0
    while len(tokens) - len(prompt) + 1 < options.new_tokens:
        if stopped or (options.stop_after and done == options.stop_after):
            size = seqkv.hf.snapshot(cache, tokens, options.codec, config=model.config, path=options.state)
            options.out.with_suffix(".last").write_text(str(last))
            print(f"stopped after {done} tokens of this job; {size}: {options.state.stat().st_size} bytes", file=sys.stderr)
            return 8
        with torch.no_grad():
            output = model(torch.tensor([[last]]), past_key_values=cache, use_cache=True)
        tokens.append(last)
        last = int(output.logits[0, -1].argmax())
        done += 1
    options.out.write_text(tokenizer.decode(tokens[len(prompt) :] + [last]))
    for leftover in (options.state, options.out.with_suffix(".last")):
        leftover.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
