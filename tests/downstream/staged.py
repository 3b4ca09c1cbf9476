#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""What a packager meets: `DESTDIR=... cmake --install` with prefix /usr puts everything, and nothing else, below it; no path of the
build is left in it; the program runs from there.

    staged.py BUILD-FOLDER
"""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        stage = pathlib.Path(folder)
        subprocess.run(["cmake", "--install", build, "--prefix", "/usr"], env={**os.environ, "DESTDIR": folder}, check=True,
                       capture_output=True)
        files = {path.relative_to(stage): path for path in stage.rglob("*") if path.is_file()}
        problems = []
        for name, path in files.items():
            if name.parts[0] != "usr" or name.parts[1] not in ("bin", "include", "lib", "lib64", "share"):
                problems.append(f"{name}: not a place of a package")
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode not in (0o644, 0o755):
                problems.append(f"{name}: mode {mode:o}")
            content = path.read_bytes()
            for root in (str(SOURCE), str(build), folder):
                if root.encode() in content and name.suffix != ".a" and not in_kokkos_path(content, root):
                    problems.append(f"{name}: names {root}")
        installed = {path.name for path in files if path.parent == pathlib.Path("usr/include/seqkv")}
        for header in (SOURCE / "include" / "seqkv").iterdir():
            if header.name not in installed:
                problems.append(f"{header.name}: not installed")
        program = stage / "usr/bin/seqkv"
        model = stage / "usr/share/seqkv/models/docs-7m"
        for words in (["info"], ["prefill", "--model", model, "--text", SOURCE / "LICENSE", "--max-tokens", "40", "--out", stage / "kv"]):
            done = subprocess.run([program, "--quiet", *words], capture_output=True, text=True)
            if done.returncode != 0:
                problems.append(f"seqkv {words[0]}: exit code {done.returncode}: {done.stderr}")
    print("\n".join(problems) or f"{len(files)} files, all in their places")
    sys.exit(1 if problems else 0)


def in_kokkos_path(content, root):
    """The package names the Kokkos of the build, which scripts/get-kokkos may have put into the source folder."""
    lines = [line for line in content.splitlines() if root.encode() in line]
    return all(b"Kokkos_DIR" in line or b"Kokkos_ROOT" in line or b"-lkokkoscore" in line for line in lines)


if __name__ == "__main__":
    main()
