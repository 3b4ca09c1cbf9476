#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Codes a KV file by a published codec, decodes it, and writes what is restored.

    python bench/baselines/recode.py CODEC IN.safetensors OUT.safetensors [--calibration FILE.npz]

CODEC is NAME[:ARGUMENT][,SETTING=VALUE]...: kivi:2, kivi:4, cachegen, cachegen:profile, kvtc:16, aqua:2, aqua:3;
README.md lists the settings. Prints one line of JSON; `bytes` is the length of the byte string that was decoded again:
payload, scales, tables, tokens kept in 16 bits, ids and shape. Needs numpy.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time

import numpy as np

import aqua
import cachegen
import kivi
import kvfile
import kvtc

CODECS = {module.Codec.name: module.Codec for module in (kivi, cachegen, kvtc, aqua)}


def make_codec(text, calibration=None):
    """The codec that a string names. Settings are of their defaults' type."""
    head, *rest = text.split(",")
    name, _, argument = head.partition(":")
    if name not in CODECS:
        raise ValueError(f"unknown codec '{name}' (known: {', '.join(CODECS)})")
    settings = dict(CODECS[name].defaults)
    for item in rest:
        key, _, value = item.partition("=")
        if key not in settings:
            raise ValueError(f"{name} has no setting '{key}' (settings: {', '.join(settings)})")
        settings[key] = type(settings[key])(value)
    codec = CODECS[name](argument or None, settings, calibration)
    codec.settings = settings
    return codec


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codec")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--calibration", help="file that calibrate.py made for the model")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    calibration = np.load(arguments.calibration) if arguments.calibration else None
    cache, _ = kvfile.read(arguments.input)
    codec = make_codec(arguments.codec, calibration)
    started = time.perf_counter()
    data = codec.encode(cache)
    encoded = time.perf_counter()
    restored = codec.decode(data)
    decoded = time.perf_counter()
    kvfile.write_like(arguments.input, arguments.output, restored)
    key_error, value_error = kvfile.relative_errors(cache, kvfile.read(arguments.output)[0])
    report = dict(codec=arguments.codec, bytes=len(data), settings=codec.settings)
    report |= dict(bits_per_component=round(8 * len(data) / cache.kv.size, 4))
    report |= dict(key_error=float(f"{key_error:.4g}"), value_error=float(f"{value_error:.4g}"))
    report |= dict(encode_s=round(encoded - started, 3), decode_s=round(decoded - encoded, 3))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
