# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""KV caches and logits against those of transformers in fp32, on random models of every family."""

import importlib
import random
import sys

import pytest
from support import SOURCE, write_json, write_json_lines

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
numpy = pytest.importorskip("numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")

sys.path.insert(0, str(SOURCE / "tests" / "data"))
make_families = importlib.import_module("make_families")

torch.set_num_threads(2)
transformers.utils.logging.disable_progress_bar()

TOLERANCE = 1e-4


def widths(source, **given):
    """A random shape. Small and crooked: no multiples of a vector or a panel but by chance."""
    kv_heads = source.choice([1, 2, 3])
    shape = dict(
        num_hidden_layers=source.randint(2, 4),
        num_key_value_heads=kv_heads,
        num_attention_heads=kv_heads * source.choice([1, 2, 3, 4]),
        head_dim=2 * source.randint(4, 20),
        intermediate_size=source.randint(20, 130),
        vocab_size=source.randint(200, 500),
        max_position_embeddings=512,
        rms_norm_eps=source.choice([1e-5, 1e-6]),
        tie_word_embeddings=source.random() < 0.5,
    )
    shape.update(given)
    # transformers wants a multiple.
    shape["hidden_size"] = shape["num_attention_heads"] * source.randint(5, 20)
    return shape


def qwen2(source):
    shape = widths(
        source, use_sliding_window=True, sliding_window=source.randint(10, 40), max_window_layers=1
    )
    shape["hidden_size"] = shape.pop("head_dim") * shape["num_attention_heads"]
    return transformers.Qwen2Config(**shape, rope_parameters=dict(rope_type="default", rope_theta=1e6))


def qwen3(source):
    return transformers.Qwen3Config(
        **widths(source), rope_parameters=dict(rope_type="default", rope_theta=1e6)
    )


def llama(source, rope=None, **given):
    return transformers.LlamaConfig(
        **widths(source, **given), rope_parameters=rope or dict(rope_type="default", rope_theta=1e4)
    )


def llama3_rope(source):
    return llama(
        source,
        dict(
            rope_type="llama3",
            rope_theta=5e5,
            factor=source.choice([4.0, 8.0, 32.0]),
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        head_dim=32,
    )


def mistral(source):
    return transformers.MistralConfig(
        **widths(source),
        sliding_window=source.randint(10, 40),
        rope_parameters=dict(rope_type="default", rope_theta=1e4),
    )


# name: config of a random.Random, dtype of the weights, size at which a new shard begins
FAMILIES = {
    "qwen2": (qwen2, "bfloat16", None),
    "qwen3": (qwen3, "bfloat16", None),
    "qwen3-bias": (
        lambda source: transformers.Qwen3Config(**widths(source, attention_bias=True)),
        "float32",
        None,
    ),
    "llama3-rope": (llama3_rope, "bfloat16", None),
    "llama-linear": (
        lambda source: llama(source, dict(rope_type="linear", rope_theta=1e4, factor=2.5)),
        "bfloat16",
        None,
    ),
    "mistral": (mistral, "bfloat16", None),
    "mqa-80": (
        lambda source: llama(source, head_dim=80, num_key_value_heads=1, num_attention_heads=5),
        "bfloat16",
        None,
    ),
    "head-128": (lambda source: llama(source, head_dim=128), "bfloat16", None),
    "f16": (llama, "float16", None),
    "f32": (llama, "float32", None),
    "shards": (lambda source: llama(source, num_hidden_layers=4), "bfloat16", 10_000),
    "untied-head": (lambda source: llama(source, tie_word_embeddings=False), "bfloat16", None),
    "tied-head": (lambda source: llama(source, tie_word_embeddings=True), "bfloat16", None),
    "biases": (lambda source: llama(source, attention_bias=True, mlp_bias=True), "bfloat16", None),
}


def save_random_model(folder, config, dtype, seed, shard_bytes=None):
    """Writes a model as transformers saves one, and gives it back in fp32."""
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )
    make_families.randomize(model, getattr(torch, dtype), seed)
    model.to(getattr(torch, dtype)).save_pretrained(
        folder, **({"max_shard_size": shard_bytes} if shard_bytes else {})
    )
    return make_families.load_model(folder)


def random_tokens(folder, vocabulary, count, seed):
    ids = numpy.random.default_rng(seed).integers(vocabulary, size=count, dtype=numpy.int32)
    numpy.save(folder / "tokens.npy", ids)
    return torch.from_numpy(ids), folder / "tokens.npy"


def assert_close(ours, theirs):
    """Every tensor of the KV file `ours` against what transformers has."""
    assert sorted(ours) == sorted(theirs)
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    worst = {}
    for name, value in theirs.items():
        assert ours[name].shape == value.shape and ours[name].dtype == value.dtype, name
        # So that equality says something: the numbers are there, and not all the same.
        if name != "input_ids":
            assert torch.isfinite(value).all() and value.std() > 0.01, name
            worst[name] = (ours[name] - value).abs().max().item()
    assert max(worst.values()) <= TOLERANCE, {name: gap for name, gap in worst.items() if gap > TOLERANCE}


