#!/bin/bash
# Starts a Ray cluster inside a Slurm allocation and tunes on it:
#
#     sbatch --nodes 4 --gpus-per-node 4 --time 12:00:00 deploy/slurm.sh \
#         --config my.yaml --data /shared/data --output-dir /shared/run
#
# Everything behind the file's name goes to `python -m raytune_ocr.tune`. Before that: every node
# needs this package in the same environment (activate it before sbatch, or below), and must see
# --output-dir and --data under the same paths.
#
# Two minutes before the time is over the run saves itself and the job is queued again; it
# continues where it was, as it does after a lost node.
#SBATCH --job-name=raytune_ocr
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -euo pipefail

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes%%$'\n'*}
address=$head:$((20000 + SLURM_JOB_ID % 20000))
# Whoever shares the network could run code on an open Ray: only this job knows the token.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN
# What trials print fills no disk: 16 MiB a log file, and one before it.
export RAY_ROTATION_MAX_BYTES=16777216 RAY_ROTATION_BACKUP_COUNT=1

start() {  # options of srun, then --, then options of `ray start`; CPUs are those of the allocation
    local step=()
    while [ "$1" != -- ]; do step+=("$1"); shift; done
    shift
    srun --ntasks-per-node 1 "${step[@]}" \
        bash -c 'exec ray start --block --num-cpus "$(nproc)" "$@"' ray "$@" &
}

start --nodes 1 --nodelist "$head" -- \
    --head --node-ip-address "$head" --port "${address##*:}" --include-dashboard=false
for _ in $(seq 60); do
    ray health-check --address "$address" > /dev/null 2>&1 && break
    sleep 2
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    start --nodes $((SLURM_JOB_NUM_NODES - 1)) --exclude "$head" -- --address "$address"
fi

python -m raytune_ocr.tune --address "$address" --resume-if-any "$@" &
tuner=$!
trap 'kill -TERM $tuner' TERM
status=0
wait "$tuner" || status=$?
if kill -0 "$tuner" 2> /dev/null; then  # the signal ended the first wait
    status=0
    wait "$tuner" || status=$?
fi
if [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
