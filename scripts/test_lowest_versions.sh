#!/usr/bin/env bash
# Runs the tests with the lowest versions of the dependencies that pyproject.toml allows, in a
# virtual environment of its own (several GB, since the oldest wheels of PyTorch are for CUDA):
#   scripts/test_lowest_versions.sh [options of pytest; default: all but the slow tests]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/tools"
"$folder/tools/bin/pip" install -q uv
"$folder/tools/bin/uv" venv -q --python "$(command -v python3)" "$folder/lowest"
"$folder/tools/bin/uv" pip install -q --python "$folder/lowest/bin/python" \
    --resolution lowest-direct '.[test]'
"$folder/lowest/bin/python" -m pytest "${@:--mnot slow}"
