#!/usr/bin/env bash
# A sweep as a job of Slurm: Ray on all its nodes, `python -m scaling` on the first, and no Ray after.
#
#   sbatch configs/clusters/slurm.sh sweep --config configs/sweeps/a100.yaml
#
# Typed in the clone, which lies with its .venv (`make test` makes it) on a file system that all nodes
# share; cluster.storage of the configuration does too. A job that was cancelled or ran out of time is
# submitted again: finished runs are not trained again, the others go on from their checkpoints.
#
# Exercised: its start on one node, with a scontrol and an srun that stand for Slurm's; a linter.
# NOT exercised: a Slurm, and several nodes.
#
# CHANGE these five lines: how many nodes, of which kind, and for how long.
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --partition=gpu
#SBATCH --time=24:00:00
#SBATCH --job-name=longwave
# A node for this job alone: Ray takes all of it, and `ray stop` ends every Ray of this user there.
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
set -euo pipefail

export PATH="$PWD/.venv/bin:$PATH"
if [[ $# -eq 0 ]]; then
  echo "Say what to run, such as: sbatch $0 sweep --config configs/sweeps/a100.yaml" >&2
  exit 2
fi

# A key to this job's Ray alone, in a file that nobody else may read; the environment names it.
umask 077
RAY_AUTH_TOKEN_PATH=$(mktemp "$PWD/.ray-token-XXXXXX")
export RAY_AUTH_TOKEN_PATH RAY_AUTH_MODE=token
trap 'rm --force "$RAY_AUTH_TOKEN_PATH"' EXIT
python -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH"

srun --kill-on-bad-exit=1 python configs/clusters/node_check.py constraints.txt

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed --quiet 1p)
# Nodes read the environment from a shared file system: slowly, when all do so at once.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
# The workers' Ray ends this many seconds after the head's.
export RAY_gcs_rpc_server_reconnect_timeout_s=30
srun --kill-on-bad-exit=0 ray symmetric-run --address "$head:6379" \
  --min-nodes "$SLURM_JOB_NUM_NODES" --dashboard-host=127.0.0.1 -- \
  env RAY_ADDRESS="$head:6379" python -m scaling "$@"
