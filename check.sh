#!/usr/bin/env bash
# Everything that has to hold, in one command. Durations are of two cores.
#
#   ./check.sh --fast     2 to 4 minutes from a warm cache: before each commit
#   ./check.sh            about 16 minutes from a warm cache, 35 on a new machine: what CI runs
#   ./check.sh --whole    about 2 hours: before a release
#
#   --offline      with any of them: nothing is fetched or installed (--no-clients is the old name)
#   --keep-going   go on after a step that failed
#
# Needs cargo, a C compiler, git and Python 3.11 or later with venv; the plain run also Node.js 20 or later with npm. What else
# a step needs is installed where it can be: as root by apt-get, programs of crates.io and PyPI by cargo and pip.
#
# A step that cannot be shown here exits with 77, and a part of a step that is left out adds a line to the file that
# ROLETAP_NOT_SHOWN names. The run ends with all of them. With CI=true such a step is a failed one; only what no machine could
# have had (`left_out` below, and the parts that the steps name) is not.
set -euo pipefail
cd "$(dirname "$0")"

tier=plain offline='' keep_going=''
for argument in "$@"; do
  case "$argument" in
    --fast | --whole) tier=${argument#--} ;;
    --offline | --no-clients) offline=yes ;;
    --keep-going) keep_going=yes ;;
    *) echo "check.sh: unknown argument $argument; there are --fast, --whole, --offline, --keep-going" >&2; exit 64 ;;
  esac
done
case "$tier" in
  fast) echo "check.sh --fast: 2 to 4 minutes from a warm cache" ;;
  plain) echo "check.sh: about 16 minutes from a warm cache, 35 on a new machine" ;;
  whole) echo "check.sh --whole: about 2 hours" ;;
esac

export ROLETAP_NOT_SHOWN
ROLETAP_NOT_SHOWN=$(mktemp)
if [ -n "$offline" ]; then
  export ROLETAP_OFFLINE=1 CARGO_NET_OFFLINE=true PIP_NO_INDEX=1 npm_config_offline=true
fi

# Steps. Each takes as long as it takes: the run ends with a table of what each took.

