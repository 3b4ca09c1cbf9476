#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# One rank of a batch is killed (SIGKILL) at a random moment; the job must end, the store must be whole, and --restart on
# another number of ranks must bring every session into it. Then the same with SIGUSR1 to one rank: exit code 8.
#   kill.sh PROGRAM MODEL ROUNDS LAUNCHER...        LAUNCHER ends in the option for the number of ranks
set -uo pipefail
program=$1 model=$2 rounds=$3
shift 3
launcher=("$@")
[ -n "${SEQKV_TEST_THOROUGH:-}" ] && rounds=20
RANDOM=${SEQKV_TEST_SEED:-1}
work=$(mktemp -d "${TMPDIR:-/tmp}/seqkv-kill-XXXXXX")
trap 'rm -rf "$work"' EXIT
sessions=48

fail() {
  printf 'kill.sh: %s\n' "$*" >&2
  cat "$work/log" >&2
  exit 1
}

# Preambles of two depths, and tails that differ.
for ((i = 0; i < sessions; ++i)); do
  tokens="1"
  for ((t = 0; t < 200; ++t)); do tokens+=",$(((t * 7 + (i % 3) * 13) % 4000))"; done
  for ((t = 0; t < 60 + i; ++t)); do tokens+=",$(((t * t + i * 31) % 4000))"; done
  printf '{"session": "s%d", "tokens": [%s]}\n' "$i" "$tokens"
done >"$work/manifest.jsonl"

batch() {
  local ranks=$1
  shift
  exec "${launcher[@]}" "$ranks" "$program" batch "$work/manifest.jsonl" --store "$work/store" --model "$model" \
    --codec none+lossless --block-tokens 32 --epoch-seconds 0.2 --threads 1 --json "$@" >"$work/out" 2>"$work/log"
}

# Processes of the program below a launcher, whatever stands between.
ranks_of() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = "$(basename "$program")" ]; then echo "$child"; fi
    ranks_of "$child"
  done
}

# A signal to one rank of a job after some milliseconds; the job's exit code in $status.
strike() {
  local signal=$1 ranks=$2 delay=$3 job victims
  shift 3
  (batch "$ranks" "$@") &
  job=$!
  sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
  mapfile -t victims < <(ranks_of $job)
  if [ ${#victims[@]} -gt 0 ]; then kill -s "$signal" "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null; fi
  wait $job
  status=$?
}

verified() { "$program" verify --store "$work/store" >"$work/log" 2>&1 || fail "$1: the store is damaged"; }
complete() {
  local count
  count=$("$program" ls --store "$work/store" --json | grep -o '"session"' | wc -l)
  [ "$count" -eq $sessions ] || fail "$1: $count of $sessions sessions are stored"
}

counts=(3 2 4 1 8)
killed=0
for ((round = 0; round < rounds; ++round)); do
  rm -rf "$work/store"
  ranks=${counts[round % 3]}
  strike KILL "$ranks" $((RANDOM % ${SEQKV_KILL_WITHIN_MS:-2500}))
  [ $status -ne 0 ] && killed=$((killed + 1))
  left=0
  if [ -e "$work/store/store.db" ]; then
    verified "round $round, killed"
    left=$("$program" ls --store "$work/store" --json | grep -o '"session"' | wc -l)
  fi
  again=${counts[(round + 1) % 5]}
  (batch "$again" --restart) || fail "round $round: restart on $again ranks"
  verified "round $round, restarted"
  complete "round $round"
  echo "round $round: $ranks ranks, exit $status with $left sessions stored; all on $again ranks"
done
echo "$killed of $rounds jobs died"

# While the ranks start (the signal counts from the first line of main() on), and amid their work.
for delay in 150 300 "${SEQKV_STOP_AFTER_MS:-1200}"; do
  rm -rf "$work/store"
  strike USR1 2 "$delay"
  if [ $status -ne 0 ]; then
    [ $status -eq 8 ] || fail "SIGUSR1: exit code $status, not 8"
    [ ! -e "$work/store/store.db" ] || verified "stopped"
    (batch 3 --restart) || fail "restart after SIGUSR1"
  fi
  verified "stopped and restarted"
  complete "stopped"
  echo "SIGUSR1 after $delay ms: exit $status, restarted"
done
