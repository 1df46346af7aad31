#!/usr/bin/env bash
# Start a Slurm of one node: start.sh FOLDER
#
# Everything lies in FOLDER (configuration, database, logs, and the numbers of the processes, which
# stop.sh reads); no systemd, no file of the system is touched, every port is a free one. The daemons
# run as the caller, root or not. Clients need SLURM_CONF=FOLDER/slurm.conf and PATH=FOLDER/bin:$PATH.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
user=$(id -un)
mkdir -p "$folder"/{munge,database,state,spool,log}
chmod 755 "$folder" "$folder/munge"

free_ports() { # as many different free ports as asked for
  python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))
PYTHON
}
read -r database_port dbd_port ctld_port slurmd_port <<<"$(free_ports 4)"

wait_for() { # wait_for WHAT COMMAND...: until the command succeeds
  local what=$1
  shift
  local end=$((SECONDS + 90))
  while ((SECONDS < end)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.2
  done
  echo "braid: $what did not start within 90 seconds; its log is in $folder/log" >&2
  "$here/stop.sh" "$folder"
  exit 1
}

start() { # start NAME COMMAND...: in the background, its process number kept
  local name=$1
  shift
  setsid "$@" >"$folder/log/$name.out" 2>&1 </dev/null &
  echo "$!" >"$folder/$name.pid"
}

# who is who: every message between the daemons is signed
head -c 1024 /dev/urandom >"$folder/munge/key"
chmod 600 "$folder/munge/key"
start munged munged --foreground --force --key-file="$folder/munge/key" \
  --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
wait_for munged munge --socket="$folder/munge/socket" --no-input

# accounting: a database, and the daemon that writes to it
mariadb-install-db --no-defaults --user="$user" --datadir="$folder/database" \
  --auth-root-authentication-method=normal --skip-test-db >"$folder/log/install_db.out" 2>&1
start mariadbd mariadbd --no-defaults --user="$user" --datadir="$folder/database" \
  --socket="$folder/database/socket" --port="$database_port" --bind-address=127.0.0.1 \
  --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900
sql() { mariadb --no-defaults --user=root --socket="$folder/database/socket" --execute="$1"; }
wait_for mariadbd sql "SELECT 1"
sql "CREATE DATABASE slurm_acct_db;
  CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm', 'slurm'@'localhost' IDENTIFIED BY 'slurm';
  GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1', 'slurm'@'localhost';"

cat >"$folder/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=$user
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/slurmdbd.daemon.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database_port
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
chmod 600 "$folder/slurmdbd.conf"

# cores and memory of the node are what jobs may reserve, not what the machine has: these jobs are
# tiny, whatever they ask for; cred_expire is also how long a requeued job waits before it starts again
cat >"$folder/slurm.conf" <<CONF
ClusterName=one_node
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.daemon.pid
SlurmdPidFile=$folder/slurmd.daemon.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=0
MinJobAge=300
KillWait=5
JobRequeue=1
SchedulerParameters=sched_interval=5,batch_sched_delay=1,bf_interval=5
PropagateResourceLimits=NONE
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd_port
AccountingStoragePass=$folder/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:toy:1
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1-0
PartitionName=gpu Nodes=ALL MaxTime=1-0
CONF
echo "AutoDetect=off" >"$folder/gres.conf"
echo "Name=gpu Type=toy Count=1 File=/dev/zero" >>"$folder/gres.conf"

export SLURM_CONF=$folder/slurm.conf
# the Slurm executor clears the environment before it calls srun in a job: srun must find its way alone
mkdir -p "$folder/bin"
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
chmod +x "$folder/bin/srun"
# slurmdbd reads its own file from the folder that SLURM_CONF names
start slurmdbd slurmdbd -D
wait_for slurmdbd timeout 10 sacctmgr --noheader show cluster
sacctmgr --immediate --quiet add cluster one_node >/dev/null
sacctmgr --immediate --quiet add account lab Cluster=one_node >/dev/null
sacctmgr --immediate --quiet add user "$user" Account=lab DefaultAccount=lab >/dev/null
start slurmctld slurmctld -D
wait_for slurmctld timeout 10 scontrol ping
start slurmd slurmd -D
idle() { timeout 10 sinfo --noheader --format=%T | grep --quiet --line-regexp idle; }
wait_for "slurmd" idle
echo "$folder/slurm.conf"
