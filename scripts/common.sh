# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# What the scripts share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

system_python=/usr/bin/python3
[ -x $system_python ] || system_python=python3

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# What the build needs, as "probe Debian-package". A probe is a command, a pkg-config module, a
# header or a module of the system's Python.
build_needs=(
  "command:cmake cmake" "command:ninja ninja-build" "command:c++ g++" "command:pkg-config pkg-config"
  "command:patch patch" "command:python3 python3" "module:libzstd libzstd-dev"
  "module:libpcre2-8 libpcre2-dev" "module:libutf8proc libutf8proc-dev" "module:libxxhash libxxhash-dev"
  "module:sqlite3 libsqlite3-dev" "module:libcrypto libssl-dev" "module:liblzma liblzma-dev" "module:fmt libfmt-dev"
  "header:nlohmann/json.hpp nlohmann-json3-dev" "header:CLI/CLI.hpp libcli11-dev"
  "header:eigen3/Eigen/Core libeigen3-dev"
)
# What it can do without.
build_wishes=("header:oneapi/tbb/version.h libtbb-dev")
mpi_needs=("command:mpicxx libopenmpi-dev" "command:mpirun openmpi-bin")
# Of the Python module, beside nanobind and scikit-build-core from PyPI.
python_needs=("module:python3 python3-dev")
test_needs=("header:gtest/gtest.h libgtest-dev")
# Of the system's Python, unless SEQKV_TEST_PYTHON names another one.
python_test_needs=("python:pytest python3-pytest" "python:numpy python3-numpy")
bench_needs=(
  "header:benchmark/benchmark.h libbenchmark-dev" "header:htscodecs/rANS_static4x16.h libhtscodecs-dev"
  "header:lz4.h liblz4-dev" "header:blosc.h libblosc-dev"
)

has() {
  case $1 in
    command:*) command -v "${1#*:}" >/dev/null ;;
    python:*) "$system_python" -c "import ${1#*:}" 2>/dev/null ;;
    module:*) pkg-config --exists "${1#*:}" 2>/dev/null ;;
    header:*) printf '#include <%s>\n' "${1#*:}" | c++ -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ;;
  esac
}

# The Debian packages of the given needs that this machine lacks, one a line.
missing_packages() {
  local need
  for need in "$@"; do
    has "${need% *}" || printf '%s\n' "${need#* }"
  done | sort -u
}

# Installs what is missing where that is possible (root on Debian or a relative), else says what it is.
provide() {
  local missing
  # Later probes compile and ask pkg-config: the tools come first.
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null || [ -n "${SEQKV_NO_INSTALL:-}" ]; then
    die "these Debian packages (or their equals) are missing: ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" >/dev/null
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]}"
}

# The same for what is worth having and can be done without.
wish_for() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return
  (provide "$@") || say "going on without"
}

# pip is wanted only where Kokkos has to be fetched.
provide_pip() {
  python3 -m pip --version >/dev/null 2>&1 || provide "command:pip3 python3-pip"
}
