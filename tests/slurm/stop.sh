#!/usr/bin/env bash
# Stop what start.sh started in FOLDER, and nothing else: stop.sh FOLDER
set -uo pipefail

folder=$1
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$folder/slurm.conf
if [[ -e $folder/slurmctld.pid ]]; then # jobs outlive slurmd: end them first
  timeout 20 scancel --quiet --user="$(id -un)"
  for _ in $(seq 50); do
    [[ -z $(timeout 5 squeue --noheader 2>/dev/null) ]] && break
    sleep 0.2
  done
fi
for name in slurmd slurmctld slurmdbd mariadbd munged; do
  file=$folder/$name.pid
  [[ -e $file ]] || continue
  pid=$(<"$file")
  # the number may have gone to another process since
  if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$name" ]]; then
    kill "$pid" 2>/dev/null
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
  fi
  rm "$file"
done
exit 0
