#!/bin/sh
set -eu
exec ${PROMPTC:-cargo run --quiet --locked --manifest-path "$(dirname "$0")/../Cargo.toml" --} stress serve --clients 1000 "$@"
