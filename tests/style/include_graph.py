#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Who may include whom (DESIGN 2): cli -> store, calibrate -> evaluate -> replay -> codec, trie, model -> io -> core.

Prints every include that goes the other way and exits with 1 if there is one.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The areas that the files of an area may include, beside their own.
MAY_INCLUDE = {
    "core": set(),
    "io": {"core"},
    "model": {"io", "core"},
    "trie": {"io", "core"},
    "codec": {"trie", "io", "core"},
    "replay": {"codec", "trie", "model", "io", "core"},
    "evaluate": {"replay", "codec", "trie", "model", "io", "core"},
    "calibrate": {"evaluate", "replay", "codec", "trie", "model", "io", "core"},
    "store": {"replay", "codec", "trie", "model", "io", "core"},
    "mpi": {"store", "replay", "codec", "trie", "model", "io", "core"},
    "capi": {"store", "replay", "codec", "trie", "model", "io", "core"},
}
# Where the public headers belong.
PUBLIC = {
    "core": "cores dtype error hash inline kv limits result rounding version",
    "io": "kv_file safetensors text_file token_file",
    "model": "backends cache_gradient forward model model_config quality surprisal tokenizer",
    "trie": "device_trie retention span_index token_coder trie trie_distance trie_match trie_view",
    "codec": "codec frame profile transfer",
    "replay": "replay",
    "evaluate": "advise evaluate",
    "calibrate": "calibrate calibration_model",
    "store": "batch manifest session store",
    "mpi": "mpi mpi_batch mpi_placement mpi_trie mpi_view",
}
AREA_OF_HEADER = {name: area for area, names in PUBLIC.items() for name in names.split()}
# What a kernel knows of its caller: the arguments, and the layout it writes.
CONTRACTS = {
    "model/kernels.hpp",
    "model/rounded.hpp",
    "codec/entropy/bit_planes.hpp",
    "codec/entropy/rans.hpp",
    "codec/entropy/symbols.hpp",
    "codec/lossless/layout.hpp",
    "codec/predict/arguments.hpp",
    "codec/predict/ecsq_arguments.hpp",
    "codec/predict/ecsq_steps.hpp",
    "codec/predict/lossless_arguments.hpp",
    "codec/predict/lossless_steps.hpp",
    "codec/predict/lossless_units.hpp",
    "codec/predict/steps.hpp",
    "codec/quantize/quantizer.hpp",
    "codec/subblock.hpp",
    "codec/transform/rotation.hpp",
    "codec/transform/transform.hpp",
    "codec/turboquant/arguments.hpp",
    "replay/frequencies.hpp",
    "trie/image.hpp",
    "trie/window_key.hpp",
    "seqkv/trie_view.hpp",
}

VENDOR = re.compile(r"(immintrin|x86intrin|arm_neon|cuda\w*|cub/.*|hip/.*)(\.h|\.hpp|\.cuh)?$")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.MULTILINE)


def area_of(path):
    """The area of a project file, given as it is included or as a path inside the source tree."""
    parts = pathlib.PurePosixPath(path).parts
    if parts[:2] == ("include", "seqkv") or parts[0] == "seqkv":
        return "all" if parts[-1] == "seqkv.hpp" else AREA_OF_HEADER.get(parts[-1].removesuffix(".hpp"))
    if parts[0] == "src":
        parts = parts[1:]
    return parts[0] if parts[0] in {*MAY_INCLUDE, "cli", "backends"} else None


def allowed(file, include):
    area, target = area_of(file), area_of(include)
    if VENDOR.match(include):
        return bool(re.match(r"backends/(cpu|cuda|hip)/", file))
    if include == "mpi.h":
        return file.startswith("mpi/")
    if target is None or area == "all" or target == area:
        return True
    if area == "cli":  # the public interface only
        return include.startswith("seqkv/") or include == "mpi/program.hpp"
    if area == "backends":
        return target == "core" or include in CONTRACTS or include == "seqkv/backends.hpp"
    return target in MAY_INCLUDE[area] or (target == "backends" and area in ("model", "codec", "trie", "replay", "calibrate"))


def main():
    bad = seen = 0
    for folder in ("include", "src", "mpi", "backends"):
        for path in sorted((ROOT / folder).rglob("*.[ch]pp")):
            file = path.relative_to(ROOT).as_posix()
            if area_of(file) is None:
                print(f"{file}: not in an area; name it in {pathlib.Path(__file__).name}")
                bad += 1
            text = path.read_text()
            if path.suffix == ".hpp" and text.count("#pragma once") != 1:
                print(f"{file}: #pragma once is not there once")
                bad += 1
            for include in INCLUDE.findall(text):
                seen += 1
                if not allowed(file, include):
                    print(f"{file}: must not include {include}")
                    bad += 1
    print(f"{seen} includes, {bad} against DESIGN 2")
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
