#!/usr/bin/env bash
# Makes the stubs from the contract, into copydesk/v1 beside this file. The messages of google.rpc
# come with grpcio-status. PYTHON names the interpreter that has requirements.txt installed.
set -euo pipefail
cd "$(dirname "$0")"
proto=../../proto

rm -rf copydesk
"${PYTHON:-python3}" -m grpc_tools.protoc -I "$proto" -I "$proto/third_party" \
    --python_out=. --pyi_out=. --grpc_python_out=. "$proto"/copydesk/v1/*.proto
