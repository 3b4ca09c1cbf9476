# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""References as a user of the program meets them: documents behind several preambles in a store. Needs nothing but the
standard library (and pytest); what decodes by the specification alone needs numpy."""

import json
import struct
from types import SimpleNamespace

import pytest
from support import CORRUPT, SOURCE, USAGE, read_safetensors, refused, run, ways

CODEC = "linear+ref+ecsq:step=1"
MODEL = SOURCE / "models" / "docs-7m"


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """With what references need, from little text."""
    folder = tmp_path_factory.mktemp("profile")
    text = folder / "text.jsonl"
    pages = sorted((SOURCE / "docs").glob("*.md"))
    text.write_text("".join(json.dumps({"text": page.read_text()}) + "\n" for page in pages))
    path = folder / "profile.safetensors"
    run("calibrate", "--model", MODEL, "--text", text, "--out", path, "--effort", 1, "--context", 128, "--continue", 16,
        "--layers-below", 1, "--token-width", 16, "--references")
    assert any(".reference." in name for name in read_safetensors(path)[0])
    return path


def text_of(name, count):
    return (SOURCE / "docs" / name).read_text(encoding="utf-8")[:count]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Two documents behind three preambles, and one that stands twice in its session."""
    path = tmp_path_factory.mktemp("manifest") / "sessions.jsonl"
    lines = []
    for p, preamble in enumerate(("format.md", "store.md", "replay.md")):
        for d, document in enumerate(("codec.md", "calibrate.md")):
            lines.append({"session": f"{p}{d}", "text": text_of(preamble, 350 + 90 * p) + text_of(document, 1100)})
    lines.append({"session": "twice", "text": 2 * (text_of("trie.md", 800) + " Again, and from the beginning:\n")})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def batch(manifest, store, profile, codec=CODEC, *more):
    options = ["--store", store, "--model", MODEL, "--profile", profile, "--block-tokens", 64, *more]
    return run("batch", manifest, *options, "--codec", codec, "--json")


@pytest.fixture(scope="module")
def stored(manifest, profile, tmp_path_factory):
    """The store, and what batch said."""
    folder = tmp_path_factory.mktemp("stored") / "store"
    return folder, batch(manifest, folder, profile, CODEC, "--measure", 32).json


def referring_session(store):
    """The first whose blocks are predicted from another session's."""
    for row in run("ls", "--store", store, "--json").json["rows"]:
        session = run("inspect", "--store", store, "--session", row["session"], "--json").json
        if row["session"] != "twice" and session["reference_blocks"] > 0:
            return session
    raise AssertionError("no session refers to another")


def test_bytes_are_split(stored, manifest, profile, tmp_path):
    store, report = stored
    split = report["bytes"]
    rows = report["rows"]
    assert split["sessions"] == sum(row["bytes"] for row in rows)
    assert split["sessions"] == split["exact_prefix"] + split["reference"] + split["fresh"]
    assert split["reference"] + split["fresh"] == sum(row["new_bytes"] for row in rows)
    assert split["exact_prefix"] > 0 and split["reference"] > 0 and split["fresh"] > 0
    linear = batch(manifest, tmp_path / "linear", profile, "linear+ecsq:step=1", "--measure", 32).json
    assert linear["bytes"]["reference"] == 0
    assert split["reference"] + split["fresh"] < 0.75 * linear["bytes"]["fresh"]
    assert report["kl_mean"] < 1.5 * linear["kl_mean"] + 0.01
    again = batch(manifest, store, profile).json
    assert again["bytes"]["exact_prefix"] == again["bytes"]["sessions"] == split["sessions"]
    run("verify", "--store", store)


