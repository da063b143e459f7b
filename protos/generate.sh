#!/usr/bin/env bash
# Generates the Python stubs into the folder $1 with the tools of the environment $2.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
tools=$(cd "$2/bin" && pwd)
cd "$(dirname "$0")"
rm -rf "$out/atelier"
mapfile -t files < <(find atelier -name '*.proto' | LC_ALL=C sort)
PATH="$tools:$PATH" "$tools/python" -m grpc_tools.protoc -I. \
  --python_out="$out" --grpc_python_out="$out" --mypy_out=quiet:"$out" --mypy_grpc_out=quiet:"$out" "${files[@]}"
# Files without a service get an empty _grpc module: leave it out.
find "$out/atelier" -name '*_pb2_grpc.py' | while read -r file; do
  grep -q '^class .*Stub' "$file" || rm "$file" "${file}i"
done
touch "$out/atelier/py.typed"
