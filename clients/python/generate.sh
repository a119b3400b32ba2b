#!/usr/bin/env bash
# Makes src/copydesk/v1 from the contract; committed, so that installing needs no protoc.
# `generate.sh --check` only says whether what is committed is what the contract makes.
#
# PYTHON names an interpreter with requirements-generate.txt installed. These are not the newest on
# purpose: stubs run with the protobuf that made them and up to the end of its next major version.
set -euo pipefail
python="$(realpath -s "$(command -v "${PYTHON:-python3}")")"
cd "$(dirname "$0")"
proto="$(realpath ../../proto)"
made="$(mktemp -d)"
trap 'rm -rf "$made"' EXIT

plugin="$(dirname "$python")/protoc-gen-mypy"
"$python" -m grpc_tools.protoc -I "$proto" -I "$proto/third_party" \
    --plugin=protoc-gen-mypy="$plugin" --plugin=protoc-gen-mypy_grpc="${plugin}_grpc" \
    --python_out="$made" --grpc_python_out="$made" \
    --mypy_out=quiet:"$made" --mypy_grpc_out=quiet:"$made" "$proto"/copydesk/v1/*.proto
# Only one file has a service.
find "$made" -name '*_pb2_grpc.py*' ! -name 'classifier_*' -delete

if [ "${1:-}" = --check ]; then
    diff -r --exclude __pycache__ "$made/copydesk/v1" src/copydesk/v1 || {
        echo "clients/python/src/copydesk/v1 is not what proto/ makes; run clients/python/generate.sh" >&2
        exit 1
    }
else
    rm -rf src/copydesk/v1
    cp -r "$made/copydesk/v1" src/copydesk/v1
fi
