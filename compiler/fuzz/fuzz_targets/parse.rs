//! Any text parses without a panic, with bounded diagnostics, and formatting it twice changes nothing more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptc_compiler::source::SourceId;
use promptc_compiler::syntax::{MAX_SYNTAX_DIAGNOSTICS, format, parse};

fuzz_target!(|text: &str| {
    let mut diagnostics = Vec::new();
    let file = parse(SourceId(0), text, &mut diagnostics);
    assert!(diagnostics.len() <= MAX_SYNTAX_DIAGNOSTICS);
    let once = format(&file, text);
    let again = parse(SourceId(0), &once, &mut Vec::new());
    assert_eq!(format(&again, &once), once);
});
