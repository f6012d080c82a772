//! How long does finding the adapter of a token take? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("talora")
}
