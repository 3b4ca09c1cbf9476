# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""linear+ecsq with the embedded model's profile, as a user of the program meets it.

Needs nothing but the standard library (and pytest).
"""

import json
import shutil
import sys

import pytest
from support import BAD_INPUT, CORRUPT, SOURCE, USAGE, kernels, read_safetensors, refused, run, ways

CODEC = "linear+ecsq:step=1"


@pytest.fixture(scope="module")
def profile():
    return SOURCE / "models" / "docs-7m" / "profile.safetensors"


@pytest.fixture(scope="module")
def small_profile(tmp_path_factory):
    """Of a size that asks for factors and blocks, from little text."""
    folder = tmp_path_factory.mktemp("small")
    text = folder / "text.jsonl"
    pages = sorted((SOURCE / "docs").glob("*.md"))
    text.write_text("".join(json.dumps({"text": page.read_text()}) + "\n" for page in pages))
    path = folder / "profile.safetensors"
    done = run("calibrate", "--model", SOURCE / "models" / "docs-7m", "--text", text, "--out", path, "--effort", 1,
               "--context", 64, "--continue", 16, "--layers-below", 1, "--token-width", 16, "--profile-size", "1M",
               "--json").json
    assert 500_000 < done["profile_bytes"] <= 1 << 20
    tensors = read_safetensors(path)[0]
    assert {"layers.3.key.squeeze", "layers.3.key.expand"} < set(tensors)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "kv.safetensors"
    model = SOURCE / "models" / "docs-7m"
    run("prefill", "--model", model, "--text", SOURCE / "docs" / "codec.md", "--max-tokens", 600, "--dtype", "bf16",
        "--out", path)
    return path


def test_few_bits_and_small_errors(cache, profile, tmp_path):
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    done = run("compress", cache, frame, "--codec", CODEC, "--profile", profile, "--json").json
    assert done["codec"] == CODEC
    assert done["bits_per_component"] < 1
    run("decompress", frame, back, "--profile", profile)
    errors = run("compare", cache, back, "--json").json
    assert 0 < errors["key_error"] < 0.5 and 0 < errors["value_error"] < 0.9
    assert read_safetensors(back)[0]["input_ids"] == read_safetensors(cache)[0]["input_ids"]


@pytest.mark.parametrize("which", ["profile", "small_profile"])
def test_cores_memory_and_kernels_change_no_byte(cache, which, request, tmp_path):
    profile = request.getfixturevalue(which)
    frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
    seen = set()
    for kind in kernels():
        for threads, memory in ((1, "1"), (2, "1"), (3, "2G")):
            options = ["--profile", profile, "--threads", threads, "--memory", memory]
            run("compress", cache, frame, "--codec", CODEC, *options, environment={"SEQKV_CPU": kind})
            run("decompress", frame, back, *options, environment={"SEQKV_CPU": kind})
            seen.add((frame.read_bytes(), back.read_bytes()))
    assert len(seen) == 1


def test_other_profiles_are_refused(cache, profile, tmp_path):
    frame, box = tmp_path / "kv.sqkv", tmp_path / "box"
    box.mkdir()
    run("compress", cache, frame, "--codec", CODEC, "--profile", profile)
    refused(USAGE, "compress", cache, box / "kv.sqkv", "--codec", CODEC, names=["--profile"], beside=box)
    refused(BAD_INPUT, "decompress", frame, box / "kv.safetensors", names=["profile"], beside=box)
    other = tmp_path / "other.safetensors"
    other.write_bytes(profile.read_bytes().replace(b'"seqkv.first_token":"0"', b'"seqkv.first_token":"1"'))
    assert other.read_bytes() != profile.read_bytes()
    refused(BAD_INPUT, "decompress", frame, box / "kv.safetensors", "--profile", other, names=["profile"], beside=box)


def test_peers_of_evaluate(model, tmp_path):
    """A peer that copies the file is exact and costs what it says."""
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": (SOURCE / "docs" / "codec.md").read_text()}) + "\n")
    peer = tmp_path / "peer.py"
    peer.write_text("import shutil, sys\nshutil.copy(*sys.argv[1:])\nprint('{\"bytes\": 4096}')\n")
    rows = run("evaluate", "--model", model, "--text", text, "--docs", 1, "--context", 32, "--continue", 16, "--peer",
               f"copy={sys.executable} {peer}", "--json").json["rows"]
    row = rows[-1]
    assert row["codec"] == "copy"
    assert row["bits_per_token"] == pytest.approx(8 * 4096 / 32)
    assert row["kl_mean"] == pytest.approx(rows[0]["kl_mean"])
    assert shutil.which("sh")
    bad = ["evaluate", "--model", model, "--text", text, "--docs", 1, "--context", 32, "--continue", 16]
    refused(USAGE, *bad, "--peer", "nameless", names=["--peer"])


def test_targets_become_steps(cache, profile, tmp_path):
    frame = tmp_path / "kv.sqkv"
    for bits in (0.3, 0.6):
        done = run("compress", cache, frame, "--codec", f"linear+ecsq:bits={bits}", "--profile", profile, "--json").json
        assert done["codec"].startswith("linear+ecsq:step=")
        assert done["bits_per_component"] == pytest.approx(bits, rel=0.015)  # headers of the frame included
    steps = []
    for kl in (0.002, 0.02):
        done = run("compress", cache, frame, "--codec", f"linear+ecsq:kl={kl}", "--profile", profile, "--json").json
        steps.append(float(done["codec"].partition("=")[2]))
    assert 0.3 < steps[0] < 1 and 2 < steps[1] < 4
    box = tmp_path / "box"
    box.mkdir()
    for target in ("kl=50", "bits=0.001", "bits=20"):
        refused(USAGE, "compress", cache, box / "kv.sqkv", "--codec", f"linear+ecsq:{target}", "--profile", profile,
                names=[target.partition("=")[2]], beside=box)
    refused(USAGE, "compress", cache, box / "kv.sqkv", "--codec", "linear+ecsq:kl=0.01", names=["--profile"], beside=box)


def test_residuals_with_turboquant(cache, profile, tmp_path):
    """At the same bits the errors of predicted caches are smaller."""
    errors = {}
    for codec in ("none+turboquant:3", "linear+turboquant:3"):
        frame, back = tmp_path / "kv.sqkv", tmp_path / "back.safetensors"
        done = run("compress", cache, frame, "--codec", codec, "--profile", profile, "--json").json
        assert done["bits_per_component"] == pytest.approx(3.26, abs=0.01)
        run("decompress", frame, back, "--profile", profile)
        errors[codec] = run("compare", cache, back, "--json").json["value_error"]
    assert errors["linear+turboquant:3"] < 0.6 * errors["none+turboquant:3"]


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "sessions.jsonl"
    text = (SOURCE / "docs" / "codec.md").read_text(encoding="utf-8")[:1500]
    ends = {"first": "", "second": " And then, something else altogether is written behind the same words.", "third": "?"}
    path.write_text("".join(json.dumps({"session": name, "text": text + end}) + "\n" for name, end in ends.items()))
    return path


def test_stores_keep_the_profile(manifest, profile, model, tmp_path):
    """Sessions share blocks, and restore needs the store alone."""
    store = tmp_path / "store"
    own = tmp_path / "profile.safetensors"
    shutil.copy(profile, own)
    options = ["--store", store, "--model", model, "--block-tokens", 32, "--json"]
    report = run("batch", manifest, *options, "--codec", CODEC, "--profile", own).json
    assert sum(row["shared_tokens"] for row in report["rows"]) > 100
    kept = list((store / "profiles").iterdir())
    assert [path.read_bytes() for path in kept] == [profile.read_bytes()]
    own.unlink()
    rows = run("ls", "--store", store, "--json").json
    assert {row["profile"] for row in rows["rows"]} == {kept[0].stem} and rows["bytes"] > profile.stat().st_size
    run("verify", "--store", store)
    out = tmp_path / "out.safetensors"
    run("restore", "--store", store, "--session", "second", "--out", out)
    assert len(read_safetensors(out)[0]["input_ids"][2])

    # The same again is nothing new; another profile is another codec.
    again = run("batch", manifest, *options, "--codec", CODEC, "--profile", profile).json
    assert all(row["new_bytes"] == 0 for row in again["rows"])


def test_stores_without_their_profile(manifest, profile, model, tmp_path):
    store, box = tmp_path / "store", tmp_path / "box"
    box.mkdir()
    options = ["--store", store, "--model", model, "--block-tokens", 32]
    run("batch", manifest, *options, "--codec", CODEC, "--profile", profile)
    (kept,) = (store / "profiles").iterdir()
    good = kept.read_bytes()
    restore = ["restore", "--store", store, "--session", "first", "--out", box / "kv.safetensors"]
    for damage in (None, good[:-1], good.replace(b'"seqkv.first_token":"0"', b'"seqkv.first_token":"1"')):
        kept.unlink()
        if damage is not None:
            kept.write_bytes(damage)
        broken = run("verify", "--store", store, "--json", expect=CORRUPT).json
        assert set(broken["broken_sessions"]) == {"first", "second", "third"}
        refused(CORRUPT, *restore, names=[kept.name], beside=box)
        kept.write_bytes(good)
    run(*restore)
    run("verify", "--store", store)

    # Who saves with the profile at hand mends a damaged copy.
    kept.write_bytes(good[:-1])
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"session": "fourth", "text": "Something else."}) + "\n")
    run("batch", more, *options, "--codec", CODEC, "--profile", profile)
    assert kept.read_bytes() == good
    run("verify", "--store", store)


def test_batch_says_what_it_needs(manifest, model, profile, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    options = ["batch", manifest, "--store", box / "store", "--model", model]
    refused(USAGE, *options, "--codec", CODEC, names=["--profile"], beside=box)
    refused(USAGE, *options, "--codec", "linear+ecsq:bits=1", "--profile", profile, names=["step"], beside=box)


@pytest.mark.parametrize(
    "heads, kv_heads, dim", [(8, 1, 64), (4, 1, 96), (2, 2, 80), (4, 2, 128)], ids=["8-1", "mqa-96", "mha-80", "gqa-128"]
)
def test_models_of_transformers(heads, kv_heads, dim, model, tmp_path):
    """From a model that transformers saved to its profile, and to a cache and back: whatever the shape, the same bytes for
    any number of threads, any memory and any kernels."""
    transformers = pytest.importorskip("transformers")
    sys.path.insert(0, str(SOURCE / "tests" / "data"))
    import make_families
    import torch

    folder, kv, out = tmp_path / "model", tmp_path / "kv.safetensors", tmp_path / "profile.safetensors"
    config = transformers.LlamaConfig(
        num_hidden_layers=3, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim, hidden_size=8 * heads,
        intermediate_size=64, vocab_size=4096, max_position_embeddings=512,
    )
    made = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    make_families.randomize(made, torch.bfloat16, 5)
    made.to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (model / name).exists():
            shutil.copy(model / name, folder)

    texts = sorted((SOURCE / "docs").glob("*.md"))
    amount = ["--effort", 1, "--context", 64, "--continue", 16]
    run("calibrate", "--model", folder, "--text", *texts, "--out", out, *amount)
    run("prefill", "--model", folder, "--text", texts[0], "--max-tokens", 300, "--dtype", "bf16", "--out", kv)
    for codec in ("linear+ecsq:step=0.5", "linear+turboquant:4"):
        frame, back, seen = tmp_path / "kv.sqkv", tmp_path / "back.safetensors", set()
        for threads, memory, kind in ways():
            options = ["--profile", out, "--threads", threads, "--memory", memory]
            how = {"environment": {"SEQKV_CPU": kind}}
            run("compress", kv, frame, "--codec", codec, "--block-tokens", 64, *options, **how)
            run("decompress", frame, back, *options, **how)
            seen.add((frame.read_bytes(), back.read_bytes()))
        assert len(seen) == 1
        assert frame.stat().st_size < kv.stat().st_size / 2
        errors = run("compare", kv, back, "--json").json
        assert errors["key_error"] < 0.9 and errors["value_error"] < 0.9


@pytest.mark.parametrize("dtype", ["bf16", "f32"])
def test_frames_decode_by_the_specification_alone(dtype, profile, model, tmp_path):
    np = pytest.importorskip("numpy")
    import ecsq_decoder
    import frame_decoder

    kv, frame, back, raw = (tmp_path / name for name in ("kv.safetensors", "kv.sqkv", "back.safetensors", "raw.sqkv"))
    run("prefill", "--model", model, "--text", SOURCE / "docs" / "codec.md", "--max-tokens", 45, "--dtype", dtype,
        "--out", kv)
    run("compress", kv, frame, "--codec", "linear+ecsq:step=0.3", "--profile", profile, "--block-tokens", 32)
    data = frame.read_bytes()
    header = frame_decoder.read_header(data)
    decoder = ecsq_decoder.Decoder(header, *read_safetensors(profile))
    parts = [decoder.block(frame_decoder.read_block(header, data[at : at + size])) for at, size in header.index]
    run("decompress", frame, back, "--profile", profile)
    run("compress", back, raw, "--codec", "raw", "--block-tokens", 32)
    _, _, values = frame_decoder.decode_frame(raw.read_bytes())
    for number in range(len(parts[0])):
        decoded = np.concatenate([part[number] for part in parts], axis=1)
        assert np.array_equal(decoded, values[number // 2][number % 2]), number
