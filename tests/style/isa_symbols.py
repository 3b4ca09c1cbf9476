# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Objects that are built for one instruction set leave no function behind that others could be linked to: the linker keeps one
copy of an inline function, and an older CPU would run the instructions of a newer one. Arguments: object files."""

import re
import subprocess
import sys

WEAK = re.compile(r"^\S+ [WwVvu] (.*)$", re.MULTILINE)

objects = [path for path in sys.argv[1:] if re.search(r"/backends/cpu/avx\w*\.cpp\.o$", path)]
bad = 0
for path in objects:
    symbols = subprocess.run(["nm", "-C", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    for symbol in WEAK.findall(symbols):
        if "seqkv::cpu::avx" not in symbol:
            print(f"{path}: {symbol}")
            bad += 1
print(f"{len(objects)} objects, {bad} functions that are not theirs alone")
sys.exit(1 if bad else 0)
