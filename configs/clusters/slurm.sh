#!/usr/bin/env bash
# A sweep as a Slurm job: Ray on all its nodes, `python -m scaling` on the first, and no Ray afterwards.
#
#   sbatch configs/clusters/slurm.sh sweep --config configs/sweeps/a100.yaml
#
# Type it in the clone. The clone with its .venv (`make test` creates it) and cluster.storage of the
# configuration must be on a file system that all nodes share. If a job was cancelled or ran out of
# time, submit it again: finished runs are not trained again, the others continue from checkpoints.
#
# Exercised: its start on one node, with substitutes for Slurm's scontrol and srun; a linter.
# NOT exercised: Slurm itself, and several nodes.
#
# CHANGE these five lines: the number of nodes, their kind, and the time.
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --partition=gpu
#SBATCH --time=24:00:00
#SBATCH --job-name=longwave
# The job needs whole nodes: Ray takes all of a node, and `ray stop` ends every Ray of this user there.
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
set -euo pipefail

export PATH="$PWD/.venv/bin:$PATH"
if [[ $# -eq 0 ]]; then
  echo "There is no command to run: type sbatch $0 sweep --config configs/sweeps/a100.yaml" >&2
  exit 2
fi

# The token of this job's Ray, in a file that nobody else may read; the environment names the file.
umask 077
RAY_AUTH_TOKEN_PATH=$(mktemp "$PWD/.ray-token-XXXXXX")
export RAY_AUTH_TOKEN_PATH RAY_AUTH_MODE=token
trap 'rm --force "$RAY_AUTH_TOKEN_PATH"' EXIT
python -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH"

srun --kill-on-bad-exit=1 python configs/clusters/node_check.py constraints.txt

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed --quiet 1p)
# Nodes read the environment from a shared file system, which is slow when all do so at once.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
# The workers' Ray ends this many seconds after the head's.
export RAY_gcs_rpc_server_reconnect_timeout_s=30
srun --kill-on-bad-exit=0 ray symmetric-run --address "$head:6379" \
  --min-nodes "$SLURM_JOB_NUM_NODES" --dashboard-host=127.0.0.1 -- \
  env RAY_ADDRESS="$head:6379" python -m scaling "$@"
