# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The claims of arXiv 2604.15356 ("Sequential KV Cache Compression via Probabilistic Language Tries"): what each says, its
arithmetic, what was measured, on what, and what that means for it. All figures are computed here from files of bench/results."""

import dataclasses
import json
import math
import pathlib

# What the paper reckons with, and what a Llama of 70 billion parameters has (grouped-query attention: 8 KV heads, not 64).
LAYERS, HEADS, HEAD_DIM, ENTROPY = 80, 64, 128, 4.3
REAL_KV_HEADS, PARAMETERS = 8, 70e9
PAPER_BITS = 3


@dataclasses.dataclass
class Claim:
    says: str
    arithmetic: str
    measured: str
    on: str
    verdict: str
    sources: list


def number(value, digits=3):
    """1,234,567 or 0.0123."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def load(folder, name):
    return json.loads((pathlib.Path(folder) / name).read_text())


def rows_by_codec(result):
    return {row["codec"]: row for row in result["rows"]}


def bits_at_kl(rows, kl):
    """Bits a component of linear+ecsq at a KL, along straight lines between logarithms."""
    points = sorted((r["bits_per_component"], r["kl_mean"]) for r in rows if r["codec"].startswith("linear+ecsq"))
    for (few, worse), (more, better) in zip(points, points[1:]):
        if better <= kl <= worse:
            part = math.log(worse / kl) / math.log(worse / better)
            return few * (more / few) ** part
    raise ValueError(f"KL {kl} is outside of what was measured")


def components(layers, kv_heads, head_dim):
    return 2 * layers * kv_heads * head_dim


def claim_of_the_ratio(folder):
    rate, frontier = load(folder, "rate-kl-docs-7m.json"), rows_by_codec(load(folder, "frontier.json"))
    coder = {row["name"]: row for row in load(folder, "replay-token-coder-2-threads.json")["benchmarks"]}
    whole = coder["encode/0/1/iterations:1/real_time"]["bits_per_token"]
    speed = coder["decode/0/0/16/iterations:1/real_time"]["tokens_per_s"]
    turbo = rows_by_codec(rate)["none+turboquant:3"]["bits_per_token"]
    paper = components(LAYERS, HEADS, HEAD_DIM) * PAPER_BITS / ENTROPY
    real = components(LAYERS, REAL_KV_HEADS, HEAD_DIM) * PAPER_BITS / ENTROPY
    bits = rows_by_codec(load(folder, "orthogonality-docs-7m.json"))["replay"]["bits_per_token"]
    replay, four = frontier["replay"], frontier["none+turboquant:4"]
    return Claim(
        "914,456 times smaller than TurboQuant of 3 bits.",
        f"2 · {LAYERS} layers · {HEADS} heads · {HEAD_DIM} · {PAPER_BITS} bits / {ENTROPY} bits a token = {paper:,.0f}. With the "
        f"{REAL_KV_HEADS} KV heads that Llama 70B has, {real:,.0f}. 4.3 bits is log2 of a perplexity of 20: the size of the "
        "tokens, not of keys and values.",
        f"Tokens coded by the model: {whole:.3f} bits a token all bytes counted (surprisal {rate['surprisal_bits_per_token']:.2f}), "
        f"{turbo / whole:,.0f} times fewer than TurboQuant's {turbo:,.0f} bits. As a frame with `replay`: {bits:.1f} bits a "
        f"token, {turbo / bits:,.0f} times. Price: {replay['compute_seconds']:.2f} s to restore 768 tokens "
        f"where `none+turboquant:4` takes {1e3 * four['compute_seconds']:.1f} ms ({replay['compute_seconds'] / four['compute_seconds']:.0f} "
        f"times as long); tokens are decoded at {number(speed)} a second.",
        "Model A (docs-7m, 7.3 M parameters), evaluation documents, two cores. The 70B shape is computed: running it again "
        f"costs 2 · 70 billion = {2 * PARAMETERS / 1e9:.0f} GFLOP a token.",
        "The division is right, and seqkv offers that end of the frontier. It is no compression of a cache: the model runs "
        "again over every token, which a cache is there to avoid.",
        ["rate-kl-docs-7m.json", "orthogonality-docs-7m.json", "replay-token-coder-2-threads.json", "frontier.json"])


