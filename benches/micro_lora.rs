//! How long does the smallest adapter take, forward and per update? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("micro_lora")
}
