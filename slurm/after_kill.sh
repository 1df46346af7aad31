#!/usr/bin/env bash
# After the controlling `snakemake` was killed: cancel the jobs that it left in the queue, then unlock the
# folder. Call it from the root of the clone with the arguments of the killed command:
#   slurm/after_kill.sh --profile slurm --configfile my.yaml
set -euo pipefail

# every run has a name of its own, which its jobs bear; finished runs have none in the queue
runs=$(cat .snakemake/log/*.snakemake.log | sed -n 's/^SLURM run ID: //p' | sort -u | paste -sd,)
left() { squeue --noheader --user="$(id -un)" --name="$runs" --format=%A; }
if [[ -n $runs ]]; then
  left | xargs --no-run-if-empty scancel
  until [[ -z $(left) ]]; do sleep 1; done
fi
exec snakemake "$@" --unlock
