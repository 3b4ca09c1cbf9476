# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# What the jobs share. Sourced, not run; docs/slurm.md has the variables.
#
# Slurm runs a copy of the script from its spool: the project is where SEQKV_ROOT says, else where sbatch was called.
# shellcheck disable=SC2034
set -u

say() { printf '%s %s: %s\n' "$(date +%FT%T)" "${SLURM_JOB_NAME:-seqkv}" "$*" >&2; }
die() {
  say "$*"
  exit 2
}

root=${SEQKV_ROOT:-${SLURM_SUBMIT_DIR:-$PWD}}

# ---- the site: modules and variables of a machine -----------------------------------------------------------

# SITE is a name in slurm/sites, or a file. What the environment says goes before it.
if [ -n "${SITE:-}" ]; then
  site_file=$SITE
  [ -f "$site_file" ] || site_file=$root/slurm/sites/$SITE.sh
  [ -f "$site_file" ] || die "there is no site '$SITE': neither a file nor $site_file"
  # shellcheck source=/dev/null
  . "$site_file"
fi
RESULTS=${RESULTS:-${SLURM_SUBMIT_DIR:-$PWD}/results}
LAUNCHER=${LAUNCHER:-mpirun}
BIND=${BIND:-core}
STAGE=${STAGE:-model}
MAX_RESTARTS=${MAX_RESTARTS:-100}
SEQKV=${SEQKV:-$root/build/mpi/bin/seqkv}

# ---- guards ---------------------------------------------------------------------------------------------------

ranks=${SLURM_NTASKS:-1}
nodes=${SLURM_JOB_NUM_NODES:-1}

# What would otherwise show after an hour in the queue, or as a job in which every rank thinks it is alone.
guard() {
  [ -n "${SLURM_JOB_ID:-}" ] || die "this is a job: sbatch slurm/NAME.sbatch ... (docs/slurm.md)"
  [ -x "$SEQKV" ] || die "no program $SEQKV: scripts/build mpi, or set SEQKV"
  "$SEQKV" info --json >/dev/null || die "$SEQKV does not start on $(hostname): is a module missing (SITE)?"
  case $LAUNCHER in
    mpirun | srun) command -v "$LAUNCHER" >/dev/null || die "LAUNCHER=$LAUNCHER is not in the PATH (SITE)" ;;
    *) die "LAUNCHER=$LAUNCHER: mpirun or srun" ;;
  esac
  case $BIND in core | none) ;; *) die "BIND=$BIND: core or none" ;; esac
  case $STAGE in model | none) ;; *) die "STAGE=$STAGE: model or none" ;; esac
  [[ $MAX_RESTARTS =~ ^[0-9]+$ ]] || die "MAX_RESTARTS=$MAX_RESTARTS is no number"
  if [ "$ranks" -gt 1 ] && ! "$SEQKV" info --json | grep -q '"mpi": true'; then
    die "$ranks tasks, and $SEQKV is built without MPI: scripts/build mpi, or --ntasks=1"
  fi
  guard_gpus
}

# A rank takes the device of its number on its node: more ranks than devices share them, fewer leave some idle.
guard_gpus() {
  local gpus=${SLURM_GPUS_ON_NODE:-0} local_ranks=$(((ranks + nodes - 1) / nodes))
  [ "$gpus" -eq 0 ] || [ -n "${SHARE_GPUS:-}" ] || [ "$gpus" -eq "$local_ranks" ] ||
    die "$local_ranks tasks a node and $gpus GPUs: one rank a GPU (--ntasks-per-node=$gpus), or SHARE_GPUS=1"
}

# ---- launching ------------------------------------------------------------------------------------------------

# The words before the program: as many ranks as tasks, bound to their cores, all ended when one dies.
make_launcher() {
  local cpus=${SLURM_CPUS_PER_TASK:-1}
  # The GPUs of a node are seen by all its ranks, each of which takes its own.
  if [ "$LAUNCHER" = srun ]; then
    launcher=(srun --ntasks="$ranks" --cpus-per-task="$cpus" --kill-on-bad-exit=1)
    if [ "$BIND" = core ]; then launcher+=(--cpu-bind=cores); else launcher+=(--cpu-bind=none); fi
    [ "${SLURM_GPUS_ON_NODE:-0}" -eq 0 ] || launcher+=(--gpu-bind=none)
  elif mpirun --version 2>/dev/null | grep -qE 'Open MPI|OpenRTE'; then
    launcher=(mpirun -n "$ranks")
    if [ "$BIND" = core ]; then
      launcher+=(--map-by "slot:PE=$cpus" --bind-to core)
    else
      launcher+=(--bind-to none)
    fi
  else # MPICH, Intel MPI and others that start by Hydra
    launcher=(mpirun -n "$ranks")
    [ "$BIND" = none ] || launcher+=(-bind-to "core:$cpus")
  fi
  [ -z "${LAUNCHER_OPTIONS:-}" ] || read -ra extra <<<"$LAUNCHER_OPTIONS"
  launcher+=("${extra[@]}")
  export OMP_PROC_BIND=${OMP_PROC_BIND:-false} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
}
extra=()

