//! How long do the three learning loops take, and what do they cost a request? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("loops")
}
