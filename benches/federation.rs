//! How long does a federated round take, and does it converge under attack? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("federation")
}
