# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What the Python tests have in common, by the standard library alone: the program, safetensors files."""

import collections
import contextlib
import functools
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("SEQKV_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
CLI = pathlib.Path(os.environ.get("SEQKV_CLI") or SOURCE / "build" / "release" / "bin" / "seqkv")
SHARED = pathlib.Path(os.environ.get("SEQKV_SHARED") or SOURCE.parent / "shared")
MODEL = SOURCE / "models" / "docs-7m"

# More cores than this gain nothing on inputs this small, and tests may run beside each other.
ENVIRONMENT = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive", "OMP_PROC_BIND": "false", **os.environ}

# The exit codes of the program (its --help lists them).
DONE, USAGE, BAD_INPUT, NOT_FOUND, CORRUPT, IO, RESOURCES, INTERRUPTED = 0, 2, 3, 4, 5, 6, 7, 8


class Run:
    """A finished run of the program."""

    def __init__(self, arguments, code, out, err):
        self.arguments = [str(argument) for argument in arguments]
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        """The result, where --json was given: stdout is one object and nothing else."""
        result = json.loads(self.out)
        assert isinstance(result, dict), self.out
        return result

    def __str__(self):
        return (
            f"seqkv {' '.join(self.arguments)}\nexit code {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        )


def run(*arguments, expect=DONE, timeout=170, environment=None, **options):
    """Runs `seqkv arguments...` and insists on the exit code `expect` (None: on any that is no crash)."""
    command = [CLI, *[os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments]]
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**ENVIRONMENT, **(environment or {})},
        **options,
    )
    # A damaged index has names that are no UTF-8.
    out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
    result = Run(arguments, done.returncode, out, err)
    if expect is None:
        assert 0 <= result.code <= INTERRUPTED, result
    else:
        assert result.code == expect, result
    return result


# A process begins with the peak of the one that started it: this one is small.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@functools.cache
def kernels():
    """The kinds of CPU kernels that this machine has, for SEQKV_CPU, best first. Those it lacks are the portable ones."""
    best = run("info", "--json").json["cpu_kernels"]
    kinds = ["avx512", "avx2", "portable"]
    return kinds[kinds.index(best) :]


def ways():
    """Threads, memory and kernels, which must make no difference."""
    return zip((3, 2, 1), ("1", "1G", "1"), itertools.cycle(kernels()))


def most_memory(*arguments):
    """Of a run: the largest resident set, in bytes."""
    command = [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in (CLI, *arguments)]
    measure = [sys.executable, "-c", MEASURE, *command]
    done = subprocess.run(measure, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 0, command
    return int(done.stdout) * 1024


def refused(code, *arguments, names=(), beside=None, **options):
    """Runs the program on something it has to refuse: with this exit code, nothing on stdout, and one line on
    stderr that has all of `names` in it. `beside` is a folder in which nothing may appear or change."""
    with contextlib.nullcontext() if beside is None else unchanged(beside):
        result = run(*arguments, "--quiet", expect=code, **options)
    assert result.out == "", result
    assert result.err.startswith("seqkv: ") and result.err.count("\n") == 1, result
    for name in names:
        assert str(name) in result.err, f"{name!r} is not named\n{result}"
    return result


def contents(folder):
    """Everything in a folder: path -> bytes (None for a folder)."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in sorted(pathlib.Path(folder).rglob("*"))
    }


@contextlib.contextmanager
def unchanged(folder):
    before = contents(folder)
    yield
    after = contents(folder)
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert after == before, "a file has changed"


Tensor = collections.namedtuple("Tensor", ["dtype", "shape", "data"])


def safetensors_bytes(tensors, metadata=None):
    """A file of {name: Tensor}, in the order of the dictionary."""
    header = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    return raw_safetensors(header, b"".join(bytes(tensor.data) for tensor in tensors.values()))


def raw_safetensors(header, buffer, header_bytes=None):
    """Any header before any buffer, with a length of the header that may be a lie."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if header_bytes is None else header_bytes) + text + buffer


def read_safetensors(path):
    """{name: Tensor} and the metadata."""
    data = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    buffer = data[8 + size :]
    return {
        name: Tensor(entry["dtype"], tuple(entry["shape"]), buffer[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }, metadata


def tokens_tensor(tokens):
    return Tensor("I32", (len(tokens),), struct.pack(f"<{len(tokens)}i", *tokens))


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


def write_json_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path