def test_inspect_tells_what_a_restore_takes(stored):
    store, _ = stored
    session = referring_session(store)
    assert session["reference_bytes"] > 0
    for row in session["rows"]:
        assert row["reference_tokens"] == sum(piece["count"] for piece in row["references"])
        assert (row["restore_bytes"] > row["bytes"]) == (row["reference_blocks"] > 0)
        assert row["reference_blocks"] == len({piece["hash"] for piece in row["references"]})
    assert any(row["reference_blocks"] for row in session["rows"])
    twice = run("inspect", "--store", store, "--session", "twice", "--json").json
    assert any(row["reference_blocks"] for row in twice["rows"]), "within the session"
    assert "reference_tokens" in run("inspect", "--store", store, "--session", "twice").out


def test_restored_in_parts_as_a_whole(stored, tmp_path):
    store, _ = stored
    session = referring_session(store)["session"]
    whole, part, back = (tmp_path / name for name in ("whole.safetensors", "part.safetensors", "back.safetensors"))
    run("restore", "--store", store, "--session", session, "--out", whole)
    seen = set()
    for threads, memory, kind in ways():
        run("restore", "--store", store, "--session", session, "--out", back, "--threads", threads, "--memory", memory,
            environment={"SEQKV_CPU": kind})
        seen.add(back.read_bytes())
    assert seen == {whole.read_bytes()}
    run("restore", "--store", store, "--session", session, "--out", part, "--first-token", 150, "--tokens", 40)
    all_tensors, _ = read_safetensors(whole)
    some, _ = read_safetensors(part)
    for name, tensor in some.items():
        if not name.startswith("layers."):
            continue
        _, (heads, tokens, dim), data = all_tensors[name]
        row = 2 * dim
        for h in range(heads):
            begin = (h * tokens + 150) * row
            assert tensor[2][h * 40 * row : (h + 1) * 40 * row] == data[begin : begin + 40 * row]


def test_removing_keeps_what_is_needed(manifest, profile, tmp_path):
    store, before, after = tmp_path / "store", tmp_path / "before.safetensors", tmp_path / "after.safetensors"
    batch(manifest, store, profile)
    session = referring_session(store)["session"]
    run("restore", "--store", store, "--session", session, "--out", before)
    others = [row["session"] for row in run("ls", "--store", store, "--json").json["rows"] if row["session"] != session]
    for name in others:
        run("rm", "--store", store, "--session", name)
    run("gc", "--store", store, "--all")
    run("repair", "--store", store, "--rebuild-index")
    run("verify", "--store", store)
    run("restore", "--store", store, "--session", session, "--out", after)
    assert before.read_bytes() == after.read_bytes()
    run("rm", "--store", store, "--session", session)
    assert run("inspect", "--store", store, "--json").json["blocks"] == 0


def test_bare_reuse_says_what_it_does(manifest, profile, tmp_path):
    done = batch(manifest, tmp_path / "store", profile, "ref:recode=32+ecsq:step=1")
    assert done.json["kl_mean"] > 0 and all(row["kl_mean"] is not None for row in done.json["rows"])
    assert "bounds the error" in done.err
    refused(USAGE, "batch", manifest, "--store", tmp_path / "none", "--model", MODEL, "--codec", "ref:recode=x+ecsq:step=1",
            names=["ref:recode"], beside=tmp_path / "nothing")


def test_a_profile_without_references_falls_back(manifest, tmp_path):
    shipped = MODEL / "profile.safetensors"
    if any(".reference." in name for name in read_safetensors(shipped)[0]):
        pytest.skip("the shipped profile has references")
    done = batch(manifest, tmp_path / "store", shipped)
    assert "codes as linear" in done.err
    assert done.json["bytes"]["reference"] == 0


def test_tenants_share_nothing(manifest, profile, tmp_path):
    store, salts = tmp_path / "store", [tmp_path / "one", tmp_path / "two"]
    reports = []
    for salt in salts:
        salt.write_text(salt.name)
        reports.append(batch(manifest, store, profile, CODEC, "--salt-file", salt).json)
    assert reports[0]["bytes"] == reports[1]["bytes"]


# ---- by the specification alone ------------------------------------------------------------------------------


