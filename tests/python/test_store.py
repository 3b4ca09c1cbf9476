# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors

"""Commands that change stores, keys and tenants, from outside."""


import pytest
from support import BAD_INPUT, CORRUPT, NOT_FOUND, USAGE
from support import read_safetensors, refused, run, write_json_lines

PREAMBLE = list(range(40))
SESSIONS = {"a": PREAMBLE + [50, 51, 52], "b": PREAMBLE + [60] * 30, "c": [7] * 35}


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def batch(small, folder, store, *options, sessions=SESSIONS, **run_options):
    manifest = folder / "sessions.jsonl"
    write_json_lines(manifest, [{"session": name, "tokens": ids} for name, ids in sessions.items()])
    arguments = ["batch", manifest, "--store", store, "--model", small, "--codec", "none+lossless"]
    return run(*arguments, "--block-tokens", 16, "--json", *options, **run_options)


@pytest.fixture
def store(small, tmp_path):
    batch(small, tmp_path, tmp_path / "store")
    return tmp_path / "store"


def names(store, *options):
    return [row["session"] for row in run("ls", "--store", store, "--json", *options).json["rows"]]


def restored(store, session, tmp_path, *options):
    out = tmp_path / "restored.safetensors"
    run("restore", "--store", store, "--session", session, "--out", out, *options)
    return read_safetensors(out)[0]


def pack_bytes(store):
    return sum(path.stat().st_size for path in (store / "packs").iterdir())


def test_rm_and_gc(store, tmp_path):
    before = restored(store, "b", tmp_path)
    size = pack_bytes(store)
    done = run("rm", "--store", store, "--session", "a", "--session", "c", "--json").json
    assert done["removed"] == ["a", "c"] and done["blocks_dropped"] == 4 and done["bytes_dropped"] > 0
    assert names(store) == ["b"] and pack_bytes(store) >= size
    refused(NOT_FOUND, "rm", "--store", store, "--session", "a", names=["session_not_found"])
    refused(NOT_FOUND, "restore", "--store", store, "--session", "a", "--out", tmp_path / "x")
    done = run("gc", "--store", store, "--all", "--json").json
    assert (done["packs_removed"], done["packs_written"]) == (1, 1)
    assert done["bytes_after"] == pack_bytes(store) < size
    assert restored(store, "b", tmp_path) == before
    assert run("verify", "--store", store, "--json").json["ok"]


def test_fork_keep_retain(store, tmp_path):
    whole = restored(store, "b", tmp_path)
    done = run("fork", "--store", store, "--session", "b", "--as", "twig", "--tokens", 50, "--json").json
    assert done == {"session": "twig", "from": "b", "tokens": 50, "codec": "none+lossless"}
    part = restored(store, "twig", tmp_path)  # it ends inside a block
    assert part["input_ids"].shape == (50,) and part["layers.0.key"].shape[1] == 50
    assert whole["input_ids"].data[: 4 * 50] == part["input_ids"].data
    done = run("keep", "--store", store, "--session", "twig", "--until", "2040-01-02", "--pin", "--json").json
    assert done == {"session": "twig", "expires": "2040-01-02T00:00:00Z", "pinned": True}
    done = run("keep", "--store", store, "--session", "twig", "--until", "never", "--unpin", "--used", "--json").json
    assert done["expires"] is None and not done["pinned"]
    run("keep", "--store", store, "--session", "a", "--until", "0s")
    assert run("gc", "--store", store, "--json").json["expired"] == ["a"]
    run("keep", "--store", store, "--session", "b", "--pin")
    done = run("retain", "--store", store, "--bytes", 1, "--policy", "lru", "--json").json
    assert done["evicted"] == ["c"] and names(store) == ["b", "twig"]  # which lies in a block of b
    assert restored(store, "b", tmp_path) == whole


@pytest.mark.parametrize(
    "arguments",
    [
        ["keep", "--session", "a"],
        ["keep", "--session", "a", "--pin", "--unpin"],
        ["keep", "--session", "a", "--until", "tomorrow"],
        ["keep", "--session", "a", "--until", "-5"],
        ["keep", "--session", "a", "--until", "99999999999999999999"],
        ["retain", "--bytes", "0"],
        ["retain", "--policy", "fifo"],
        ["retain", "--half-life", "0"],
        ["gc", "--dead-part", "2"],
        ["gc", "--dead-part", "0.1", "--all"],
        ["fork", "--session", "a", "--as", "x", "--tokens", "0"],
        ["fork", "--session", "a", "--as", "x", "--tokens", "99"],
        ["restore", "--session", "a", "--out", "x", "--first-token", "43"],
        ["restore", "--session", "a", "--out", "x", "--heads", "99"],
    ],
)
def test_usage(arguments, store):
    run(arguments[0], "--store", store, *arguments[1:], expect=USAGE)


