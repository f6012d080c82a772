//! How fast does a language model read and write tokens? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("e2e_bench")
}
