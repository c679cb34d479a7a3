#!/usr/bin/env bash
# Asks OPA and Sekisho for a decision on every worked case of a policy: they must give the same, to the letter.
# Where there is no opa it says so and passes, since the comparison is for whoever changes the policy; in CI it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

policy="${1:-policies/dfft}"
if ! opa="$(scripts/find-opa.sh)"; then
  if [[ -n ${CI:-} ]]; then
    printf 'there is no opa here, and in CI decisions have to be compared with another engine\n' >&2
    exit 1
  fi
  printf 'SKIPPED: there is no opa here; decisions were not compared with another engine\n'
  exit 0
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

python3 - "$policy" > "$scratch/inputs.json" << 'END'
import json, pathlib, sys

cases = [case for path in sorted(pathlib.Path(sys.argv[1], "cases").glob("*.json")) for case in json.loads(path.read_text())]
json.dump([case["input"] for case in cases], sys.stdout)
END

entrypoint="$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["metadata"]["entrypoint"])' "$policy/.manifest")"
query="{place: decision | some place, document in input; decision := data.${entrypoint//\//.} with input as document}"
"$opa" eval --bundle "$policy" --stdin-input --format raw "$query" < "$scratch/inputs.json" > "$scratch/opa.json"
"${CARGO:-cargo}" run --quiet --locked -- policy eval --policy "$policy" --inputs "$scratch/inputs.json" > "$scratch/sekisho.ndjson"

python3 - "$scratch" "$("$opa" version | sed -n 's/^Version: //p')" << 'END'
import json, pathlib, sys

scratch = pathlib.Path(sys.argv[1])
inputs = json.loads((scratch / "inputs.json").read_text())
opa = json.loads((scratch / "opa.json").read_text())
ours = [json.loads(line) for line in (scratch / "sekisho.ndjson").read_text().splitlines()]
if not inputs or len(ours) != len(inputs):
    sys.exit(f"{len(inputs)} inputs and {len(ours)} decisions of Sekisho")
different = 0
for place, (document, our) in enumerate(zip(inputs, ours)):
    members = ("decision", "reasons", "obligations")
    their = opa.get(str(place), {})
    if any(their.get(member) != our[member] for member in members):
        different += 1
        print("input:  ", json.dumps(document), "opa:    ", json.dumps(their), "sekisho:", json.dumps(our), sep="\n")
if different:
    sys.exit(f"{different} of {len(inputs)} decisions differ")
print(f"{len(inputs)} decisions of OPA {sys.argv[2]} and of Sekisho are the same")
END
