# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Profiles of models that transformers runs: of the embedded model against seqkv's own, of small random ones of others."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import seqkv  # noqa: E402
import seqkv.hf  # noqa: E402
from conftest import MODEL, SOURCE  # noqa: E402
from seqkv.hf.calibrate import Runner  # noqa: E402

CONTEXT, CONTINUATION = 256, 64
SIZES = {"context": CONTEXT, "continuation": CONTINUATION}


def texts():
    """What the project has written itself: pieces of its pages and sources, in an order that mixes them."""
    found = []
    for path in [*sorted((SOURCE / "docs").rglob("*.md")), *sorted((SOURCE / "src").rglob("*.cpp"))]:
        text = path.read_text()
        found += [text[at : at + 1800] for at in range(0, len(text) - 1800, 1800)]
    random.Random(1).shuffle(found)
    return found


@pytest.fixture(scope="module")
def own():
    return seqkv.Model.load(MODEL)


@pytest.fixture(scope="module")
def documents(own):
    encoded = (own.encode(text) for text in texts())
    return [tokens[: CONTEXT + CONTINUATION] for tokens in encoded if len(tokens) >= CONTEXT + CONTINUATION]


def load(**options):
    return transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, **options)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, own, documents):
    """The embedded model's profile by torch, and its file."""
    out = tmp_path_factory.mktemp("learned") / "profile.safetensors"
    seen = []
    model = load()
    profile = seqkv.hf.calibrate(model, None, documents[:140], out, effort=1, fingerprint=own.fingerprint,
                                 progress=lambda done, all: seen.append(all), **SIZES)
    assert seen and model.dtype == torch.float32 and all(p.requires_grad for p in model.parameters())
    return profile, out


def test_the_embedded_model_gets_nearly_the_profile_of_seqkvs_own_runtime(tmp_path, own, documents, learned):
    profiles = {
        "torch": learned[0],
        "own": seqkv.calibrate(own, documents[:140], tmp_path / "own.safetensors", effort=1, **SIZES),
    }
    torch_curve, own_curve = (profiles[name].curve for name in ("torch", "own"))
    assert len(torch_curve) == len(own_curve) == 8
    for (step, bits, kl), (own_step, own_bits, own_kl) in zip(torch_curve, own_curve):
        assert step == own_step
        assert bits == pytest.approx(own_bits, rel=0.02)
        assert kl == pytest.approx(own_kl, rel=0.5), "measured on few tokens"
    # On texts that neither has seen, by the same measure.
    unseen = documents[-12:]
    rows = {name: seqkv.evaluate(own, unseen, [f"linear+ecsq:step={step}" for step in (1, 0.5)], profile=profile, **SIZES)
            for name, profile in profiles.items()}
    for found, wanted in zip(rows["torch"], rows["own"]):
        assert found["bits_per_component"] == pytest.approx(wanted["bits_per_component"], rel=0.02)
        assert found["kl_mean"] == pytest.approx(wanted["kl_mean"], rel=0.3)


def test_a_profile_codes_caches_of_the_model(own, documents, learned):
    model = load()
    profile, out = learned
    assert profile.model == own.fingerprint
    assert [entry.name for entry in out.parent.iterdir()] == ["profile.safetensors"], "samples are removed"
    assert seqkv.Profile.load(out).curve == profile.curve
    tokens = documents[-1]
    with torch.no_grad():
        cache = model(torch.tensor([tokens]), use_cache=True).past_key_values
    layers = [(layer.keys[0].bfloat16(), layer.values[0].bfloat16()) for layer in cache.layers]
    frame = seqkv.compress(tokens, layers, "linear+ecsq:step=1", profile=profile)
    found, restored = seqkv.decompress(frame, profile=profile, framework="torch")
    assert found.tolist() == tokens
    raw = sum(x.nbytes for pair in layers for x in pair)
    assert len(frame) < raw / 12
    for (key, value), (key_back, value_back) in zip(layers, restored):
        assert (key.float() - key_back.float()).norm() < 0.6 * key.float().norm()


FAMILIES = {
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "mistral": ("Mistral", {"sliding_window": 96, "head_dim": 16}),
    "gemma": ("Gemma", {"head_dim": 32, "num_key_value_heads": 1}),
    "llama3": ("Llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0,
                                            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                            "original_max_position_embeddings": 64}}),
    "linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
}  # fmt: skip


