# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""The figures of bench/report. Each function takes the folder of results and gives a Figure; drawn so that a phone shows them
in one column without the text becoming too small."""

import dataclasses
import importlib.util
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from claims import load

SIZE = (5.6, 4.4)
PLAIN = {"font.size": 11, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.alpha": 0.3, "legend.frameon": False, "legend.fontsize": 10, "savefig.dpi": 160}
plt.rcParams.update(PLAIN)
OURS, PEER, BOUND = "#1b5e9b", "#b8b8b8", "#c0392b"


@dataclasses.dataclass
class Figure:
    name: str
    title: str
    caption: str
    sources: list
    plot: object
    section: str


def new(size=SIZE):
    return plt.subplots(figsize=size, layout="constrained")


def below(axis, columns=2):
    """The legend below the figure, where no line runs through it and nothing is cut."""
    axis.figure.legend(loc="outside lower center", ncol=columns)


def medians(result):
    """Rows by name; of repetitions the medians."""
    found = {}
    for row in result["benchmarks"]:
        if row.get("aggregate_name", "median") == "median":
            found[row["run_name"] if "run_name" in row else row["name"]] = row
    return found


def bars(axis, names, values, colors, unit, spare=1.25):
    """Horizontal bars from the top, each with its number behind it."""
    places = range(len(names), 0, -1)
    axis.barh(places, values, color=colors, height=0.7)
    axis.set_yticks(places, names)
    axis.grid(axis="y", visible=False)
    most = max(values)
    for place, value in zip(places, values):
        axis.text(value * (1.03 if axis.get_xscale() == "log" else 1) + (0 if axis.get_xscale() == "log" else most * 0.015), place,
                  f"{value:,.0f}" if value >= 100 else f"{value:.3g}", va="center", fontsize=9)
    axis.set_xlim(right=most * spare)
    axis.set_xlabel(unit)


# ---- bits against quality -----------------------------------------------------------------------------------

# Name, and whether a codec is of the family.
FAMILIES = [("seqkv linear+ecsq", lambda c: c.startswith("linear+ecsq")), ("TurboQuant", lambda c: c.startswith("none+turboquant")),
            ("AQUA-KV", lambda c: c.startswith("aqua")), ("KVTC", lambda c: c.startswith("kvtc") and "profile" not in c),
            ("KVTC, steps of the profile", lambda c: c.startswith("kvtc") and "profile" in c),
            ("KIVI, no window", lambda c: c.startswith("kivi")), ("CacheGen", lambda c: c.startswith("cachegen"))]


def rate(folder, name, model):
    rows = load(folder, name)["rows"]
    figure, axis = new()
    for index, (label, belongs) in enumerate(FAMILIES):
        points = sorted((r["bits_per_component"], r["kl_mean"]) for r in rows if belongs(r["codec"]))
        style = dict(color="black", linewidth=2.4) if index == 0 else dict(color=f"C{index}", linewidth=1.3)
        axis.plot(*zip(*points), marker="o", markersize=4, label=label, **style)
    floor = next(r["kl_mean"] for r in rows if r["codec"] == "raw")
    axis.axhline(floor, color="gray", linestyle=":", linewidth=1.2, label="rounding to bf16 alone")
    axis.set(xscale="log", yscale="log", xlabel="bits a component, all bytes counted", ylabel="KL(exact || restored), nats")
    axis.minorticks_off()
    axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], ["1/8", "1/4", "1/2", "1", "2", "4"])
    below(axis)
    caption = ("24 evaluation documents, 768 tokens restored, KL over the next 128. Left and below is better. Published codecs "
               "re-implemented at their published settings (bench/baselines), CacheGen also with tables of the profile; nothing is protected.")
    return Figure(pathlib.Path(name).stem, f"Bits against quality, {model}", caption, [name], figure, "Quality")


def orthogonality(folder):
    rows = load(folder, "orthogonality-docs-7m.json")["rows"]
    figure, axis = new()
    for prefix, label, style in (("none+turboquant", "TurboQuant of the cache", dict(color="C1")),
                                 ("linear+turboquant", "TurboQuant of what prediction leaves", dict(color="black"))):
        points = sorted((r["bits_per_component"], r["kl_mean"]) for r in rows if r["codec"].startswith(prefix))
        axis.plot(*zip(*points), marker="o", label=label, **style)
    axis.set(yscale="log", xlabel="bits a component, all bytes counted", ylabel="KL(exact || restored), nats")
    below(axis, 1)
    return Figure("orthogonality", "Prediction below TurboQuant", "The same quantizer at the same bits, without and with the profile's "
                  "predictor. Model A, 24 evaluation documents.", ["orthogonality-docs-7m.json"], figure, "Quality")


def references(folder):
    name = "reference-batch-docs-7m.json"
    rows = load(folder, name)["rows"]
    figure, axis = new((5.6, 3.4))
    labels = ["linear", "linear+ref", "ref (reused as it is)"]
    left = [0.0] * len(rows)
    places = [3, 2, 1]
    # Of the sessions' blocks, those that the store had already take no space.
    for key, label, color in (("fresh", "new blocks", "#1b5e9b"), ("reference", "predicted from stored ones", "#7fb3d5"),
                              ("exact_prefix", "shared prefixes, there already", "#d5d8dc")):
        values = [row[key] / 1e6 for row in rows]
        axis.barh(places, values, left=left, color=color, label=label, height=0.6)
        left = [a + b for a, b in zip(left, values)]
    axis.set_yticks(places, labels)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("MB of the sessions' blocks")
    below(axis, 1)
    return Figure("references", "64 sessions: 8 documents behind 8 preambles", "ecsq:step=1.41, blocks of all sessions. linear+ref predicts from the same text "
                  "behind other words and codes what is left; mean KL 0.031 for all three.", [name], figure, "Quality")


# ---- replay ---------------------------------------------------------------------------------------------------

def frontier(folder):
    result = load(folder, "frontier.json")
    tokens = result["tokens"]
    figure, axis = new((5.6, 4.9))
    bandwidths = [10 ** (i / 20) for i in range(-120, 41)]
    shown = ["replay", "prefill", "linear+ecsq:step=2", "linear+ecsq:step=0.5", "none+turboquant:4", "linear+lossless", "none+lossless", "raw"]
    rows = {row["codec"]: row for row in result["rows"]}
    lines = {codec: [tokens * rows[codec]["bits_per_token"] / 8e9 / b + rows[codec]["compute_seconds"] for b in bandwidths]
             for codec in shown}
    every = [[tokens * r["bits_per_token"] / 8e9 / b + r["compute_seconds"] for b in bandwidths] for r in rows.values() if r["within_kl"]]
    best = [min(column) for column in zip(*every)]
    axis.plot(bandwidths, best, color="black", linewidth=6, alpha=0.2, label="the fastest")
    for codec, values in lines.items():
        axis.plot(bandwidths, values, linewidth=1.5, label=codec)
    axis.set(xscale="log", yscale="log", xlabel="bandwidth of what is read, GB/s", ylabel=f"seconds to restore {tokens} tokens",
             ylim=(min(best) / 2, 1e4))
    below(axis)
    return Figure("frontier", "Time, space and bandwidth", f"What restores soonest at a KL of at most 0.01, by the bandwidth at which stored bytes come. Model A, {result['machine']}. "
                  "replay: tokens alone; prefill: the model over 4-byte tokens.", ["frontier.json"], figure, "Replay and tokens")


def token_coding(folder):
    name = "replay-token-coder-2-threads.json"
    rows = medians(load(folder, name))
    wanted = [("the model, whole sessions", "encode/0/1/iterations:1/real_time", OURS), ("the model, segments of 256", "encode/256/1/iterations:1/real_time", OURS),
              ("trie of n-grams", "trie_coder/iterations:1/real_time", OURS), ("xz -9e", "xz_9e/iterations:1/real_time", PEER),
              ("zstd -19", "zstd_19/iterations:1/real_time", PEER)]
    figure, axis = new((5.6, 3.2))
    bars(axis, [w[0] for w in wanted], [rows[w[1]]["bits_per_token"] for w in wanted], [w[2] for w in wanted], "bits a token")
    return Figure("token-coding", "Tokens", "24 evaluation documents of 896 tokens; all bytes. Decoding: 3,660 tokens/s by the model (batch 16, 2 threads), "
                  "3.2 M/s by the trie.", [name], figure, "Replay and tokens")


def surprisal(folder):
    name = "surprisal-by-position.json"
    rows = load(folder, name)["rows"]
    figure, axis = new((5.6, 3.8))
    middles = [(row["from"] * row["to"]) ** 0.5 for row in rows]
    axis.errorbar(middles, [row["bits_per_token"] for row in rows], yerr=[row["standard_error"] for row in rows], marker="o",
                  color="black", capsize=3)
    axis.set(xscale="log", xlabel="position in the document", ylabel="bits a token (surprisal)", ylim=(0, None))
    axis.set_xticks([10, 100, 1000, 8000], ["10", "100", "1,000", "8,000"])
    axis.minorticks_off()
    return Figure("surprisal-by-position", "Does context help?", "Model A on 7 long documents; bars are standard errors over documents.", [name], figure, "Replay and tokens")


# ---- speed ----------------------------------------------------------------------------------------------------

def pairs_of_bars(axis, names, encode, decode):
    """Two bars a name, each with its number behind it."""
    places = list(range(len(names), 0, -1))
    for shift, what, values, color in ((0.19, "encode", encode, "#7fb3d5"), (-0.19, "decode", decode, OURS)):
        axis.barh([p + shift for p in places], values, height=0.36, color=color, label=what)
        for place, value in zip(places, values):
            axis.text(value * 1.06, place + shift, f"{value:.2f}" if value < 1 else f"{value:.1f}", va="center", fontsize=9)
    axis.set_yticks(places, names)
    axis.grid(axis="y", visible=False)


def cpu_codecs(folder):
    simple, predicted = medians(load(folder, "codec-1-threads.json")), medians(load(folder, "predict.json"))
    wanted = [("raw", "0"), ("none+lossless", "1"), ("none+turboquant:2", "2"), ("none+turboquant:3", "3"), ("none+turboquant:4", "4")]
    names = [name for name, _ in wanted] + ["linear+ecsq:step=1", "in Llama 3 8B's shape"]
    def speeds(what):
        return ([simple[f"{what}_cache/{index}/real_time"]["bytes_per_second"] / 1e9 for _, index in wanted] +
                [predicted[f"{model}/step=1/{what}/real_time"]["bytes_per_second"] / 1e9 for model in ("docs-7m", "llama-3-8b-shape")])
    figure, axis = new((5.6, 4.6))
    axis.set_xscale("log")
    pairs_of_bars(axis, names, speeds("encode"), speeds("decode"))
    copy = simple["copy_cache/real_time"]["bytes_per_second"] / 1e9
    axis.axvline(copy, color=BOUND, linestyle="--", label=f"copy of memory, {copy:.1f}")
    axis.set(xlabel="GB/s of bf16, one core", xlim=(0.05, 40))
    axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    below(axis, 3)
    return Figure("cpu-codecs", "Codecs on one core", "A cache of 4,096 tokens (predictive: 1,024 and 512), checksums included, AVX-512. The copy is what memory allows.",
                  ["codec-1-threads.json", "predict.json"], figure, "Speed")


def entropy_coders(folder):
    rows = medians(load(folder, "rans-1-threads.json"))
    wanted = [("seqkv, AVX-512", "avx512/one-table/H3/16KiB"), ("seqkv, AVX2", "avx2/one-table/H3/16KiB"),
              ("seqkv, portable", "portable/one-table/H3/16KiB"), ("htscodecs rANS 32x16", "htscodecs-rans32x16/H3/128KiB"),
              ("zstd Huffman", "zstd-huffman/H3/128KiB"), ("Blosc, LZ4, bits shuffled", "blosc-lz4-bitshuffle/H3/128KiB"), ("LZ4", "lz4/H3/128KiB")]
    def row(what, name):
        return rows[f"{what}/{name}/real_time"]
    figure, axis = new((5.6, 4.6))
    names = [f"{label}\nsize {row('decode', name)['ratio']:.3f}" for label, name in wanted]
    pairs_of_bars(axis, names, *([row(what, name)["GB/s"] / 1e9 for _, name in wanted] for what in ("encode", "decode")))
    axis.set_yticks(axis.get_yticks(), names, fontsize=9)
    axis.set(xlabel="GB/s of symbols, one core", xlim=(0, 2.9))
    below(axis)
    return Figure("entropy-coders", "Entropy coders beside peers", "Symbols of one byte with 3 bits of entropy: no size can be below 0.375. seqkv in blocks of 16 KiB, "
                  "peers in blocks of 128 KiB.", ["rans-1-threads.json"], figure, "Speed")


def device(folder):
    name = "device-h200.json"
    result = load(folder, name)
    rows = medians(result)
    copy = rows["copy_memory/KiB:1048576/real_time"]["GB/s"] / 1e9
    wanted = [("symbols, 3 bits, 16 KiB", "symbols/{}/bits:3/block_KiB:16/KiB:1048576", OURS), ("nvCOMP ANS, 16 KiB", "nvcomp-ans/{}/bits:3/chunk_KiB:16/KiB:1048576", PEER),
              ("nvCOMP ANS, 1 MiB", "nvcomp-ans/{}/bits:3/chunk_KiB:1024/KiB:1048576", PEER), ("none+turboquant:3", "none+turboquant:3/{}", OURS),
              ("none+lossless", "none+lossless/{}", OURS)]
    figure, axis = new((5.6, 4.8))
    axis.set_xscale("log")
    labels, place = [], 0
    for label, pattern, color in wanted:
        for what in ("decode", "encode"):
            row = rows[pattern.format(what) + "/real_time"]
            speed, bound = row["GB/s"] / 1e9, copy / (1 + row["ratio"])
            place -= 1
            axis.barh(place, speed, color=color, height=0.7)
            axis.plot([bound, bound], [place - 0.42, place + 0.42], color=BOUND, linewidth=2.5)
            axis.text(speed * 0.93, place, f"{speed:,.0f}", va="center", ha="right", fontsize=9,
                      color="white" if color == OURS else "black")
            labels.append((place, f"{label}, {what}"))
    axis.plot([], [], color=BOUND, linewidth=2.5, label="what memory allows: copy / (1 + ratio)")
    axis.set_yticks([place for place, _ in labels], [text for _, text in labels], fontsize=9)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel="GB/s of uncoded data", xlim=(50, 6000))
    axis.set_xticks([100, 1000], ["100", "1,000"])
    below(axis, 1)
    return Figure("device-h200", "A GPU, and its memory as the roof", f"{result['context']['machine']}; data in the memory of the device. Copy: {copy:,.0f} GB/s read and written. "
                  f"Every uncoded byte is moved once, and its coded part with it.", [name], figure, "Speed")


def tries(folder):
    build, match = medians(load(folder, "trie-build-1-threads.json")), medians(load(folder, "trie-match-1-threads.json"))
    names = ["build: seqkv", "build: hash map", "build: map of children", "match: seqkv", "match: hash map of prefixes", "one probe, no prefix"]
    values = [build["build_windows/real_time"]["windows_per_s"], build["build_windows_hash/iterations:1/real_time"]["windows_per_s"],
              build["build_windows_map/iterations:1/real_time"]["windows_per_s"], match["match_windows_found/real_time"]["lookups_per_s"],
              match["match_windows_hash_map/iterations:1/real_time"]["lookups_per_s"], match["match_windows_one_probe/real_time"]["lookups_per_s"]]
    figure, axis = new((5.6, 3.6))
    axis.set_xscale("log")
    bars(axis, names, [value / 1e6 for value in values], [OURS, PEER, PEER, OURS, PEER, PEER], "million a second, one core", spare=3)
    axis.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    return Figure("tries", "Tries beside what one writes first", "4 M windows of 8 tokens; lookups of windows of the same text. Whole sessions: 299,000 lookups/s of 4,096 tokens each.",
                  ["trie-build-1-threads.json", "trie-match-1-threads.json"], figure, "Speed")


def store(folder):
    rows = {row["name"].removesuffix("/manual_time"): row for row in load(folder, "store.json")["sessions"]}
    names = [f"{what}: {how}" for what in ("save", "restore") for how in ("safetensors", "tar, zstd -3", "store", "store, sealed")]
    keys = ["save_safetensors", "save_tar_zstd", "save_store/protection:0", "save_store/protection:2", "restore_safetensors/cold:0",
            "restore_tar_zstd/cold:0", "restore_store/protection:0/cold:0", "restore_store/protection:2/cold:0"]
    figure, axis = new((5.6, 4.2))
    best, median = [rows[k]["best_ms"] for k in keys], [rows[k]["median_ms"] for k in keys]
    places = list(range(len(keys), 0, -1))
    colors = [OURS if "_store" in k else PEER for k in keys]
    axis.barh(places, best, color=colors, height=0.7)
    axis.plot(median, places, "|", color="black", markersize=13, markeredgewidth=2, label="median of 7 (bars: the best)")
    axis.set_yticks(places, names)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("ms for 256 MiB of bf16")
    below(axis, 1)
    return Figure("store", "A store beside files", "Saving with fsync, none+lossless, 1.44 times fewer bytes (tar and zstd: 1.24), two cores of a shared machine whose disk varies. Sealed: AES-256-GCM.",
                  ["store.json"], figure, "Speed")


# ---- ranks ----------------------------------------------------------------------------------------------------

def scale_model(folder, name):
    path = pathlib.Path(__file__).resolve().parents[1] / "mpi" / "model.py"
    spec = importlib.util.spec_from_file_location("seqkv_scale_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.predict(load(folder, name), module.options([str(pathlib.Path(folder) / name)]))


def scaling(folder):
    result = scale_model(folder, "mpi-scale.json")
    figure, axis = new((5.6, 4.6))
    for index, kind in enumerate(("weak", "strong", "skew")):
        rows = [row for row in result["batch"] if row["kind"] == kind]
        ranks = [row["ranks"] for row in rows]
        axis.plot(ranks, [row["measured_s"] for row in rows], "o-", color=f"C{index}", label=f"{kind}, measured")
        axis.plot(ranks, [row["predicted_s"] for row in rows], "x--", color=f"C{index}", label=f"{kind}, model")
    axis.set(xscale="log", yscale="log", xlabel="ranks on 16 cores of one machine", ylabel="seconds of a batch")
    axis.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axis.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axis.minorticks_off()
    below(axis)
    worst = max(abs(row["error"]) for row in result["batch"])
    return Figure("mpi-scaling", "Batches on many ranks", f"Weak: 16 sessions a rank; strong and skew: 160 in all. The model is off by up to {worst:.0%}: in these runs ranks waited for "
                  "senders that computed. Since then messages come beside the work; on 16 cores that has not been measured again.", ["mpi-scale.json"], figure, "Ranks")


def nodes(folder):
    result = scale_model(folder, "mpi-scale.json")
    figure, axis = new((5.6, 4.2))
    count = [row["nodes"] for row in result["nodes"]]
    for name, label in (("short", "batch of seconds"), ("long", "the same, 100 times the sessions"), ("lookup", "a million lookups a rank")):
        axis.plot(count, [row[f"{name}_efficiency"] for row in result["nodes"]], "--", label=label)
    axis.set(xscale="log", xlabel="nodes of 16 ranks", ylabel="efficiency (weak)", ylim=(0, 1.1))
    below(axis, 1)
    return Figure("mpi-nodes", "What the model says of many nodes", "Predicted, not measured: LogGP with 2 µs and 1.5 GB/s a rank. The index, which rank 0 writes, is what does not shrink.",
                  ["mpi-scale.json"], figure, "Ranks")


def figures(folder):
    yield rate(folder, "rate-kl-docs-7m.json", "model A")
    yield rate(folder, "rate-kl-model-mqa.json", "a model with one KV head")
    for make in (orthogonality, references, frontier, surprisal, token_coding, cpu_codecs, entropy_coders, device, store,
                 tries, scaling, nodes):
        yield make(folder)
