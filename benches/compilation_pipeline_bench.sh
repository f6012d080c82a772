#!/bin/sh
set -eu
exec cargo bench --locked --manifest-path "$(dirname "$0")/../Cargo.toml" --bench compile --bench e2e_main_job -- "$@"
