//! How long does finding and searching patterns take, and how many does the search find? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("patterns")
}