def read_pack(data):
    """docs/store.md: heads and bodies of block records, by identity, and sessions by name."""
    assert data[:8] == b"\x89SQKP\r\n\x1a" and struct.unpack_from("<I", data, 8)[0] == 3
    blocks, sessions, at = {}, {}, 64
    while at < len(data):
        magic, kind, size, body = struct.unpack_from("<4sIQQ", data, at)
        assert magic == b"SQKR"
        payload = data[at + 32 : at + 32 + size]
        start = at + -(-(32 + size) // 64) * 64
        if kind == 1:
            head = SimpleNamespace(parent=payload[32:64], body=data[start : start + body])
            head.position, head.tokens, length = struct.unpack_from("<QII", payload, 96)
            head.codec = payload[112 : 112 + length].decode()
            (count,) = struct.unpack_from("<I", payload, 112 + length)
            head.sources = [payload[116 + length + 32 * i :][:32] for i in range(count)]
            assert len(payload) == 116 + length + 32 * count
            blocks[payload[:32]] = head
        elif kind == 2:
            length = struct.unpack_from("<I", payload, 164)[0]
            name = payload[172 + length :].decode()
            sessions[name] = payload[72:104]
        at = start + -(-body // 64) * 64
    return blocks, sessions


@pytest.mark.parametrize("which", ["other", "own"])
def test_blocks_decode_by_the_specification_alone(which, stored, profile, tmp_path):
    np = pytest.importorskip("numpy")
    import ecsq_decoder
    import frame_decoder

    store, _ = stored
    session = "twice" if which == "own" else referring_session(store)["session"]
    (pack,) = (store / "packs").iterdir()
    blocks, sessions = read_pack(pack.read_bytes())
    chain, identity = [], sessions[session]
    while identity in blocks:
        chain.insert(0, identity)
        identity = blocks[identity].parent
    back, raw = tmp_path / "back.safetensors", tmp_path / "raw.sqkv"
    run("restore", "--store", store, "--session", session, "--out", back)
    run("compress", back, raw, "--codec", "raw", "--block-tokens", 64)
    header, _, values = frame_decoder.decode_frame(raw.read_bytes())
    header.codec = CODEC
    decoder = ecsq_decoder.Decoder(header, *read_safetensors(profile))
    identity = next(identity for identity in chain if blocks[identity].sources)  # one is slow enough
    others = {}
    for source in blocks[identity].sources:
        block = frame_decoder.read_block(header, blocks[source].body)
        assert not block.references, "one step and no more"
        others[block.hash] = (block, decoder.block(block))
    block = frame_decoder.read_block(header, blocks[identity].body)
    assert {piece.hash for piece in block.references} == set(others)
    for number, decoded in enumerate(decoder.block(block, others)):
        restored = values[number // 2][number % 2][:, block.position : block.position + block.tokens]
        assert np.array_equal(decoded, restored), number


def test_what_is_missing_is_named(manifest, profile, tmp_path):
    """Bytes of a source that change: the sessions predicted from it say so."""
    store, box = tmp_path / "store", tmp_path / "box"
    box.mkdir()
    batch(manifest, store, profile)
    (pack,) = (store / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    blocks, _ = read_pack(bytes(data))
    hashes = {piece["hash"] for row in referring_session(store)["rows"] for piece in row["references"]}
    source = next(b for b in blocks.values() if f"{struct.unpack_from('<Q', b.body)[0]:016x}" in hashes)
    at = bytes(data).index(source.body) + len(source.body) - 20
    data[at] ^= 1
    pack.write_bytes(data)
    broken = run("verify", "--store", store, "--json", expect=CORRUPT).json["broken_sessions"]
    assert len(broken) >= 2
    named = 0
    for name in broken:
        done = refused(CORRUPT, "restore", "--store", store, "--session", name, "--out", box / "kv.safetensors",
                       names=["block"], beside=box)
        named += "predicted from" in done.err
    assert named > 0
    run("repair", "--store", store, expect=CORRUPT)
    run("verify", "--store", store)
