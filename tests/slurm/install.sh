#!/usr/bin/env bash
# Install Slurm, its accounting and what they need, from Debian's or Ubuntu's packages, where missing.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
for program in slurmctld slurmd slurmdbd sbatch munged mariadbd mariadb-install-db; do
  command -v "$program" >/dev/null || missing="${missing-} $program"
done
[[ -z ${missing-} ]] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "braid: not installed:$missing; install Slurm, slurmdbd, munge and MariaDB's server" >&2
  exit 1
fi
as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }
# the packages must not start daemons of their own: the tests start theirs
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod +x "$policy"
  trap 'as_root rm -f "$policy"' EXIT
fi
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
  slurm-wlm slurmdbd munge mariadb-server >/dev/null
