#!/usr/bin/env bash
# Installs what the tests need beyond Rust: quick when everything is there, and plain about what it cannot do.
set -euo pipefail
cd "$(dirname "$0")/.."

# The release that builds the compiled policies of the tests, and that the policy's authors compare with.
readonly OPA_VERSION=v1.10.1

say() { printf '%s\n' "$1"; }

missing() {
  printf 'prepare-tests.sh: %s\n' "$1" >&2
  exit 1
}

# Installs Debian packages if we may; otherwise says what to do.
install() {
  say "installing: $*"
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get > /dev/null; then
    missing "please install: $* (as root: apt-get install $*)"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get install --yes --no-install-recommends "$@" > /dev/null 2>&1 || {
    apt-get update > /dev/null
    apt-get install --yes --no-install-recommends "$@" > /dev/null
  } || missing "apt-get could not install: $*"
}

packages=()
command -v cc > /dev/null || packages+=(gcc libc6-dev)
command -v curl > /dev/null || packages+=(curl ca-certificates)
command -v openssl > /dev/null || packages+=(openssl)
command -v git > /dev/null || packages+=(git)
# The verifier of tests/outside is built with Go, out of packages that ship with it.
command -v go > /dev/null || packages+=(golang-go)
if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
  packages+=(python3 python3-venv)
fi
((${#packages[@]} == 0)) || install "${packages[@]}"

command -v cargo > /dev/null || missing 'cargo is missing: install Rust 1.95 or later, as https://rustup.rs says'
for component in rustfmt clippy; do
  if ! cargo "${component/rustfmt/fmt}" --version > /dev/null 2>&1; then
    say "installing: $component"
    rustup component add "$component" || missing "cargo has no $component: add it to your Rust installation"
  fi
done

# A virtual environment for the example partner in Python, made anew when its requirements change.
readonly requirements=examples/partner-python/requirements.txt
if ! cmp --silent "$requirements" target/python/requirements.txt || ! target/python/bin/python -c '' 2> /dev/null; then
  say 'installing: the Python packages of examples/partner-python in target/python'
  rm -rf target/python
  mkdir -p target
  python3 -m venv target/python
  target/python/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  cp "$requirements" target/python/requirements.txt
fi

# OPA compiles the policies that the tests of the sandbox run; no compiled policy is committed.
if ! scripts/find-opa.sh > /dev/null; then
  command -v go > /dev/null || missing 'please install go (https://go.dev/dl), which builds opa; or put opa 1.x on the PATH'
  say "installing: opa $OPA_VERSION in target/tools (some minutes, once)"
  GOBIN="$PWD/target/tools" go install "github.com/open-policy-agent/opa@$OPA_VERSION" \
    || missing 'opa could not be installed'
fi

say 'all there'