# Runs a command, hands SIGUSR1 of the batch system on to it, and gives its exit code; `asked_to_stop` says whether
# there was a signal.
asked_to_stop=
running=
forward() {
  asked_to_stop=yes
  say "time is running out: SIGUSR1 goes on to the ranks"
  [ -z "$running" ] || kill -s USR1 "$running" 2>/dev/null
}
run() {
  local code woken
  trap forward USR1
  "$@" &
  running=$!
  while :; do
    woken=$asked_to_stop
    wait "$running"
    code=$?
    # A wait that the signal ended says nothing of the command.
    [ "$woken" = "$asked_to_stop" ] && break
  done
  running=
  trap '' USR1
  return $code
}

# ---- going on after a stop ------------------------------------------------------------------------------------

# Puts this job into the queue again. Slurm ends it here.
requeue() {
  local restarts=${SLURM_RESTART_COUNT:-0}
  if [ "$restarts" -ge "$MAX_RESTARTS" ]; then
    say "requeued $restarts times already (MAX_RESTARTS)"
    return 1
  fi
  say "goes into the queue again ($((restarts + 1)) of at most $MAX_RESTARTS)"
  scontrol requeue "$(job_name_for_slurm)" || return 1
  # Until Slurm ends this script, which becomes what waits: a child might be left behind.
  exec sleep 60
}
job_name_for_slurm() {
  if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
    printf '%s_%s' "$SLURM_ARRAY_JOB_ID" "$SLURM_ARRAY_TASK_ID"
  else
    printf '%s' "$SLURM_JOB_ID"
  fi
}

# ---- staging --------------------------------------------------------------------------------------------------

scratch=${SCRATCH_NODE:-${TMPDIR:-/tmp}}/seqkv-${SLURM_JOB_ID:-$$}

# stage PATH: a copy of a file or folder on every node, its path in `staged`. Reads that every rank does leave the shared
# file system alone then. Two nodes may be one machine: who comes second leaves what is there.
stage() {
  local from to
  from=$(realpath -e "$1") || die "cannot stage $1"
  to=$scratch/$(basename "$from")
  # shellcheck disable=SC2016
  on_nodes sh -c 'mkdir -p "$2" && part=$3.$(hostname).$$ && cp -rL "$1" "$part" &&
    { mv -T "$part" "$3" 2>/dev/null || { rm -rf "$part"; [ -e "$3" ]; }; }' stage "$from" "$scratch" "$to" ||
    die "cannot copy $1 to $scratch on every node"
  staged=$to
}
on_nodes() { srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --overlap --mpi=none "$@"; }

# On every node, also when the job ends early.
clean_stage() {
  [ -z "${staged:-}" ] || on_nodes rm -rf "$scratch" 2>/dev/null || rm -rf "$scratch"
}

# Puts the copies of --model and --profile into `arguments`.
stage_arguments() {
  [ "$STAGE" = none ] && return
  local i
  trap clean_stage EXIT
  for ((i = 0; i + 1 < ${#arguments[@]}; ++i)); do
    case ${arguments[i]} in
      --model | --profile)
        stage "${arguments[i + 1]}"
        arguments[i + 1]=$staged
        ;;
    esac
  done
}

# The word behind an option among `arguments`.
argument_of() {
  local i
  for ((i = 0; i + 1 < ${#arguments[@]}; ++i)); do
    [ "${arguments[i]}" != "$1" ] || printf '%s' "${arguments[i + 1]}"
  done
}

# ---- results --------------------------------------------------------------------------------------------------

# A folder for this job, with job.json: what ran where, on what.
make_results() {
  results=$RESULTS/${SLURM_JOB_NAME:-seqkv}-$(job_name_for_slurm)
  mkdir -p "$results" || die "cannot make $results"
  describe_job "$@" >"$results/job-${SLURM_RESTART_COUNT:-0}.json"
  "$SEQKV" info --json >"$results/seqkv-info.json"
  say "results in $results"
}

quoted() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/ }
  printf '"%s"' "${text//$'\t'/ }"
}
first_of() { grep -m 1 "$1" "$2" 2>/dev/null | sed 's/^[^:]*: *//'; }
describe_job() {
  local commit dirty=false
  commit=$(git -C "$root" rev-parse HEAD 2>/dev/null)
  [ -z "$(git -C "$root" status --porcelain --untracked-files=no 2>/dev/null)" ] || dirty=true
  cat <<END
{
 "job": $(quoted "$(job_name_for_slurm)"),
 "restart": ${SLURM_RESTART_COUNT:-0},
 "date": $(quoted "$(date --iso-8601=seconds)"),
 "command": $(quoted "$*"),
 "commit": $(quoted "$commit"),
 "modified": $dirty,
 "nodes": $(quoted "${SLURM_JOB_NODELIST:-$(hostname)}"),
 "node_count": $nodes,
 "ranks": $ranks,
 "cpus_per_task": ${SLURM_CPUS_PER_TASK:-1},
 "gpus_per_node": ${SLURM_GPUS_ON_NODE:-0},
 "launcher": $(quoted "${launcher[*]}"),
 "cluster": $(quoted "${SLURM_CLUSTER_NAME:-}"),
 "partition": $(quoted "${SLURM_JOB_PARTITION:-}"),
 "site": $(quoted "${SITE:-}"),
 "modules": $(quoted "${LOADEDMODULES:-}"),
 "machine": $(quoted "$(first_of 'model name' /proc/cpuinfo)"),
 "memory": $(quoted "$(first_of MemTotal /proc/meminfo)"),
 "gpus": $(quoted "$(nvidia-smi -L 2>/dev/null || rocm-smi --showproductname 2>/dev/null | grep -i series)"),
 "system": $(quoted "$(uname -srm)")
}
END
}
