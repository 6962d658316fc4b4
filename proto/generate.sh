#!/usr/bin/env bash
# Generates the stubs beside the protos, with a generator old enough for the oldest protobuf that
# Blender may hold (docs/design.md, wire). Run by `make proto`.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-proto
[ -x $venv/bin/python ] || python3.11 -m venv $venv
$venv/bin/pip install -q "grpcio-tools==1.71.2" "mypy-protobuf==3.6.0" "grpclib==0.4.9" "setuptools<81"
PATH="$PWD/$venv/bin:$PATH" $venv/bin/python -m grpc_tools.protoc -I proto \
  --python_out=proto --mypy_out=quiet:proto --grpc_python_out=proto --grpclib_python_out=proto \
  proto/layert2v/v1/*.proto
# A file without services has no use for service stubs.
rm -f proto/layert2v/v1/shot_pb2_grpc.py proto/layert2v/v1/shot_grpc.py
