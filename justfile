# `just` lists the recipes by group. Two commands are enough for a newcomer: `just demo` and `just test`.

set shell := ["bash", "-euo", "pipefail", "-c"]

cache := env("SAILHAND_CACHE", justfile_directory() / ".cache")
control_plane := cache / "control-plane"

# List the recipes.
default:
    @just --list --unsorted

# Watch a command travel from the bus to a cluster and back, on real servers.
[group('run')]
[no-exit-message]
demo *args:
    deploy/demo/run.sh --build {{ args }}

# Make the pictures of the README from what the program and the demo print (needs python3).
[group('run')]
picture: (tools "charts")
    cargo build --locked --workspace
    deploy/demo/picture.py analyze target/debug/sailhand >docs/pictures/analyze.svg
    deploy/demo/picture.py demo >docs/pictures/demo.svg

# Run every test against real servers; ends with 'N passed, N failed'.
[group('test')]
[no-exit-message]
test *parts:
    tests/run.sh {{ parts }}

# Prepare the real servers in .cache/bin (12 CPU minutes the first time); `just tools node` prepares all.
[group('setup')]
tools *group:
    tests/tools/build.sh {{ group }}

[group('build')]
build:
    cargo build --locked

# What has to hold before a commit, without the tests.
[group('check')]
check: fmt-check clippy doc deny schemas-check workflows-check prose

[group('check')]
fmt:
    cargo fmt

[group('check')]
fmt-check:
    cargo fmt --check

[group('check')]
clippy:
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

[group('check')]
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# Each package alone, and each feature: what a default build of the whole workspace does not show.
[group('check')]
check-features:
    for package in sailhand-base sailhand-analysis sailhand-analyze sailhand; do cargo check --locked --package "$package"; done
    cargo check --locked --package sailhand --all-targets --features failpoints

# The workflows of .github, if the linter is there: `just tools lint` builds it.
[group('check')]
workflows-check:
    #!/usr/bin/env bash
    if [[ -x {{ cache }}/bin/actionlint ]]; then
        {{ cache }}/bin/actionlint
    else
        echo "NOT RUN: {{ cache }}/bin/actionlint is missing; just tools lint builds it"
    fi

# Install a git hook that runs `just pre-commit` before each commit.
[group('setup')]
hook:
    #!/usr/bin/env bash
    set -euo pipefail
    hook=$(git rev-parse --git-path hooks/pre-commit)
    mkdir -p "$(dirname "$hook")"
    printf '#!/bin/sh\nexec just pre-commit\n' >"$hook"
    chmod +x "$hook"
    echo "$hook runs just pre-commit"

# Checks of the files that are staged: formatting, and where Rust changed, clippy and the schemas.
[group('check')]
pre-commit:
    #!/usr/bin/env bash
    set -euo pipefail
    staged=$(git diff --cached --name-only --diff-filter=ACMR)
    if grep -qE '\.rs$|Cargo\.(toml|lock)$' <<<"$staged"; then
        just fmt-check
        cargo clippy --locked --workspace -- -D warnings
        just schemas-check
    fi
    if grep -q '^\.github/' <<<"$staged"; then just workflows-check; fi

# Words that docs/style.md replaces, in the documentation and in comments and strings of the code; `just test-unit` checks
# the texts of rules and errors.
[group('check')]
prose *files:
    tests/prose/check.sh {{ files }}
    tests/prose/code.sh

# Licenses, bans and sources of all dependencies.
[group('check')]
deny: cargo-deny
    cargo deny --locked check bans licenses sources

# Known vulnerabilities, by the live advisory database.
[group('check')]
audit: cargo-deny
    cargo deny --locked check advisories

[private]
cargo-deny:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --debug --locked --version 0.20.2

# Tests that need nothing but Rust: unit tests and the checks of the repository. Under a minute once it is built.
[group('test')]
test-unit *args:
    cargo test --locked --workspace --lib --bins --test it_docs {{ args }}

# Properties and random schedules; needs nothing but Rust.
[group('test')]
test-prop *args:
    cargo test --locked --test it_prop {{ args }}

# The analysis: its rules beside Istio's own analyzers, its outputs, its readers.
[group('test')]
test-analysis *args: (tools "istio")
    cargo test --locked --test it_analysis {{ args }}

# Tests against a real nats-server.
[group('test')]
test-bus *args: tools
    cargo test --locked --test it_bus {{ args }}

# The command line, against a real nats-server.
[group('test')]
test-cli *args: tools
    cargo test --locked --test it_cli {{ args }}

