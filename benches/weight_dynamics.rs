//! How many iterations and how long does writing a context into weights take? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("weight_dynamics")
}