@pytest.mark.parametrize("seed", [101, 102, 103, 104])
@pytest.mark.parametrize("name", FAMILIES)
def test_random_models(cli, tmp_path, name, seed):
    make_config, dtype, shard_bytes = FAMILIES[name]
    source = random.Random(f"{name} {seed}")
    config = make_config(source)
    reference = save_random_model(tmp_path / "model", config, dtype, seed, shard_bytes)
    if shard_bytes:
        assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    ids, tokens = random_tokens(tmp_path, config.vocab_size, source.randint(64, 160), seed)
    rows = source.randint(1, len(ids))
    cli(
        "prefill",
        "--model",
        tmp_path / "model",
        "--tokens",
        tokens,
        "--out",
        tmp_path / "kv.safetensors",
        "--logits",
        rows,
    )
    assert_close(
        safetensors_torch.load_file(tmp_path / "kv.safetensors"), make_families.run(reference, ids, rows)
    )


def test_sliding_window_matters(cli, tmp_path):
    """The same weights without a window give other values: the comparison above does look at windows."""
    config = mistral(random.Random("window"))
    reference = save_random_model(tmp_path / "model", config, "bfloat16", 1)
    ids, tokens = random_tokens(tmp_path, config.vocab_size, 100, 1)
    config.sliding_window = None
    config.save_pretrained(tmp_path / "model")
    cli(
        "prefill",
        "--model",
        tmp_path / "model",
        "--tokens",
        tokens,
        "--out",
        tmp_path / "kv.safetensors",
        "--logits",
        5,
    )
    ours = safetensors_torch.load_file(tmp_path / "kv.safetensors")
    with pytest.raises(AssertionError):
        assert_close(ours, make_families.run(reference, ids, 5))
    assert_close(ours, make_families.run(make_families.load_model(tmp_path / "model"), ids, 5))


@pytest.mark.parametrize("folder", ["model", "model-mqa"])
def test_golden_files(cli, shared, tmp_path, folder):
    golden = safetensors_torch.load_file(shared(folder) / "golden-fp32.safetensors")
    numpy.save(tmp_path / "tokens.npy", golden["input_ids"].numpy())
    cli(
        "prefill",
        "--model",
        shared(folder),
        "--tokens",
        tmp_path / "tokens.npy",
        "--out",
        tmp_path / "kv.safetensors",
        "--logits",
        len(golden["logits"]),
    )
    assert_close(safetensors_torch.load_file(tmp_path / "kv.safetensors"), golden)


# ---- caches that come back --------------------------------------------------------------------------------

CONTEXT = 300
CONTINUATION = 40


@pytest.fixture(scope="module")
def reference(model):
    return make_families.load_model(model)


@pytest.fixture(scope="module")
def text():
    return (SOURCE / "LICENSE").read_text() + (SOURCE / "tests" / "data" / "make_families.py").read_text()


@pytest.fixture(scope="module")
def ids(cli, model, text, tmp_path_factory):
    """Real text, as the program tokenizes it, in one piece."""
    folder = tmp_path_factory.mktemp("ids")
    (folder / "text.txt").write_text(text)
    cli("tokenize", "--model", model, "--text", folder / "text.txt", "--out", folder / "ids.npy")
    return torch.from_numpy(numpy.load(folder / "ids.npy"))[: CONTEXT + CONTINUATION]


@pytest.fixture(scope="module")
def exact(reference, ids):
    """The logits behind the context, from one run over all tokens."""
    with torch.no_grad():
        return reference(ids[None].long()).logits[0, CONTEXT:]


def continue_from(reference, path, ids):
    """Puts a KV file into a cache of transformers and runs the rest of the tokens on it."""
    tensors = safetensors_torch.load_file(path)
    assert torch.equal(tensors["input_ids"], ids[:CONTEXT])
    cache = transformers.DynamicCache()
    for layer in range(reference.config.num_hidden_layers):
        cache.update(
            tensors[f"layers.{layer}.key"][None].float(),
            tensors[f"layers.{layer}.value"][None].float(),
            layer,
        )
    assert cache.get_seq_length() == CONTEXT
    with torch.no_grad():
        return reference(ids[None, CONTEXT:].long(), past_key_values=cache).logits[0]


