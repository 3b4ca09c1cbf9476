# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""`python -m seqkv ...`: the program `seqkv` of this installation."""

import os
import pathlib
import sys


def main() -> None:
    here = pathlib.Path(__file__).parent
    places = [here / "bin" / "seqkv", here.parents[1] / "bin" / "seqkv"]  # in a wheel, in a build tree
    for program in places:
        if program.exists():
            os.execv(program, ["seqkv", *sys.argv[1:]])
    sys.exit(f"seqkv: the program is not in this installation ({places[0]})")


if __name__ == "__main__":
    main()
