#!/usr/bin/env bash
# Everything that has to hold, in one command: formatting, lints, documentation, all tests, and real clients.
#
#   ./check.sh             all of it
#   ./check.sh --no-clients    without the clients and the IAM from PyPI and npm (quick, offline)
#
# Needs cargo, a C compiler, Python 3.11 or later with venv, and Node.js with npm; says so where one is missing.
set -euo pipefail
cd "$(dirname "$0")"

clients=yes
for argument in "$@"; do
  case "$argument" in
    --no-clients) clients=no ;;
    *) echo "check.sh: unknown argument $argument" >&2; exit 64 ;;
  esac
done

need() {
  command -v "$1" >/dev/null || { echo "check.sh: $1 is missing: $2" >&2; exit 69; }
}
need cargo "install Rust 1.94.1 or later"
need cc "install gcc or clang: aws-lc is C"

step() { printf '\n== %s\n' "$*"; }

step formatting
cargo fmt --all --check
step lints
cargo clippy --locked --workspace --all-targets -- -D warnings
step documentation
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
step tests
cargo test --locked --workspace
step "the demo"
cargo run --locked --quiet --example demo -- --once
step "everything at once, for twenty seconds"
cargo run --locked --quiet --example chaos -- --short

if [ "$clients" = yes ]; then
  step "real clients"
  need python3 "install Python 3.11 or later"
  need npm "install Node.js 20 or later"
  cargo build --locked
  tests/clients/run --roletap target/debug/roletap
  step "real clients of instance metadata, in a network namespace"
  tests/imds/run --roletap target/debug/roletap
  step "policies, tried in an IAM"
  tests/policy/run --roletap target/debug/roletap
  step "onboarding, as its page says"
  tests/onboarding/run --roletap target/debug/roletap
  step "the sinks' recipes, as their pages say"
  tests/sinks/run --roletap target/debug/roletap
fi
# These and tests/imds say aloud that they were skipped, and why, where the machine cannot.
step "watched by a real Prometheus"
tests/prometheus/run --roletap target/debug/roletap
step "the package, under a real systemd"
tests/systemd/run --binary target/debug/roletap
step "the container image"
tests/container/run
step "all is well"
