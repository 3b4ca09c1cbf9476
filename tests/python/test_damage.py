# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Frames and stores that somebody damaged: found, and never restored as something else."""

import contextlib
import random
import sqlite3
import struct

import pytest
from inputs import some_sessions, restored_bytes, flip
from support import CORRUPT, IO, read_safetensors, refused, run


def test_flipped_byte_in_frame(frame, cache, box):
    """Wherever it is, it is noticed, and nothing is written."""
    good = frame.read_bytes()
    source = random.Random(5)
    places = {0, 8, 10, 12, 16, 44, len(good) - 1, *range(0, 320, 40), *source.sample(range(len(good)), 60)}
    for at in sorted(places):
        flip(frame, at, source.randrange(8))
        done = refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)
        assert any(word in done.err for word in ("corrupt", "checksum", "truncated", "version")), at
        run("verify", frame, expect=CORRUPT)
        run("inspect", frame, expect=None)
        frame.write_bytes(good)
    run("decompress", frame, box / "kv.safetensors")
    assert read_safetensors(box / "kv.safetensors")[0] == read_safetensors(cache)[0]


def test_truncated_frame(frame, box):
    good = frame.read_bytes()
    source = random.Random(6)
    for size in sorted(
        {0, 1, 8, 10, 100, 191, 192, 300, len(good) - 1, *source.sample(range(len(good)), 30)}
    ):
        frame.write_bytes(good[:size])
        refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)
        run("verify", frame, expect=CORRUPT)
    frame.write_bytes(good + b"\0")
    refused(CORRUPT, "decompress", frame, box / "kv.safetensors", names=[frame], beside=box)


def test_frame_of_a_future_version(frame, box):
    data = bytearray(frame.read_bytes())
    assert struct.unpack_from("<H", data, 8) == (1,)
    struct.pack_into("<H", data, 8, 2)
    frame.write_bytes(data)
    for command in (["decompress", frame, box / "kv.safetensors"], ["verify", frame], ["inspect", frame]):
        refused(CORRUPT, *command, names=[frame, "version 2", "unsupported_version"], beside=box)


def test_what_is_no_frame(cache, box):
    refused(
        CORRUPT, "decompress", cache, box / "kv.safetensors", names=[cache, "not a seqkv frame"], beside=box
    )
    refused(IO, "decompress", box, box / "kv.safetensors", names=[box], beside=box)
    refused(IO, "decompress", "/dev/zero", box / "kv.safetensors", names=["/dev/zero"], beside=box)


def damaged_copies(good, count, seed, places):
    """Copies of a file with one bit flipped, at random ones of `places`."""
    source = random.Random(seed)
    for at in sorted(source.sample(places, min(count, len(places)))):
        bad = bytearray(good)
        bad[at] ^= 1 << source.randrange(8)
        yield at, bytes(bad)


def test_verify_finds_every_damage_of_a_pack(store, tmp_path):
    (pack,) = store.glob("packs/*.pack")
    good = pack.read_bytes()
    for at, bad in damaged_copies(good, 150, 7, range(len(good))):
        pack.write_bytes(bad)
        report = run("verify", "--store", store, "--json", expect=CORRUPT).json
        assert report["ok"] is False and report["problems"], at
        assert any(str(pack) in problem for problem in report["problems"]), (at, report)
    pack.write_bytes(good)
    assert run("verify", "--store", store, "--json").json["ok"] is True


def test_flipped_byte_in_pack(store, tmp_path, box):
    """Sessions that verify calls broken cannot be restored, the others come out as they were."""
    (pack,) = store.glob("packs/*.pack")
    good, sessions = pack.read_bytes(), list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    broken_once = set()
    for at, bad in damaged_copies(good, 25, 8, range(64, len(good))):
        pack.write_bytes(bad)
        broken = run("verify", "--store", store, "--json", expect=CORRUPT).json["broken_sessions"]
        for name in sessions:
            if name in broken:
                refused(
                    CORRUPT,
                    "restore",
                    "--store",
                    store,
                    "--session",
                    name,
                    "--out",
                    box / "kv",
                    names=[pack],
                    beside=box,
                )
            else:
                assert restored_bytes(store, tmp_path, [name])[name] == expected[name], at
        broken_once.update(broken)
    assert broken_once == set(sessions)


