#!/bin/sh
set -eu
promptc() { ${PROMPTC:-cargo run --quiet --locked --manifest-path "$(dirname "$0")/../Cargo.toml" --} "$@"; }
promptc gate "$(dirname "$0")"/../queries/gates/*.sql "$@" && promptc bench report