@pytest.mark.parametrize("codec", ["raw", "none+lossless"])
def test_decompressed_cache_continues(cli, model, reference, ids, exact, tmp_path, codec):
    numpy.save(tmp_path / "tokens.npy", ids[:CONTEXT].numpy())
    cli(
        "prefill", "--model", model, "--tokens", tmp_path / "tokens.npy", "--out", tmp_path / "kv.safetensors"
    )
    cli("compress", tmp_path / "kv.safetensors", tmp_path / "kv.sqkv", "--codec", codec)
    cli("decompress", tmp_path / "kv.sqkv", tmp_path / "back.safetensors")
    logits = continue_from(reference, tmp_path / "back.safetensors", ids)
    assert exact.std() > 1
    torch.testing.assert_close(logits, exact, rtol=0, atol=10 * TOLERANCE)
    assert torch.equal(logits.argmax(-1), exact.argmax(-1))


@pytest.mark.parametrize("codec", ["raw", "none+lossless"])
def test_restored_session_continues(cli, model, reference, ids, exact, tmp_path, codec):
    """Out of a store, where its first block came from another session."""
    manifest = write_json_lines(
        tmp_path / "sessions.jsonl",
        [
            {"session": "other", "tokens": ids[:100].tolist() + [7] * 30},
            {"session": "this", "tokens": ids[:CONTEXT].tolist()},
        ],
    )
    report = cli(
        "batch",
        manifest,
        "--store",
        tmp_path / "store",
        "--model",
        model,
        "--codec",
        codec,
        "--dtype",
        "f32",
        "--block-tokens",
        32,
        "--json",
    ).json
    assert [row["shared_tokens"] for row in report["rows"]] in ([0, 96], [96, 0])
    cli("restore", "--store", tmp_path / "store", "--session", "this", "--out", tmp_path / "kv.safetensors")
    logits = continue_from(reference, tmp_path / "kv.safetensors", ids)
    torch.testing.assert_close(logits, exact, rtol=0, atol=10 * TOLERANCE)


def test_generation_goes_on_the_same(cli, model, reference, ids, tmp_path):
    """Greedy generation on the restored cache says what it says on the original one."""
    manifest = write_json_lines(
        tmp_path / "sessions.jsonl", [{"session": "s", "tokens": ids[:CONTEXT].tolist()}]
    )
    cli(
        "batch",
        manifest,
        "--store",
        tmp_path / "store",
        "--model",
        model,
        "--codec",
        "none+lossless",
        "--dtype",
        "f32",
    )
    cli("restore", "--store", tmp_path / "store", "--session", "s", "--out", tmp_path / "kv.safetensors")
    tensors = safetensors_torch.load_file(tmp_path / "kv.safetensors")
    # generate() runs the last token itself: the cache has those before it.
    cache = transformers.DynamicCache()
    for layer in range(reference.config.num_hidden_layers):
        cache.update(
            tensors[f"layers.{layer}.key"][None, :, :-1],
            tensors[f"layers.{layer}.value"][None, :, :-1],
            layer,
        )
    prompt = ids[None, :CONTEXT].long()
    options = dict(do_sample=False, max_new_tokens=24, min_new_tokens=24, pad_token_id=0)
    expected = reference.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
    got = reference.generate(prompt, attention_mask=torch.ones_like(prompt), past_key_values=cache, **options)
    assert got.shape[1] == CONTEXT + 24
    assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_rounding(cli, model, ids, tmp_path, dtype):
    """--dtype rounds as torch does."""
    numpy.save(tmp_path / "tokens.npy", ids[:100].numpy())
    for name in ("f32", dtype):
        cli(
            "prefill",
            "--model",
            model,
            "--tokens",
            tmp_path / "tokens.npy",
            "--out",
            tmp_path / f"{name}.safetensors",
            "--dtype",
            name,
        )
    exact = safetensors_torch.load_file(tmp_path / "f32.safetensors")
    rounded = safetensors_torch.load_file(tmp_path / f"{dtype}.safetensors")
    to = {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    assert sorted(rounded) == sorted(exact) and len(exact) == 17
    for name, value in exact.items():
        expected = value if name == "input_ids" else value.to(to)
        assert rounded[name].dtype == expected.dtype
        assert torch.equal(rounded[name], expected), name


def test_first_token(cli, model, text, tmp_path):
    """A text starts with the model's first token, a token file as it is."""
    config = transformers.AutoConfig.from_pretrained(model)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer.json"))
    expected = tokenizer(text[:2000], add_special_tokens=False)["input_ids"]
    (tmp_path / "text.txt").write_text(text[:2000])
    cli("prefill", "--model", model, "--text", tmp_path / "text.txt", "--out", tmp_path / "text.safetensors")
    cli(
        "prefill",
        "--model",
        model,
        "--tokens",
        write_json(tmp_path / "ids.json", expected),
        "--out",
        tmp_path / "tokens.safetensors",
    )
    ids = {
        name: safetensors_torch.load_file(tmp_path / f"{name}.safetensors")["input_ids"].tolist()
        for name in ("text", "tokens")
    }
    assert ids == {"text": [config.bos_token_id, *expected], "tokens": expected}