def tiny(family, dtype=torch.float32, **changes):
    name, options = FAMILIES[family]
    sizes = {"vocab_size": 4096, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
             "initializer_range": 0.15}  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**{**sizes, **options, **changes})
    torch.manual_seed(7)
    return getattr(transformers, f"{name}ForCausalLM")(config).to(dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_models_of_other_families(tmp_path, documents, family):
    model = tiny(family)
    profile = seqkv.hf.calibrate(model, None, documents[:70], effort=1, **SIZES)
    config = model.config
    assert profile.model == seqkv.hf.fingerprint_of(model)
    assert (profile.shape.layers, profile.shape.kv_heads) == (3, config.num_key_value_heads)
    curve = profile.curve
    assert len(curve) == 8
    for (_, bits, kl), (_, next_bits, next_kl) in zip(curve, curve[1:]):
        assert bits < next_bits
    assert curve[0][2] > curve[-1][2] and curve[-1][2] < 0.01
    assert curve[-1][1] < 6


def test_bfloat16_models_work(documents):
    profile = seqkv.hf.calibrate(tiny("qwen2", torch.bfloat16), None, documents[:70], effort=1, **SIZES)
    assert len(profile.curve) >= 6


def test_texts_and_a_tokenizer(documents):
    class Tokenizer:
        def __call__(self, text):
            return {"input_ids": [1 + ord(c) % 4000 for c in text]}

    profile = seqkv.hf.calibrate(tiny("qwen2"), Tokenizer(), [t[:400] for t in texts()[:70]], effort=1, first_token=0,
                                 **SIZES)
    assert len(profile.curve) >= 6


def test_gradients_are_those_of_seqkvs_own_runtime(own, documents):
    """The same draws, so nearly the same numbers."""
    model = load()
    runner = Runner(model)
    tokens = documents[0]
    runner.start(tokens[:CONTEXT])
    shape = (16, 2, CONTEXT, 64)
    found = np.zeros(shape, np.float32)
    runner.gradient(tokens[CONTEXT:], [0.5] * CONTINUATION, found)
    eps = 1e-2
    # Central differences of the same score along a direction.
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    cache = np.zeros(shape, np.float32)
    runner.read(cache, "float32")
    logits = torch.from_numpy(runner.go_on(tokens[CONTEXT:])).double()
    shares = logits.softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(shares, 0.5 * shares[:, -1:], right=True)

    def score(at):
        logits = torch.from_numpy(runner.go_on_from(at.numpy(), "float32", tokens[CONTEXT:])).double()
        return logits.log_softmax(-1).gather(1, drawn).sum().item()

    exact = torch.from_numpy(cache)
    slope = (score(exact + eps * direction) - score(exact - eps * direction)) / (2 * eps)
    assert (torch.from_numpy(found) * direction).sum().item() == pytest.approx(slope, rel=0.02)


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_too_little_text(tmp_path, documents):
    out = tmp_path / "profile.safetensors"
    with pytest.raises(seqkv.EmptyInput, match="pieces"):
        seqkv.hf.calibrate(tiny("qwen2"), None, documents[:3], out, effort=1, **SIZES)
    with pytest.raises(seqkv.EmptyInput):
        seqkv.hf.calibrate(tiny("qwen2"), None, [], out, **SIZES)
    assert not out.exists()


def test_texts_without_a_tokenizer():
    with pytest.raises(seqkv.InvalidArgument, match="tokenizer"):
        seqkv.hf.calibrate(tiny("qwen2"), None, ["a text"], **SIZES)


def test_tokens_beyond_the_vocabulary(documents):
    with pytest.raises(seqkv.TokenOutOfRange):
        seqkv.hf.calibrate(tiny("qwen2", vocab_size=100), None, documents[:70], effort=1, **SIZES)


def test_more_positions_than_the_model_has(documents):
    with pytest.raises(seqkv.InvalidArgument, match="positions"):
        seqkv.hf.calibrate(tiny("qwen2", max_position_embeddings=128), None, documents[:70], effort=1, **SIZES)


def test_models_whose_keys_turn_otherwise():
    with pytest.raises(seqkv.Unsupported, match="rotary"):
        Runner(transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=64)))
    with pytest.raises(seqkv.Unsupported, match="do not turn as"):
        Runner(tiny("qwen2"), rope=seqkv.Rope(theta=777.0, dim=16))


def test_an_exception_of_the_model_comes_through(tmp_path, documents):
    model = tiny("qwen2")
    runs = []

    def stop(*_):
        runs.append(1)
        if len(runs) > 20:
            raise RuntimeError("the model has had enough")

    model.register_forward_pre_hook(stop)
    work = tmp_path / "work"
    with pytest.raises(RuntimeError, match="had enough"):
        seqkv.hf.calibrate(model, None, documents[:70], tmp_path / "p.safetensors", effort=1, work=work, **SIZES)
    assert not (tmp_path / "p.safetensors").exists()
    assert len(list(work.rglob("*.samples"))) > 3, "a calibration that was stopped goes on there"


def test_a_model_of_no_numbers(documents):
    model = tiny("qwen2")
    with torch.no_grad():
        model.model.layers[1].self_attn.v_proj.weight[3, 3] = float("nan")
    with pytest.raises(seqkv.Error, match="finite"):
        seqkv.hf.calibrate(model, None, documents[:70], effort=1, **SIZES)