# Meshery's gRPC contract, against a real nats-server and worker.
[group('test')]
test-bridge *args: tools
    cargo test --locked --test it_bridge {{ args }}

# Generates the Rust code of Meshery's gRPC contract from proto/.
proto:
    cargo run --quiet --locked --target-dir target/proto --manifest-path tests/tools/proto/Cargo.toml -- proto/meshops.proto src/bridge/proto
    sha256sum < proto/meshops.proto | cut -c 1-64 > src/bridge/proto/meshops.sha256

# The dashboard over HTTP, against a real nats-server and worker.
[group('test')]
test-dashboard *args: tools
    cargo test --locked --test it_dashboard {{ args }}

# The gateway over HTTP, against a real nats-server and worker.
[group('test')]
test-gateway *args: tools
    cargo test --locked --test it_gateway {{ args }}

# Tests against a real API server.
[group('test')]
test-cluster *args: tools
    cargo test --locked --test it_cluster {{ args }}

# Istio's life cycle, with its charts, on real API servers.
[group('test')]
test-mesh *args: (tools "istio")
    cargo test --locked --test it_mesh {{ args }}

# Tests with both a nats-server and an API server.
[group('test')]
test-e2e *args: tools
    cargo test --locked --test it_e2e {{ args }}

# Faults: seeded schedules on real servers and processes, `--seeds N` of them or one with `--seed S`; see tests/README.md.
[group('test')]
[no-exit-message]
chaos *args="--seeds 1000": tools
    PROPTEST_CASES=5000 cargo test --locked --test it_prop engine::
    cargo test --locked --features failpoints --test chaos_run -- {{ args }}

# Play an adversary with the rights of a producer beside honest producers: on the bus in memory, and on real servers.
[group('test')]
hostile seeds="2000" real="100": tools
    PROPTEST_CASES={{ seeds }} cargo test --locked --test it_prop hostile::
    SAILHAND_HOSTILE_SEEDS={{ real }} cargo test --locked --test it_e2e hostile:: -- --nocapture

# Explore the model of the delivery protocol, and print the rules and the counterexamples without them.
[group('test')]
protocol-model:
    cargo test --locked --test it_prop protocol:: -- --nocapture

# Print the memory of a worker with all slots in use, and the memory limit of the chart.
[group('test')]
soak: tools
    cargo test --locked --test it_e2e soak:: -- --nocapture

# Single faults that are made to happen for certain.
[group('test')]
test-chaos *args: tools
    cargo test --locked --features failpoints --test it_chaos {{ args }}

# Apply generated trees of manifests to a real API server, and compare the findings with those of the folders and of istioctl.
[group('test')]
analysis-trees seeds="24": (tools "istio")
    SAILHAND_TREE_SEEDS={{ seeds }} cargo test --locked --test it_analysis applied_tree

# Print the table of broken data planes and the conformance cases that catch them (docs/conformance.md).
conformance-mutants:
    cargo test --locked --test it_prop conformance every_mutant -- --nocapture | grep '^| '

# Print the table of SMI controllers that are wrong on purpose, tried with real sidecars on the node of `just cluster-up`.
[group('test')]
conformance-mutants-real: (tools "node")
    cargo build --locked --example smi-mutants --bin sailhand
    tests/real/run.sh "Istio becomes ready" "SMI controller becomes ready" "wrong controller"

# Time from a change of an SMI object to its enforcement in a real sidecar, beside that of the same Istio object.
[group('test')]
smi-latency: (tools "node")
    cargo build --locked
    tests/real/run.sh "Istio becomes ready" "SMI controller becomes ready" "as fast as istiod"

# Memory and resync of the SMI controller with 1,000 TrafficTargets and 1,000 TrafficSplits, on the node of `just cluster-up`
# with the CRDs of `smi.install`. SAILHAND_BIN names the program, such as that of a release build.
[group('measure')]
smi-scale count="1000": (tools "node")
    KUBECONFIG={{ cache }}/node/admin.kubeconfig tests/real/scale.py {{ count }}

# Clients written with other people's libraries, through a real worker; and the schemas by independent tools.
[group('test')]
test-clients:
    tests/run.sh schemas clients

# The dashboard in a real Chromium, with axe-core; pictures are in .cache/browser-pictures.
[group('test')]
[no-exit-message]
test-browser:
    tests/run.sh browser

# Give random input to the readers of strangers' bytes: one target, or all; for so many seconds each.
[group('test')]
fuzz target="all" seconds="60":
    tests/fuzz.sh {{ target }} {{ seconds }}

