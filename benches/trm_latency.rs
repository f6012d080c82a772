//! How long does recursive reasoning take by number of iterations? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("trm_latency")
}