def test_pack_missing_or_cut(store):
    (pack,) = store.glob("packs/*.pack")
    good = pack.read_bytes()
    for size in (0, 63, 64, len(good) // 2, len(good) - 1):
        pack.write_bytes(good[:size])
        report = run("verify", "--store", store, "--json", expect=CORRUPT).json
        assert report["problems"], size
    pack.unlink()
    assert run("verify", "--store", store, "--json", expect=CORRUPT).json["broken_sessions"] == sorted(
        some_sessions()
    )


# Every statement changes a value so that a session is no longer restored as it was.
DAMAGED_INDEX = {
    "name": "UPDATE sessions SET name = 'elsewhere' WHERE name = 'alone'",
    "tokens": "UPDATE sessions SET tokens = tokens - 1 WHERE name = 'alone'",
    "block": "UPDATE sessions SET block = (SELECT min(block) FROM sessions) WHERE name = 'session-2'",
    "session codec": "UPDATE sessions SET codec = codec + 1 WHERE name = 'alone'",
    "no codec": "DELETE FROM codecs",
    "codec": "UPDATE codecs SET spec = 'none+turboquant:4'",
    "unknown codec": "UPDATE codecs SET spec = 'nonsense'",
    "identity": "UPDATE blocks SET identity = zeroblob(32) WHERE id = 2",
    "parent": "UPDATE blocks SET parent = NULL WHERE id = 2",
    "absent parent": "UPDATE blocks SET parent = 99 WHERE id = 2",
    "position": "UPDATE blocks SET position = position + 16 WHERE id = 2",
    "block tokens": "UPDATE blocks SET tokens = tokens - 1 WHERE id = 2",
    "pack": "UPDATE blocks SET pack = pack + 1 WHERE id = 2",
    "offset": "UPDATE blocks SET offset = offset + 64 WHERE id = 2",
    "bytes": "UPDATE blocks SET bytes = bytes + 1 WHERE id = 2",
    "no block": "DELETE FROM blocks WHERE id = 2",
    "model": "UPDATE parameters SET value = '5a' || substr(value, 3) WHERE name = 'model'",
    "store id": "UPDATE parameters SET value = '5a' || substr(value, 3) WHERE name = 'id'",
    "version": "UPDATE parameters SET value = '4' WHERE name = 'version'",
    "rotation": "UPDATE parameters SET value = '14' WHERE name = 'rope_dim'",
    "dtype": "UPDATE parameters SET value = 'f16' WHERE name = 'dtype'",
    "heads": "UPDATE parameters SET value = '3' WHERE name = 'kv_heads'",
}


@pytest.mark.parametrize("name", DAMAGED_INDEX)
def test_verify_finds_damage_of_the_index(name, store, tmp_path):
    index, sessions = store / "store.db", list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    with contextlib.closing(sqlite3.connect(index)) as database:
        assert database.execute(DAMAGED_INDEX[name]).rowcount > 0
        database.commit()
    assert restored_bytes(store, tmp_path, sessions) != expected
    run("verify", "--store", store, expect=CORRUPT)


def test_flipped_byte_in_index(store, tmp_path):
    """Wherever verify finds nothing, every session comes out as it was."""
    index, sessions = store / "store.db", list(some_sessions())
    expected = restored_bytes(store, tmp_path, sessions)
    good = index.read_bytes()
    used = [at for at in range(len(good)) if good[at] or good[at - 1]]
    found = 0
    for at, bad in damaged_copies(good, 150, 9, used):
        index.write_bytes(bad)
        if run("verify", "--store", store, expect=None).code != 0:
            found += 1
        else:
            assert restored_bytes(store, tmp_path, sessions) == expected, (
                at,
                good[max(at - 20, 0) : at + 20],
            )
    assert found > 10
    index.write_bytes(b"not a database at all")
    run("verify", "--store", store, expect=CORRUPT)
