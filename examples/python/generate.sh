#!/usr/bin/env bash
# Makes the stubs from the contract, into copydesk/v1 beside this file. The messages of google.rpc
# come with grpcio-status. PYTHON names the interpreter that has requirements.txt installed.
set -euo pipefail
here="$(dirname "$0")"
proto="$here/../../proto"

rm -rf "$here/copydesk"
"${PYTHON:-python3}" -m grpc_tools.protoc -I "$proto" -I "$proto/third_party" \
    --python_out="$here" --pyi_out="$here" --grpc_python_out="$here" "$proto"/copydesk/v1/*.proto
