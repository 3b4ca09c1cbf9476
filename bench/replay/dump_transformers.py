# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Caches of Hugging Face transformers with the states that enter each layer (hooks), as KV files of seqkv.

    dump_transformers.py MODEL OUT --text eval.jsonl.xz [--docs 8] [--tokens 896]     OUT/000.safetensors, ...
    dump_transformers.py MODEL OUT --ids golden.safetensors [--tokens 40]             one file, of its input_ids
Needs torch, transformers and safetensors.
"""

import argparse
import json
import lzma
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def documents(arguments):
    if arguments.ids:
        yield load_file(arguments.ids)["input_ids"].long().flatten()[: arguments.tokens]
        return
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(pathlib.Path(arguments.model) / "tokenizer.json"))
    found = 0
    for line in lzma.open(arguments.text, "rt"):
        ids = [0] + tokenizer(json.loads(line)["text"])["input_ids"]
        if len(ids) < arguments.tokens or found == arguments.docs:
            continue
        found += 1
        yield torch.tensor(ids[: arguments.tokens])


def cache_of(model, ids, chunk, device):
    """Tensors of a KV file; `chunk` tokens at a time."""
    states = [[] for _ in model.model.layers]

    def keep(i):
        def hook(_, positional, named):
            states[i].append((positional[0] if positional else named["hidden_states"])[0].cpu())

        return hook

    hooks = [layer.register_forward_pre_hook(keep(i), with_kwargs=True) for i, layer in enumerate(model.model.layers)]
    cache = None
    with torch.no_grad():
        for part in ids.split(chunk or len(ids)):
            cache = model(part[None].to(device), past_key_values=cache, use_cache=True).past_key_values
    for hook in hooks:
        hook.remove()
    out = {"input_ids": ids.int()}
    for i, layer in enumerate(cache.layers):
        out[f"layers.{i}.key"] = layer.keys[0].cpu().contiguous()
        out[f"layers.{i}.value"] = layer.values[0].cpu().contiguous()
        out[f"layers.{i}.hidden"] = torch.cat(states[i]).contiguous()
    return out


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text")
    parser.add_argument("--ids")
    parser.add_argument("--docs", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=896)
    parser.add_argument("--chunk", type=int, default=0)
    parser.add_argument("--attention", default="eager")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=getattr(torch, arguments.dtype), attn_implementation=arguments.attention
    )
    model = model.eval().to(arguments.device)
    for i, ids in enumerate(documents(arguments)):
        path = arguments.out if arguments.ids else arguments.out / f"{i:03}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(cache_of(model, ids, arguments.chunk, arguments.device), path)


if __name__ == "__main__":
    main()