took=() failed=()
step() { # NAME COMMAND…
  local name=$1 began=$SECONDS code=0
  shift
  printf '\n== %s\n' "$name"
  # Not in an `if`: that would switch off `set -e` inside of a function.
  set +e
  (set -e; "$@")
  code=$?
  set -e
  took+=("$(printf '%5d s  %s' $((SECONDS - began)) "$name")")
  echo "-- $name: $((SECONDS - began)) s"
  case "$code" in
    0) ;;
    77) [ "${CI:-}" != true ] || failed+=("$name: it was not shown, and CI=true") ;;
    *) failed+=("$name: exit code $code") ;;
  esac
  [ ${#failed[@]} -eq 0 ] || [ -n "$keep_going" ] || exit 1
}

left_out() { # WHAT WHY: said at the end, and not a failure even with CI=true
  echo "SKIPPED, $1: $2" >&2
  echo "$1: $2" >>"$ROLETAP_NOT_SHOWN"
}

summary() {
  local code=$?
  trap - EXIT
  printf '\n== %d s in all\n' "$SECONDS"
  printf '%s\n' "${took[@]}"
  if [ -s "$ROLETAP_NOT_SHOWN" ]; then
    printf '\n== not shown\n'
    sort -u "$ROLETAP_NOT_SHOWN"
  fi
  rm -f "$ROLETAP_NOT_SHOWN"
  if [ ${#failed[@]} -gt 0 ]; then
    printf '\n== failed\n'
    printf '%s\n' "${failed[@]}"
    exit 1
  fi
  [ "$code" = 0 ] || { printf '\n== broken off\n'; exit "$code"; }
  printf '\n== all is well\n'
}
trap summary EXIT

# What steps need.

need() { # COMMAND WHAT-TO-DO
  command -v "$1" >/dev/null || { echo "check.sh: $1 is missing: $2" >&2; exit 69; }
}
need cargo "install rustup, which reads rust-toolchain.toml"
need cc "install gcc or clang: aws-lc is C"
need git "install git"
need python3 "install Python 3.11 or later"
# Before any step, so that none meets a half-built one. Cargo knows where that is; CARGO_TARGET_DIR may say so.
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')

apt_packages() { # COMMAND:PACKAGE…: what is missing, all at once; a step says by itself what it cannot do without
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ -n "$offline" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed here: ${missing[*]}"
    return 0
  fi
  echo "installing ${missing[*]} …"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
}

cargo_program() { # NAME VERSION: into the place where cargo keeps programs, so that the next checkout has it
  ! cargo "${1#cargo-}" --version 2>/dev/null | grep -qF "$2" || return 0
  if [ -n "$offline" ]; then
    left_out "$1" "it is not installed, and --offline forbids to fetch it"
    exit 77
  fi
  echo "installing $1 (once) …"
  cargo install --quiet --locked --version "$2" "$1"
}

lint_programs() { # NAME: both programs of tests/lint, or the step ends here
  local pins=tests/lint/requirements.txt
  if ! cmp -s "$pins" "$target/lint/.installed"; then
    if [ -n "$offline" ]; then
      left_out "$1" "it is not installed, and --offline forbids to fetch it"
      exit 77
    fi
    rm -rf "$target/lint"
    python3 -m venv "$target/lint"
    "$target/lint/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: -r "$pins"
    cp "$pins" "$target/lint/.installed"
  fi
}

# What a step does, where it is more than a command.

subjects() { # Commits since this rule: a subject is at most 72 characters.
  local since=003b1d6f531f89adce27e16ca77f6a1c71f324a5 long
  if ! git rev-parse --quiet --verify "$since^{commit}" >/dev/null; then
    left_out "commit subjects" "this checkout has no history"
    return
  fi
  long=$(git log --no-merges --format='%h %s' "$since..HEAD" | LC_ALL=C.UTF-8 grep -E '^[0-9a-f]+ .{73,}' || true)
  [ -z "$long" ] || { echo "longer than 72 characters:"; echo "$long"; return 1; }
}

named_tests() { # A page that says which test shows a promise names one that there is.
  local name wrong=0
  for name in $(grep -ohE '`[a-z0-9]+(_[a-z0-9]+){4,}`' docs/threat-model.md docs/outage-contract.md | tr -d '\`'); do
    git grep -qwE "fn $name" -- '*.rs' || { echo "there is no test $name"; wrong=1; }
  done
  return "$wrong"
}

shell_scripts() {
  local scripts
  mapfile -t scripts < <(git ls-files | xargs grep -lE '^#!.*[ /](bash|sh)\b')
  lint_programs shellcheck
  "$target/lint/bin/shellcheck" --severity=warning "${scripts[@]}"
  "$target/lint/bin/shellcheck" --severity=warning --shell=sh packaging/rpm/*
}

spelling() {
  lint_programs typos
  "$target/lint/bin/typos"
}

documentation() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
}

# Each package alone, with none of its features and with each, so that nothing holds only because of a neighbour.
features() {
  cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    print(package["name"], "")
    for feature in sorted(set(package["features"]) - {"default"}):
        print(package["name"], feature)' | while read -r package feature; do
    echo "$package ${feature:-without features}"
    cargo check --locked --quiet --package "$package" --no-default-features ${feature:+--features "$feature"} </dev/null
  done
}

dependencies() {
  cargo_program cargo-deny 0.20.2
  # cargo-deny looks at the whole lock file, and a build fetches less.
  cargo fetch --locked --quiet
  cargo deny --locked --offline check bans licenses sources
  if [ -z "$offline" ] && timeout 120 cargo deny fetch db; then
    cargo deny --locked --offline check advisories
  else
    left_out "advisories about dependencies" "the RustSec database, which is at GitHub, is out of reach"
  fi
}

fuzz() { # SECONDS for each target
  cargo_program cargo-fuzz 0.13.2
  fuzz/run "$1"
}

# The tiers.

step "commit subjects" subjects
step formatting cargo fmt --all --check
step "tests that pages name" named_tests
step "shell scripts" shell_scripts
step spelling spelling
step lints cargo clippy --locked --workspace --all-targets -- -D warnings
if [ "$tier" = fast ]; then
  # Most of these tests wait: twice as many at once as there are cores.
  step "tests, but for the simulated weeks" cargo test --locked --workspace --lib --bins --tests --quiet -- \
    --test-threads "$((2 * $(nproc)))" --skip simulated::weeks
  exit
fi

[ -n "$offline" ] || need npm "install Node.js 20 or later"
step "Debian packages" apt_packages ip:iproute2 javac:default-jdk-headless readelf:binutils rpm:rpm curl:curl \
  mmdebstrap:mmdebstrap systemd-nspawn:systemd-container buildah:buildah podman:podman crun:crun
step dependencies dependencies
step documentation documentation
step "each package and each feature" features
step tests cargo test --locked --workspace
step "the demo" cargo run --locked --quiet --example demo -- --once
step "everything at once, for twenty seconds" cargo run --locked --quiet --example chaos -- --short
all=()
[ "$tier" = plain ] || all=(--all)
if [ -n "$offline" ]; then
  left_out "real clients, policies, onboarding, sinks and the examples in deploy/" "--offline"
else
  step "real clients" tests/clients/run "${all[@]}"
  step "real clients of instance metadata, in a network namespace" tests/imds/run "${all[@]}"
  step "policies, tried in an IAM" tests/policy/run
  step "onboarding, as its page says" tests/onboarding/run
  step "the sinks' recipes, as their pages say" tests/sinks/run
  step "the examples in deploy/" tests/deploy/run
fi
step "watched by a real Prometheus" tests/prometheus/run
if [ "$tier" = whole ]; then
  step "the package, under a real systemd, five times" tests/systemd/run --whole
else
  step "the package, under a real systemd" tests/systemd/run
fi
step "the container image" tests/container/run
[ "$tier" = whole ] || exit 0

step "Debian packages for aarch64" apt_packages aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu \
  /usr/aarch64-linux-gnu/lib/crt1.o:libc6-dev-arm64-cross qemu-aarch64-static:qemu-user-static openssl:openssl
step "on aarch64" tests/arm/run --units
step "everything at once, for five minutes" cargo run --locked --quiet --release --example chaos -- --minutes 5
step "fuzzing, a minute for each target" fuzz 60
step "the limits of performance" benches/run
