#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# What `seqkv restore` writes has the same bytes whatever the number of ranks that stored it, and without a launcher.
#   restored.sh PROGRAM MODEL LAUNCHER...        LAUNCHER ends in the option for the number of ranks
set -uo pipefail
program=$1 model=$2
shift 2
launcher=("$@")
work=$(mktemp -d "${TMPDIR:-/tmp}/seqkv-restored-XXXXXX")
trap 'rm -rf "$work"' EXIT
sessions=13

fail() {
  printf 'restored.sh: %s\n' "$*" >&2
  cat "$work/log" >&2
  exit 1
}

# Three preambles, one of them the beginning of another; tails that differ, a twin, and one of a single token.
for ((i = 0; i < sessions - 2; ++i)); do
  tokens="1"
  for ((t = 0; t < 40 + 60 * (i % 3); ++t)); do tokens+=",$(((t * 7 + (i % 3 == 2) * 13) % 4000))"; done
  for ((t = 0; t < 20 + 5 * i; ++t)); do tokens+=",$(((t * t + i * 31) % 4000))"; done
  printf '{"session": "s%d", "tokens": [%s]}\n' "$i" "$tokens"
done >"$work/manifest.jsonl"
printf '{"session": "s%d", "tokens": [%s]}\n' $((sessions - 2)) "$tokens" >>"$work/manifest.jsonl"
printf '{"session": "s%d", "tokens": [9]}\n' $((sessions - 1)) >>"$work/manifest.jsonl"

# The digests of all restored files of a batch; the arguments are what stands before the program.
digests() {
  local session
  rm -rf "$work/store" "$work/kv"
  mkdir "$work/kv"
  "$@" "$program" batch "$work/manifest.jsonl" --store "$work/store" --model "$model" --codec "$codec" \
    --profile "$model/profile.safetensors" --block-tokens 32 --threads 1 --json >"$work/out" 2>"$work/log" ||
    fail "$codec: batch, exit $?: $*"
  for ((session = 0; session < sessions; ++session)); do
    "$program" restore --store "$work/store" --session "s$session" --out "$work/kv/s$session.safetensors" --threads 1 \
      >"$work/out" 2>"$work/log" || fail "$codec: restore s$session, exit $?: $*"
  done
  (cd "$work/kv" && sha256sum -- *) >"$work/digests"
}

for codec in none+lossless linear+ecsq:kl=0.01; do
  digests
  mv "$work/digests" "$work/alone"
  distinct=$(cut -d ' ' -f 1 "$work/alone" | sort -u | wc -l)
  [ "$distinct" -eq $((sessions - 1)) ] || fail "$codec: $distinct different files, all but the twin should differ"
  for ranks in 1 2 3 4 8; do
    digests "${launcher[@]}" "$ranks"
    diff "$work/alone" "$work/digests" >"$work/log" || fail "$codec: $ranks ranks restore other bytes"
  done
  echo "$codec: the same $sessions files of 1, 2, 3, 4, 8 ranks and without a launcher"
done
