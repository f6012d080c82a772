//! How long does recording a trajectory take, and does the buffer drop any? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("trajectory")
}
