//! How long do dreams of the background loop take? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("dreams")
}
