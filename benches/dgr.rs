//! How much of a denoising step does guided retrieval cost? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("dgr")
}
