#!/usr/bin/env bash
# Fuzzes one target, or each of them, for some seconds; new finds stay in .cache/fuzz. Fails when an input breaks a
# reader, and says where that input is.
#
#   fuzz.sh [TARGET|all] [SECONDS]
#   fuzz.sh [TARGET|all] build       only builds them
#   fuzz.sh [TARGET|all] same        for tests: 40,000 inputs, always the same; as many of them as 12 s allow
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
cache=${SAILHAND_CACHE:-$root/.cache}/fuzz
version=0.13.2
target=${1:-all}
seconds=${2:-60}

if [[ $seconds == same ]]; then
  found=$(mktemp -d)
  trap 'rm -rf "$found"' EXIT
  bounds=(-seed=1 -runs=40000 -max_total_time=12)
else
  found=$cache/corpus
  bounds=(-max_total_time="$seconds")
fi

cd "$root/fuzz"
PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
[[ $(cargo fuzz --version 2>/dev/null) == "cargo-fuzz $version" ]] ||
  cargo install cargo-fuzz --debug --locked --version "$version"

# The same versions as everywhere else; cargo adds what only fuzzing needs.
cp ../Cargo.lock Cargo.lock
# Without a sanitizer: the crate has no `unsafe`, and then the pinned stable toolchain will do.
build=(--sanitizer none --target-dir "$cache/target")
# Tests run too briefly to make up for an optimized build, which compiles the crate as one unit for minutes.
[[ $seconds != build && $seconds != same ]] || build+=(--dev)
targets=("$target")
[[ $target != all ]] || mapfile -t targets < <(cargo fuzz list)
cargo fuzz build "${build[@]}"
[[ $seconds != build ]] || exit 0
for target in "${targets[@]}"; do
  mkdir -p "$found/$target"
  cargo fuzz run "${build[@]}" "$target" "$found/$target" "corpus/$target" -- \
    "${bounds[@]}" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$cache/$target-"
done
