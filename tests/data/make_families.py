#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Writes families/<name>/: tiny random models and what transformers computes with them.

Each folder has config.json, the weights, and golden.safetensors: a KV file (keys after RoPE) in fp32 with the tokens
and the logits of the last rows. To be run again when a family is added; the result is committed. With the same
versions of torch and transformers the files come out the same.

tests/python/test_transformers.py makes models of the same families with other seeds and shapes.
"""

import copy
import json
import math
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
LOGIT_ROWS = 4

# Shapes are small and awkward on purpose: widths that are no multiple of a vector, a vocabulary that is no multiple
# of a panel (and one that is), windows shorter than the text. `old_rope` writes the rotation as transformers did
# before version 5.
FAMILIES = {
    "qwen2": dict(
        config=dict(
            model_type="qwen2", hidden_size=60, intermediate_size=60, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, vocab_size=301, max_position_embeddings=128, rms_norm_eps=1e-6,
            use_sliding_window=True, sliding_window=20, max_window_layers=1, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        dtype="bfloat16"),
    "qwen3": dict(
        config=dict(
            model_type="qwen3", hidden_size=40, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=24, vocab_size=300, max_position_embeddings=128, rms_norm_eps=1e-6,
            tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        dtype="bfloat16", tokens=70),
    "llama3-rope": dict(
        config=dict(
            model_type="llama", hidden_size=56, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=320, max_position_embeddings=512, rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            rope_parameters=dict(
                rope_type="llama3", rope_theta=1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)),
        dtype="bfloat16", old_rope=True),
    "llama-linear": dict(
        config=dict(
            model_type="llama", hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=3, vocab_size=290, max_position_embeddings=128, rms_norm_eps=1e-5,
            attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
            rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=4.0)),
        dtype="bfloat16", tokens=36),
    "mistral": dict(
        config=dict(
            model_type="mistral", hidden_size=40, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, head_dim=32, vocab_size=257, max_position_embeddings=256, rms_norm_eps=1e-5,
            sliding_window=16, tie_word_embeddings=False,
            rope_parameters=dict(rope_type="default", rope_theta=1e4)),
        dtype="bfloat16"),
    "llama-mqa-80": dict(
        config=dict(
            model_type="llama", hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=80, vocab_size=260, max_position_embeddings=128, rms_norm_eps=1e-5,
            tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=5e5)),
        dtype="bfloat16", tokens=66),
    "llama-f16": dict(
        config=dict(
            model_type="llama", hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, vocab_size=300, max_position_embeddings=128, rms_norm_eps=1e-5,
            tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e4)),
        dtype="float16"),
    "llama-shards": dict(
        config=dict(
            model_type="llama", hidden_size=32, intermediate_size=36, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=300, max_position_embeddings=128, rms_norm_eps=1e-5,
            tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e4)),
        dtype="float32", shards=2, tokens=68),
}


def randomize(model, dtype, seed):
    """Weights that every stored dtype holds exactly, with activations, scores and logits of magnitude one or so:
    with transformers' own initialization attention would be flat and a wrong rotation hardly seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("norm.weight"):
                value = 1 + 0.2 * noise
            elif name.endswith("bias"):
                value = 0.3 * noise
            elif "embed_tokens" in name:
                value = 0.5 * noise
            else:
                gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.0
                value = gain * noise / math.sqrt(weight.shape[1])
            weight.copy_(value.to(dtype).float())


def save_weights(model, folder, dtype, shards):
    tied = model.config.tie_word_embeddings
    tensors = {name: value.detach().to(dtype).contiguous() for name, value in sorted(model.state_dict().items())
               if not (tied and name == "lm_head.weight")}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    weight_map = {name: f"model-{i * shards // len(names) + 1:05}-of-{shards:05}.safetensors"
                  for i, name in enumerate(names)}
    for shard in sorted(set(weight_map.values())):
        part = {name: tensors[name] for name in names if weight_map[name] == shard}
        save_file(part, folder / shard, metadata={"format": "pt"})
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def config_json(family):
    config = copy.deepcopy(family["config"])
    config["architectures"] = [type_prefix(config["model_type"]) + "ForCausalLM"]
    if family.get("old_rope"):
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
    return config


def type_prefix(model_type):
    return {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[model_type]


def make_model(folder, family, seed):
    """Writes a model into `folder` and loads it from there as transformers understands it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_json(family), indent=1) + "\n")
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    dtype = getattr(torch, family["dtype"])
    randomize(model, dtype, seed)
    save_weights(model, folder, dtype, family.get("shards", 1))
    return load_model(folder)


def load_model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32).eval()


def run(model, ids, logit_rows):
    """The tensors of a KV file, and the last rows of the logits."""
    # Without a config the cache keeps all tokens, those beyond a sliding window too.
    cache = transformers.DynamicCache()
    with torch.no_grad():
        logits = model(ids[None].long(), past_key_values=cache, use_cache=True).logits
    tensors = {"input_ids": ids.to(torch.int32), "logits": logits[0, -logit_rows:].float().contiguous()}
    for layer, entry in enumerate(cache.layers):
        tensors[f"layers.{layer}.key"] = entry.keys[0].contiguous()
        tensors[f"layers.{layer}.value"] = entry.values[0].contiguous()
    return tensors


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for seed, (name, family) in enumerate(FAMILIES.items(), start=1):
        folder = HERE / "families" / name
        shutil.rmtree(folder, ignore_errors=True)
        model = make_model(folder, family, seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        ids = torch.randint(family["config"]["vocab_size"], (family.get("tokens", 80),), generator=generator)
        tensors = run(model, ids, LOGIT_ROWS)
        save_file(tensors, folder / "golden.safetensors", metadata={"format": "pt"})
        size = sum(path.stat().st_size for path in folder.iterdir())
        keys = torch.cat([tensors[t].flatten() for t in tensors if t.endswith("key")])
        print(f"{name:14} {size // 1024:4} KiB  logits {tensors['logits'].std():.2f}  keys {keys.std():.2f}")


if __name__ == "__main__":
    main()
