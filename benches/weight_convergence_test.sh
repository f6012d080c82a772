#!/bin/sh
set -eu
exec cargo bench --locked --manifest-path "$(dirname "$0")/../Cargo.toml" --bench weight_dynamics -- convergence "$@"
