//! How good are the texts of the diffusion model? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("diffusion_quality")
}
