#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""How many bits a model's cache needs, and what they buy: rate against KL for one's own model, as a notebook.

    examples/rate_kl.py --model models/docs-7m --text docs src --out rate-kl.svg

Cells are marked with # %%. Figures are measured as docs/evaluate.md says: the cache of a context is coded and decoded,
and what the model says of the tokens behind it is compared with what it says from the exact cache.
"""

# %% What to look at
import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import seqkv
import seqkv.hf

ROOT = pathlib.Path(__file__).resolve().parents[1]
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", default=ROOT / "models" / "docs-7m", help="a folder or name for transformers")
parser.add_argument("--text", type=pathlib.Path, nargs="+", default=[ROOT / "docs", ROOT / "src"], help="files and folders")
parser.add_argument("--profile", type=pathlib.Path, help="of the model; learned from the text where none is given")
parser.add_argument("--context", type=int, default=256)
parser.add_argument("--continuation", type=int, default=64)
parser.add_argument("--documents", type=int, default=3, help="to measure on")
parser.add_argument("--effort", type=int, default=1, help="of the profile, 1 to 9")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("rate-kl.svg"))
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.model)
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()

# %% Documents of one length; some are kept to measure on
length = options.context + options.continuation
files = [file for path in options.text for file in (sorted(path.rglob("*.[chm][dp]*")) if path.is_dir() else [path])]
first = [model.config.bos_token_id] if model.config.bos_token_id is not None else []
documents = []
for file in files:
    ids = tokenizer(file.read_text(), add_special_tokens=False)["input_ids"]
    size = length - len(first)
    documents += [first + ids[at : at + size] for at in range(0, len(ids) - size + 1, size)]
step = max(1, len(documents) // options.documents)
held_out = documents[::step][: options.documents]
learned = [document for document in documents if document not in held_out][:160]

# %% The profile: what predictive codecs know of the model
profile = options.profile or seqkv.hf.calibrate(
    model, None, learned, effort=options.effort, context=options.context, continuation=options.continuation,
    first_token=first[0] if first else None,
)  # fmt: skip
profile = seqkv.Profile.load(profile) if isinstance(profile, pathlib.Path) else profile


# %% One codec on one document
@torch.no_grad()
def behind(layers, continuation):
    cache = DynamicCache()
    for number, (key, value) in enumerate(layers):
        cache.update(key[None].to(model.dtype), value[None].to(model.dtype), number)
    return model(torch.tensor([continuation]), past_key_values=cache, use_cache=True).logits[0].log_softmax(-1)


@torch.no_grad()
def measure(codec, document):
    """Bytes, and KL of each position."""
    context, continuation = document[: options.context], document[options.context :]
    cache = DynamicCache()
    model(torch.tensor([context]), past_key_values=cache, use_cache=True)
    exact = [(layer.keys[0], layer.values[0]) for layer in cache.layers]
    stored = [(key.bfloat16(), value.bfloat16()) for key, value in exact]
    frame = seqkv.compress(context, stored, codec, profile=profile)
    _, restored = seqkv.decompress(frame, profile=profile, framework="torch")
    wanted, found = behind(exact, continuation), behind(restored, continuation)
    return len(frame), (wanted.exp() * (wanted - found)).sum(-1)


# %% All codecs
families = {
    "linear+ecsq": [f"linear+ecsq:step={2 ** (k / 2):.4g}" for k in range(4, -5, -2)],
    "none+turboquant": [f"none+turboquant:{bits}" for bits in (2, 3, 4)],
    "none+lossless": ["none+lossless"],
}
rows = []
for family, codecs in families.items():
    for codec in codecs:
        results = [measure(codec, document) for document in held_out]
        components = len(held_out) * options.context * profile.shape.components_per_token
        rows.append({"family": family, "codec": codec, "bits_per_component": 8 * sum(r[0] for r in results) / components,
                     "kl_mean": float(torch.cat([r[1] for r in results]).mean())})
        print("{codec:28} {bits_per_component:6.3f} bits  {kl_mean:.5f} nats".format(**rows[-1]), file=sys.stderr)
json.dump({"rows": rows}, sys.stdout, indent=2)
print()

# %% The plot
try:
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit(f"without matplotlib there is no {options.out}")
figure, axes = plt.subplots(figsize=(6, 4))
for family in families:
    points = [row for row in rows if row["family"] == family]
    axes.plot([p["bits_per_component"] for p in points], [p["kl_mean"] for p in points], "o-", label=family)
axes.set(xscale="log", yscale="log", xlabel="bits per component", ylabel="KL(exact || restored), nats per token")
axes.legend()
axes.grid(True, which="both", alpha=0.3)
figure.savefig(options.out, bbox_inches="tight")