def test_parts(store, tmp_path):
    whole = restored(store, "b", tmp_path)
    part = restored(store, "b", tmp_path, "--first-token", 10, "--tokens", 30, "--first-layer", 1)
    assert sorted(part) == ["input_ids", "layers.0.key", "layers.0.value"]
    heads, tokens, width = whole["layers.1.key"].shape
    row = 2 * width
    for kind in ("key", "value"):
        data = whole[f"layers.1.{kind}"].data
        cut = [data[(h * tokens + 10) * row : (h * tokens + 40) * row] for h in range(heads)]
        assert part[f"layers.0.{kind}"].data == b"".join(cut)
    head = restored(store, "b", tmp_path, "--first-head", heads - 1, "--dtype", "f32")
    assert head["layers.0.key"].shape == (1, tokens, width)


def test_repair(store, tmp_path):
    assert run("repair", "--store", store, "--json").json["rows"] == []
    pack = store / "packs" / "00000001.pack"
    data = bytearray(pack.read_bytes())
    data[-40] ^= 1  # in the record of the last session
    at = data.rfind(b"none+lossless", 0, data.rfind(b"SQKR"))
    data[at] ^= 1  # and in that of a block
    pack.write_bytes(data)
    run("verify", "--store", store, expect=CORRUPT)
    done = run("repair", "--store", store, "--json", expect=CORRUPT).json
    assert done["problems"] and len(done["rows"]) == 1 and done["rows"][0]["why"]
    assert run("verify", "--store", store, "--json").json["ok"]
    left = names(store)
    (store / "store.db").unlink()
    refused(NOT_FOUND, "ls", "--store", store)
    done = run("repair", "--store", store, "--rebuild-index", "--json").json
    assert done["sessions"] == len(left) and names(store) == left
    assert run("verify", "--store", store, "--json").json["ok"]


def test_an_index_that_is_missing_is_not_begun_anew(store, small, tmp_path):
    (store / "store.db").unlink()
    done = batch(small, tmp_path, store, expect=CORRUPT)
    assert "--rebuild-index" in done.err and not (store / "store.db").exists()


@pytest.mark.parametrize("protection", ["authentic", "encrypted"])
def test_keys(protection, small, key, tmp_path):
    store = tmp_path / "keyed"
    with_key = ("--key-file", key)
    batch(small, tmp_path, store, *with_key, "--protection", protection)
    assert run("inspect", "--store", store, *with_key, "--json").json["protection"] == protection
    batch(small, tmp_path, store, *with_key)  # takes the store's own
    refused(BAD_INPUT, "ls", "--store", store, names=["wrong_key", protection], beside=store)
    other = tmp_path / "other"
    other.write_bytes(b"x" * 32)
    other.chmod(0o600)
    refused(BAD_INPUT, "ls", "--store", store, "--key-file", other, names=["wrong_key"], beside=store)
    other.chmod(0o640)
    refused(BAD_INPUT, "ls", "--store", store, "--key-file", other, names=["chmod 600"], beside=store)
    plain = tmp_path / "plain"
    batch(small, tmp_path, plain)
    refused(BAD_INPUT, "ls", "--store", plain, *with_key, names=["wrong_key"], beside=plain)
    for session in SESSIONS:
        assert restored(store, session, tmp_path, *with_key) == restored(plain, session, tmp_path)
    run("rm", "--store", store, *with_key, "--session", "a")
    run("gc", "--store", store, *with_key, "--all")
    run("repair", "--store", store, *with_key, "--rebuild-index")
    assert names(store, *with_key) == ["b", "c"]


def test_tenants(store, small, tmp_path):
    salt = tmp_path / "salt"
    salt.write_text("tenant two")
    batch(small, tmp_path, store, "--salt-file", salt, sessions={"a": SESSIONS["b"]})
    assert names(store) == ["a", "b", "c"] and names(store, "--salt-file", salt) == ["a"]
    rows = run("ls", "--store", store, "--salt-file", salt, "--json").json["rows"]
    assert rows[0]["own_bytes"] == rows[0]["bytes"]  # nothing is shared
    run("rm", "--store", store, "--salt-file", salt, "--session", "a")
    assert names(store) == ["a", "b", "c"]
    assert names(store, "--immutable") == ["a", "b", "c"]
