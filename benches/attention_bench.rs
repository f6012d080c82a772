//! How long does attention take by kind and length, and what does its cache cost? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("attention_bench")
}