def claim_of_the_overhead(folder):
    rate = load(folder, "rate-kl-docs-7m.json")
    rows = rows_by_codec(rate)
    floor = 1000 * ENTROPY
    least = min((row for row in rate["rows"] if row["codec"].startswith("linear+ecsq")), key=lambda r: r["bits_per_component"])
    one, turbo = rows["linear+ecsq:step=1"], rows["none+turboquant:3"]
    equal = bits_at_kl(rate["rows"], turbo["kl_mean"])
    return Claim(
        "Still 914 times smaller at 1,000 times the entropy.",
        f"914,456 / 1,000. That is {floor:,.0f} bits a token: {floor / components(LAYERS, HEADS, HEAD_DIM):.4f} bits a component in the paper's "
        f"shape, {floor / components(LAYERS, REAL_KV_HEADS, HEAD_DIM):.3f} with {REAL_KV_HEADS} KV heads. What a multiple of the entropy is worth "
        "depends on how many components a token has: model A has 2,048, so 1,000 times its surprisal is 1.2 bits a component.",
        f"Without running the model, `linear+ecsq:step=1` takes {one['bits_per_token']:.0f} bits a token, "
        f"{one['bits_per_token'] / rate['surprisal_bits_per_token']:.0f} times the surprisal, and {turbo['bits_per_token'] / one['bits_per_token']:.1f} times fewer than TurboQuant "
        f"of 3 bits, at a KL of {one['kl_mean']:.4f} instead of {turbo['kl_mean']:.4f}. At TurboQuant's KL, {turbo['bits_per_component'] / equal:.1f} times fewer. "
        f"The fewest bits measured, {least['bits_per_component']:.3f} a component, cost a KL of {least['kl_mean']:.3f}.",
        "Model A, 24 evaluation documents of 768 tokens, all bytes counted but the profile (7.4 MB, one a model).",
        f"Not reached: 0.0033 bits a component are {least['bits_per_component'] / (floor / components(LAYERS, HEADS, HEAD_DIM)):.0f} times below the "
        "smallest that was measured. Prediction without the model is worth one order of magnitude here, not three.",
        ["rate-kl-docs-7m.json"])


def claim_of_context(folder):
    by_position = load(folder, "surprisal-by-position.json")["rows"]
    lengths = load(folder, "long-context.json")["rows"]
    at = {(row["context"], row["codec"]): row for row in lengths}
    short, long = at[768, "linear+ecsq:step=1"], at[1920, "linear+ecsq:step=1"]
    best = min(by_position, key=lambda row: row["bits_per_token"])
    first, last = by_position[0], by_position[-1]
    return Claim(
        "Compression improves as the context grows.",
        "Conditional entropy cannot rise with more context, if the model's expectation is the truth. For a stationary source it "
        "falls to a rate above zero, so the size of a session goes on growing with its tokens.",
        f"Surprisal a token: {first['bits_per_token']:.2f} bits at positions {first['from']} to {first['to'] - 1}, {best['bits_per_token']:.2f} at {best['from']} to "
        f"{best['to'] - 1}, {last['bits_per_token']:.2f} at {last['from']:,} to {last['to'] - 1:,}. `linear+ecsq:step=1`: {short['bits_per_component']:.3f} bits a component for 768 "
        f"tokens (KL {short['kl_mean']:.4f}), {long['bits_per_component']:.3f} for 1,920 ({long['kl_mean']:.4f}).",
        "Model A; 7 documents by position, 24 documents by length.",
        "At first, and by little; then the text's own difficulty decides, and beyond some 2,000 tokens this model loses. The gain is "
        "the model's, and ends where its skill does.",
        ["surprisal-by-position.json", "long-context.json"])


def claim_of_orthogonality(folder):
    rows = rows_by_codec(load(folder, "orthogonality-docs-7m.json"))
    def pair(bits):
        return rows[f"none+turboquant:{bits}"], rows[f"linear+turboquant:{bits}"]
    alone, both = pair(3)
    two = rows["linear+turboquant:2"]
    factors = [a["kl_mean"] / b["kl_mean"] for a, b in map(pair, (1, 2, 3, 4))]
    return Claim(
        "The layers are orthogonal to TurboQuant, and compose with it.",
        "If prediction leaves residuals of a smaller variance, the same quantizer makes smaller errors of them.",
        f"TurboQuant of what the profile's predictor leaves, at the same {alone['bits_per_component']:.2f} bits: KL {both['kl_mean']:.4f} instead of {alone['kl_mean']:.4f}; "
        f"from 1 to 4 bits the KL is {min(factors):.1f} to {max(factors):.1f} times smaller. With a bit less ({two['bits_per_component']:.2f}) it is {two['kl_mean']:.4f}, still "
        "below TurboQuant of 3 bits alone.",
        "Model A, 24 evaluation documents.",
        "It holds: a predictor and TurboQuant add up, by more than a bit a component. The factors do not multiply to 914,456: where the "
        "model runs again nothing is left to quantize.",
        ["orthogonality-docs-7m.json"])


