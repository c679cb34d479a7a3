#!/usr/bin/env bash
# Prints the path of an opa that speaks Rego v1, if there is one; exit 1 if not.
set -euo pipefail
cd "$(dirname "$0")/.."

candidates=(target/tools/opa)
if found="$(command -v opa)"; then candidates+=("$found"); fi
if command -v go > /dev/null; then candidates+=("$(go env GOPATH)/bin/opa"); fi
for opa in "${candidates[@]}"; do
  if [[ -x $opa && $("$opa" version 2> /dev/null) == *'Rego Version: v1'* ]]; then
    printf '%s\n' "$opa"
    exit 0
  fi
done
exit 1
