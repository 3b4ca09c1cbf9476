# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What the program says of itself, and of options that it does not know."""

import pytest
from inputs import batch_command
from support import USAGE, refused, run, unchanged

COMMANDS = {
    "info": "",
    "tokenize": "--model --text --tokens --out --decode --template",
    "prefill": "--model --text --tokens --index --max-tokens --out --dtype --logits --chunk",
    "compare": "reference other --tolerance",
    "compress": "in out --codec --model --block-tokens --memory",
    "decompress": "in out --dtype --memory",
    "evaluate": "--model --text --codec --context --continue --docs --dtype",
    "calibrate": "--model --text --out --effort --docs --context --continue --work --dtype",
    "batch": "manifest --store --key-file --salt-file --protection --model --codec --dtype --block-tokens --prefix "
    "--measure --restart",
    "restore": "--store --key-file --salt-file --immutable --session --out --dtype --memory --first-token --tokens "
    "--first-layer --layers --first-head --heads",
    "ls": "--store --key-file --salt-file --immutable",
    "inspect": "frame --store --session --key-file --salt-file --immutable",
    "verify": "frame --store --key-file --salt-file --immutable",
    "rm": "--store --key-file --salt-file --session",
    "fork": "--store --key-file --salt-file --session --as --tokens",
    "keep": "--store --key-file --salt-file --session --until --pin --unpin --used",
    "retain": "--store --key-file --salt-file --bytes --sessions --policy --half-life",
    "gc": "--store --key-file --salt-file --dead-part --all",
    "repair": "--store --key-file --salt-file --rebuild-index",
    "trie": "build remove match stats probability distance",
    "encode-tokens": "--trie --tokens --out --block --vocabulary --static",
    "decode-tokens": "--trie in --out",
}


def test_help():
    done = run("--help")
    assert done.err == "" and all(f"\n  {command} " in done.out for command in COMMANDS), done
    assert run("--version").out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_command(command):
    done = run(command, "--help")
    assert done.err == ""
    words = done.out.split()
    missing = [name for name in COMMANDS[command].split() if name not in words]
    assert not missing, f"{missing} not in\n{done}"
    assert "Example" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["--frobnicate", "info"],
        ["info", "--frobnicate"],
        ["info", "more"],
        ["--threads", "0", "info"],
        ["--threads", "many", "info"],
        ["ls"],
        ["ls", "--store"],
        ["verify"],
        ["inspect"],
        ["restore", "--store", "s"],
        ["verify", "a.sqkv", "--store", "s"],
        ["inspect", "a.sqkv", "--session", "x"],
        ["compress", "a"],
        ["compress", "a", "b"],
        ["compress", "a", "b", "--codec", "raw", "--block-tokens", "15"],
        ["compress", "a", "b", "--codec", "raw", "--block-tokens", "4097"],
        ["decompress", "a", "b", "--dtype", "f64"],
        ["decompress", "a", "b", "--memory", "0"],
        ["decompress", "a", "b", "--memory", "-1"],
        ["decompress", "a", "b", "--memory", "much"],
        ["decompress", "a", "b", "--memory", "99999999T"],
        ["restore", "--store", "s", "--session", "x", "--out", "o", "--memory", "1X"],
        ["prefill", "--model", "m", "--out", "o"],
        ["prefill", "--model", "m", "--out", "o", "--text", "t", "--tokens", "t"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--chunk", "0"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--max-tokens", "-1"],
        ["prefill", "--model", "m", "--tokens", "t", "--out", "o", "--logits", "x"],
        ["batch", "m.jsonl", "--store", "s", "--model", "m"],
        ["batch", "m.jsonl", "--store", "s", "--model", "m", "--codec", "raw", "--prefix", "guess"],
        ["evaluate", "--model", "m", "--text", "t", "--context", "1"],
    ],
    ids=" ".join,
)
def test_usage(arguments, box):
    with unchanged(box):
        done = run(*arguments, expect=USAGE, cwd=box)
    assert done.out == "" and done.err, done


@pytest.mark.parametrize(
    "codec",
    [
        "",
        "frob",
        "none",
        "none+",
        "+raw",
        "lossless+none",
        "none+lossless+raw",
        "none+turboquant",
        "none+turboquant:0",
        "none+turboquant:6",
        "none+turboquant:4,",
        "none+turboquant:4,keys=rotated",
        "none+turboquant:4x",
        "raw ",
        "RAW",
        "none+raw:1",
        "x" * 10_000,
    ],
)
def test_unknown_codec(codec, cache, manifest, small, box):
    names = [f"'{codec[:60]}", "none+lossless", "invalid_codec_spec"]
    refused(USAGE, "compress", cache, box / "o.sqkv", "--codec", codec, names=names, beside=box)
    refused(USAGE, *batch_command(manifest, box / "store", small, codec), names=names, beside=box)


def test_usage_that_needs_the_input(tokens, small, model, box):
    prefill = ["prefill", "--model", small, "--tokens", tokens, "--out", box / "kv.safetensors"]
    refused(USAGE, *prefill, "--logits", 51, names=["--logits 51", "50"], beside=box)
    refused(USAGE, *prefill, "--index", 1, names=["--index 1", tokens], beside=box)
    refused(USAGE, "tokenize", "--model", model, "--out", box / "t.npy", names=["--text"], beside=box)
    refused(
        USAGE,
        "tokenize",
        "--model",
        model,
        "--decode",
        "--out",
        box / "t.jsonl",
        names=["--tokens"],
        beside=box,
    )