def claim_of_deduplication(folder):
    batch = rows_by_codec(load(folder, "reference-batch-docs-7m.json"))
    plain, referring = batch["linear+ecsq:step=1.41"], batch["linear+ref+ecsq:step=1.41"]
    ranks = max((run for run in load(folder, "mpi-scale.json")["runs"] if run["kind"] == "skew"), key=lambda run: run["ranks"])
    store = ranks["report"]["store"]
    pairs = load(folder, "reference-docs-7m.json")
    stored = [row["reference"] + row["fresh"] for row in (plain, referring)]
    return Claim(
        "Layer 1: sessions with a common, or semantically equivalent, prefix are stored once.",
        "A share f of sessions whose tails are of length t of n tokens: 1 - f (1 - t / n) remains. For equal tokens in another context "
        "the paper has no bound, and its d_T = -log2 P(s ∧ s') is a similarity, not a metric.",
        f"{store['sessions']} sessions behind one preamble of 1,024 tokens: {store['stored_tokens']:,} of {store['session_tokens']:,} tokens are stored. 64 sessions, 8 documents "
        f"behind 8 preambles: {plain['sessions'] / 1e6:.2f} MB, stored in {stored[0] / 1e6:.2f} with exact prefixes, and in {stored[1] / 1e6:.2f} where the same text behind "
        f"other words predicts, at the same KL ({referring['kl_mean']:.3f}). Reused as it is, without "
        f"residuals, the KL was {pairs['bare_reuse_kl']['0']:.4f} here, which nothing bounds.",
        "Model A; the preamble: 16 ranks of one machine.",
        "Exact prefixes: yes, to the bit, and only as whole blocks of 256 tokens. \"Semantic equivalence\": made safe, the residual is coded "
        f"({stored[0] / stored[1]:.1f} times fewer bytes here).",
        ["mpi-scale.json", "reference-batch-docs-7m.json", "reference-docs-7m.json"])


def claim_of_residuals(folder):
    frontier = rows_by_codec(load(folder, "frontier.json"))
    alone, predicted = (frontier[f"{name}+lossless"]["bits_per_token"] / 2048 for name in ("none", "linear"))
    return Claim(
        "Layer 2: what the model expects is subtracted, at an O(k d) cost that is negligible.",
        "The expectation over next tokens takes a forward pass for each of k candidates. The decoder has the token, so no expectation "
        "over tokens is wanted: the predictor may use the token itself, and the layers below.",
        f"Exact to the bit, `none+lossless` takes {alone:.2f} bits a component, `linear+lossless` {predicted:.2f}: prediction is "
        f"worth {alone - predicted:.2f} bits. Decoding 768 tokens takes {1e3 * frontier['linear+ecsq:step=1']['compute_seconds']:.0f} ms with it and "
        f"{1e3 * frontier['none+turboquant:4']['compute_seconds']:.1f} ms without.",
        "Model A, 8 evaluation documents, two cores. The token before is no predictor: subtracting it costs bits (docs/decisions/predictive-coding.md).",
        "Residuals are smaller, and not for nothing: the predictor is most of the decoder's work.",
        ["frontier.json"])


def claims(folder):
    return [make(folder) for make in (claim_of_the_ratio, claim_of_the_overhead, claim_of_context,
                                      claim_of_orthogonality, claim_of_deduplication, claim_of_residuals)]


def markdown(found):
    """docs/paper.md."""
    lines = ["# The paper's claims, and what was measured", "",
             "<!-- made by `bench/report --paper docs/paper.md`; a test compares -->", "",
             "seqkv implements the two-layer idea of [arXiv 2604.15356](https://arxiv.org/abs/2604.15356), which has no experiments. This page sets",
             "measurements beside its claims. Figures come from [bench/results](../bench/results) (named below each), and are computed by",
             "[bench/plot/claims.py](../bench/plot/claims.py). Model A is the embedded model [docs-7m](../models/docs-7m/README.md): small, and a larger one will",
             "give other figures; measure yours with [`seqkv evaluate`](evaluate.md).", ""]
    for index, claim in enumerate(found, 1):
        lines += [f"## {index}. {claim.says}", ""]
        for name in ("arithmetic", "measured", "on", "verdict"):
            lines += [f"**{name.capitalize()}.** {getattr(claim, name)}", ""]
        lines += ["Source: " + ", ".join(f"[{source}](../bench/results/{source})" for source in claim.sources) + ".", ""]
    return "\n".join(lines[:-1]) + "\n"