# Write the types of clients/ from schemas/.
[group('build')]
client-types:
    python3 clients/generate.py

# Write schemas/ from the types.
[group('build')]
schemas:
    cargo run --locked --quiet -- schema

# Do the files in schemas/ agree with the types?
[group('check')]
schemas-check:
    cargo run --locked --quiet -- schema --check

# Make the schemas of Istio's and the Gateway API's kinds from their definitions (the modules pinned in tests/tools/kubernetes-clients).
[group('build')]
crd-schemas:
    #!/usr/bin/env bash
    set -euo pipefail
    cd tests/tools/kubernetes-clients
    go mod download istio.io/api sigs.k8s.io/gateway-api
    folder() { go list -m -f '{{{{.Dir}}' "$1"; }
    version() { echo "$1 $(go list -m -f '{{{{.Version}}' "$1")"; }
    istio=$(folder istio.io/api) gateway=$(folder sigs.k8s.io/gateway-api)
    sources=(--source "$(version istio.io/api)" --source "$(version sigs.k8s.io/gateway-api), experimental channel")
    cd ../../..
    cargo run --locked --quiet -- crd-schemas "${sources[@]}" \
        "$istio"/kubernetes/customresourcedefinitions.gen.yaml "$gateway"/config/crd/experimental/gateway.*.yaml

# Measure: `bus_path`, `apply`, `analyze`, `reanalyze`, `install`, `scale`, `backlog`, `start`: one with its options, or all; `--quick` for short runs, `history` for earlier figures.
[group('measure')]
bench name="" *args="": (tools "istio")
    cargo bench --locked --bench sailhand-bench {{ if name == "" { "" } else { "-- " + name + " " + args } }}

# A worker on the current kubeconfig context with its own nats-server, in the foreground.
[group('run')]
dev *args: tools
    PATH="{{ cache }}/bin:$PATH" cargo run --locked -- dev {{ args }}

# A nats-server with JetStream on 127.0.0.1:4222, in the foreground.
[group('run')]
nats *args: tools
    {{ cache }}/bin/nats-server --addr 127.0.0.1 --jetstream --store_dir {{ cache }}/nats {{ args }}

# A real single-node cluster, as root on Linux; prints its kubeconfig. See tests/cluster.
[group('run')]
cluster-up *args:
    tests/cluster/cluster up {{ args }}

[group('run')]
cluster-down:
    tests/cluster/cluster down

# A control plane with simulated nodes; prints its kubeconfig.
[group('run')]
control-plane-up *args: tools
    tests/support/control-plane.sh up {{ control_plane }} {{ args }}

[group('run')]
control-plane-down:
    tests/support/control-plane.sh down {{ control_plane }}

# Pins the base images of deploy/Dockerfile by the digests that their tags have now (needs access to the registries).
pin-images:
    python3 deploy/release/pin_images.py deploy/Dockerfile

# The container image (needs docker or podman as $CONTAINER_TOOL).
[group('build')]
image tag="sailhand:dev":
    "${CONTAINER_TOOL:-docker}" build --file deploy/Dockerfile --tag {{ tag }} .

# The files of a release in `dist`: archives for this machine (and aarch64 where its Rust target and linker are), SBOM,
# chart, manifests, checksums.
[group('build')]
release:
    #!/usr/bin/env bash
    set -euo pipefail
    deploy/release/release.sh version
    rm -rf dist
    # No path of this machine in the programs.
    export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    host=$(rustc -vV | sed -n 's/^host: //p')
    for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
        platform=linux-amd64
        if [[ $target == aarch64-* ]]; then platform=linux-arm64; fi
        if [[ $target != "$host" ]]; then
            if ! rustup target list --installed | grep -qx "$target" || ! command -v "${target/-unknown/}-gcc" >/dev/null; then
                echo "NOT MADE: $platform needs 'rustup target add $target' and ${target/-unknown/}-gcc"
                continue
            fi
            export "CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_LINKER=${target/-unknown/}-gcc"
        fi
        cargo build --locked --release --target "$target" --package sailhand --package sailhand-analyze
        SAILHAND_BIN=target/$host/release/sailhand deploy/release/release.sh pack "$platform" "target/$target/release"
    done
    deploy/release/release.sh finish

# What `just release` makes, with the programs of the debug build.
[group('check')]
release-check:
    cargo build --locked --workspace
    deploy/release/check.sh

# The Helm chart: templates, values, alerts. Needs helm and promtool (`just tools istio`).
[group('check')]
chart-lint:
    deploy/helm/check.sh
