# `just` lists what there is. Two commands are enough for a newcomer: `just demo` and `just test`.

set shell := ["bash", "-euo", "pipefail", "-c"]

cache := env("SAILHAND_CACHE", justfile_directory() / ".cache")
control_plane := cache / "control-plane"

# List the recipes.
default:
    @just --list --unsorted

# Watch a command travel from the bus to a cluster and back, on real servers.
[no-exit-message]
demo *args: (tools "charts")
    cargo build --locked
    deploy/demo/run.sh {{ args }}

# Run every test against real servers; ends with 'N passed, N failed'.
[no-exit-message]
test *parts:
    tests/run.sh {{ parts }}

# Prepare the real servers in .cache/bin (12 minutes on two cores the first time); `just tools node` prepares all.
tools *group:
    tests/tools/build.sh {{ group }}

build:
    cargo build --locked

# What has to hold before a commit, without the tests.
check: fmt-check clippy doc deny schemas-check

fmt:
    cargo fmt

fmt-check:
    cargo fmt --check

clippy:
    cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# Licences, bans and sources of all dependencies.
deny: cargo-deny
    cargo deny --locked check bans licenses sources

# Known vulnerabilities, by the live advisory database.
audit: cargo-deny
    cargo deny --locked check advisories

[private]
cargo-deny:
    @command -v cargo-deny >/dev/null || cargo install cargo-deny --locked --version 0.20.2

# Tests that need nothing but Rust.
test-unit *args:
    cargo test --locked --workspace --lib --bins {{ args }}

# Tests against a real nats-server.
test-bus *args: tools
    cargo test --locked --test 'bus_*' {{ args }}

# Tests against a real API server.
test-cluster *args: tools
    cargo test --locked --test 'cluster_*' {{ args }}

# Tests with both.
test-e2e *args: tools
    cargo test --locked --test 'e2e_*' {{ args }}

# Faults: seeded schedules on real servers and processes, `--seeds N` of them or one with `--seed S`; see tests/README.md.
[no-exit-message]
chaos *args="--seeds 1000": tools
    PROPTEST_CASES=5000 cargo test --locked --test prop_engine
    cargo test --locked --features failpoints --test chaos_run -- {{ args }}

# Single faults that are made to happen for certain.
test-chaos *args: tools
    cargo test --locked --features failpoints --test chaos_scenarios --test chaos_mesh {{ args }}

# Print the table of broken data planes and the conformance cases that catch them (docs/conformance.md).
conformance-mutants:
    cargo test --locked --test conformance_suites every_mutant -- --nocapture | grep '^| '

# Clients written with other people's libraries, through a real worker; and the schemas by independent tools.
test-clients:
    tests/run.sh schemas clients

# Give random input to the readers of strangers' bytes: one target, or all; for so many seconds each.
fuzz target="all" seconds="60":
    tests/fuzz.sh {{ target }} {{ seconds }}

# Write schemas/ from the types.
schemas:
    cargo run --locked --quiet -- schema

# Do the files in schemas/ agree with the types?
schemas-check:
    cargo run --locked --quiet -- schema --check

# Make the schemas of Istio's and the Gateway API's kinds from their definitions (the modules pinned in tests/tools/istio).
crd-schemas:
    #!/usr/bin/env bash
    set -euo pipefail
    cd tests/tools/istio
    go mod download istio.io/api sigs.k8s.io/gateway-api
    folder() { go list -m -f '{{{{.Dir}}' "$1"; }
    version() { echo "$1 $(go list -m -f '{{{{.Version}}' "$1")"; }
    istio=$(folder istio.io/api) gateway=$(folder sigs.k8s.io/gateway-api)
    sources=(--source "$(version istio.io/api)" --source "$(version sigs.k8s.io/gateway-api), experimental channel")
    cd ../../..
    cargo run --locked --quiet -- crd-schemas "${sources[@]}" \
        "$istio"/kubernetes/customresourcedefinitions.gen.yaml "$gateway"/config/crd/experimental/gateway.*.yaml

# Measure: `bus_path`, `apply`, `analyze`, `install`, `scale`, `backlog`, `start`: one with its options, or all.
bench name="" *args="": (tools "istio")
    cargo bench --locked {{ if name == "" { "" } else { "--bench " + name + " -- " + args } }}

# A worker on the current kubeconfig context with its own nats-server, in the foreground.
dev *args: tools
    PATH="{{ cache }}/bin:$PATH" cargo run --locked -- dev {{ args }}

# A nats-server with JetStream on 127.0.0.1:4222, in the foreground.
nats *args: tools
    {{ cache }}/bin/nats-server --addr 127.0.0.1 --jetstream --store_dir {{ cache }}/nats {{ args }}

# A real single-node cluster, as root on Linux; prints its kubeconfig. See tests/cluster.
cluster-up *args:
    tests/cluster/cluster up {{ args }}

cluster-down:
    tests/cluster/cluster down

# A control plane with simulated nodes; prints its kubeconfig.
control-plane-up *args: tools
    tests/support/control-plane.sh up {{ control_plane }} {{ args }}

control-plane-down:
    tests/support/control-plane.sh down {{ control_plane }}

# The container image (needs docker or podman as $CONTAINER_TOOL).
image tag="sailhand:dev":
    "${CONTAINER_TOOL:-docker}" build --file deploy/Dockerfile --tag {{ tag }} .

# The Helm chart (needs helm).
chart-lint:
    helm lint --strict deploy/helm/sailhand
    helm template sailhand deploy/helm/sailhand --values deploy/helm/sailhand/ci/full-values.yaml >/dev/null
