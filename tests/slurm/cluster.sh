# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# A Slurm of two nodes on this machine: munged, slurmctld and two slurmd, all in a folder of their own. Sourced.
# `start_cluster FOLDER` sets SLURM_CONF for what follows; `stop_cluster` ends the daemons and whatever they left.

free_ports() {
  python3 -c 'import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])'
}

write_configuration() {
  local ctld n1 n2
  read -r ctld n1 n2 <<<"$(free_ports)"
  # A job that was put back waits until its credential is over: 5 s instead of 120.
  cat >"$cluster/slurm.conf" <<END
ClusterName=seqkv
SlurmctldHost=localhost
SlurmctldPort=$ctld
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$cluster/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool-%n
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd-%n.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
MessageTimeout=60
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=n1 NodeHostname=localhost Port=$n1 CPUs=1
NodeName=n2 NodeHostname=localhost Port=$n2 CPUs=1
PartitionName=two Nodes=n1,n2 Default=YES State=UP
END
}

# start_cluster FOLDER
start_cluster() {
  cluster=$1
  mkdir -p "$cluster/munge" "$cluster/state" "$cluster/spool-n1" "$cluster/spool-n2"
  chmod 755 "$cluster" "$cluster/munge"
  head -c 1024 /dev/urandom >"$cluster/munge/key"
  chmod 400 "$cluster/munge/key"
  write_configuration
  export SLURM_CONF=$cluster/slurm.conf
  munged --key-file="$cluster/munge/key" --socket="$cluster/munge/socket" --pid-file="$cluster/munge/pid" \
    --log-file="$cluster/munge/log" --seed-file="$cluster/munge/seed" || return 1
  slurmctld || return 1
  slurmd -N n1 || return 1
  slurmd -N n2 || return 1
  within 30 both_idle
}
both_idle() { [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | tr '\n' ' ')" = "n1 n2 " ]; }

# within SECONDS COMMAND...: waits until the command succeeds.
within() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.2
  done
}

# Processes that name the folder in their command line or environment, this script and its children apart.
leftovers() {
  local entry id
  for entry in /proc/[0-9]*; do
    id=${entry#/proc/}
    { [ "$id" = $$ ] || [ "$id" = "$BASHPID" ]; } && continue
    if tr '\0' '\n' 2>/dev/null <"$entry/cmdline" | grep -qF "$cluster" ||
      tr '\0' '\n' 2>/dev/null <"$entry/environ" | grep -qF "SLURM_CONF=$cluster"; then
      [ "$(ps -o ppid= -p "$id" | tr -d ' ')" = $$ ] || echo "$id"
    fi
  done
}
none_left() { [ -z "$(leftovers)" ]; }

# Ends jobs, then daemons by their pid files, and at last by force what still runs in the folder. Fails if there was such.
stop_cluster() {
  [ -n "${cluster:-}" ] || return 0
  local file id
  if [ -s "$cluster/slurmctld.pid" ]; then
    timeout 10 scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null
    timeout 10 scancel --user="$(id -un)" 2>/dev/null
    within 10 no_jobs
  fi
  for file in "$cluster"/slurmd-n1.pid "$cluster"/slurmd-n2.pid "$cluster"/slurmctld.pid "$cluster"/munge/pid; do
    [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null
  done
  within 15 none_left && return 0
  for id in $(leftovers); do
    printf 'left behind: %s %s\n' "$id" "$(tr '\0' ' ' <"/proc/$id/cmdline")" >&2
    kill -KILL "$id" 2>/dev/null
  done
  return 1
}
no_jobs() { [ -z "$(timeout 5 squeue -h 2>/dev/null)" ]; }
