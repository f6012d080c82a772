//! How long does a low-rank adapter of a layer take, alone and in batches? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("lora_bench")
}
