//! How long does one sample of the diffusion model take, by number of steps? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("inference_latency")
}
