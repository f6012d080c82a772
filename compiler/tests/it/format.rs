//! The formatter: formatting twice changes nothing, the tree and the comments stay.

use std::sync::LazyLock;

use promptc_compiler::diagnostic::Severity;
use promptc_compiler::syntax::ast::File;
use promptc_compiler::syntax::format;
use proptest::prelude::*;
use regex::Regex;

use crate::corpus::{check, good_programs};

/// The tree as text without places and comments.
fn stripped(file: &File) -> String {
    static PLACES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"Span \{ source: SourceId\(\d+\), start: \d+, end: \d+ \}|offsets: \[[^\]]*\]")
            .expect("a regex")
    });
    let text = format!("{:?} {:?} {:?}", file.edition, file.doc, file.items);
    PLACES.replace_all(&text, "_").into_owned()
}

/// The words of all comments, in the order of the text.
fn comments(file: &File, text: &str) -> Vec<String> {
    file.comments
        .iter()
        .map(|comment| text[comment.span.range()].trim_start_matches('/').trim().to_owned())
        .collect()
}

/// What is wrong with the formatting of a text, if anything.
fn fault(text: &str) -> Option<String> {
    let (file, diagnostics) = check(text);
    let once = format(&file, text);
    let (again, _) = check(&once);
    let twice = format(&again, &once);
    if once != twice {
        return Some(format!("formatting twice differs:\n{}", diff(&once, &twice)));
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return None;
    }
    if stripped(&file) != stripped(&again) {
        return Some(format!(
            "the tree differs:\n{}\n{}",
            diff(text, &once),
            diff(&stripped(&file).replace(',', "\n"), &stripped(&again).replace(',', "\n"))
        ));
    }
    let (mut before, mut after) = (comments(&file, text), comments(&again, &once));
    before.sort();
    after.sort();
    (before != after).then(|| format!("comments differ: {before:?} {after:?}\n{}", diff(text, &once)))
}

fn diff(old: &str, new: &str) -> String {
    similar::TextDiff::from_lines(old, new).unified_diff().context_radius(1).to_string()
}

#[test]
fn formatting_is_idempotent_and_keeps_tree_and_comments() {
    let mut faults = Vec::new();
    for (name, text) in good_programs() {
        faults.extend(fault(&text).map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Blanks, line breaks and comments at random places between the tokens of a program change its layout only.
    #[test]
    fn blanks_and_comments_at_random_places_are_formatted_away(pick in any::<prop::sample::Index>(), seed in any::<u64>(), rate in 2_u64..60) {
        let programs: Vec<String> = good_programs().into_values().collect();
        let text = &programs[pick.index(programs.len())];
        let noisy = with_noise(text, seed, rate);
        let fault = fault(&noisy);
        prop_assert!(fault.is_none(), "{}\n--- of\n{}", fault.unwrap_or_default(), noisy);
    }
}

/// Puts a blank, a line break or a comment at about one in `rate` of the blanks of a program outside strings and comments.
fn with_noise(text: &str, seed: u64, rate: u64) -> String {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let literals =
        Regex::new(r####"(?s)###".*?"###|##".*?"##|#".*?"#|"(\\.|[^"\\\n])*"|//[^\n]*"####).expect("a regex");
    let mut out = String::new();
    let mut noisy = |part: &str, out: &mut String| {
        for character in part.chars() {
            out.push(character);
            if character == ' ' && next() % rate == 0 {
                out.push_str(["  ", "\n", "\n\n\n", "// noise\n", "\n    // alone\n"][next() as usize % 5]);
            }
        }
    };
    let mut at = 0;
    for literal in literals.find_iter(text) {
        noisy(&text[at..literal.start()], &mut out);
        out.push_str(literal.as_str());
        at = literal.end();
    }
    noisy(&text[at..], &mut out);
    out
}

#[test]
fn the_canonical_form() {
    let cases = [
        ("runs of params are aligned", "param a:text=\"x\"\nparam longer : u32 = 1E", None),
        (
            "params",
            "param a:text=\"x\"\nparam longer : u32=1",
            Some("param a      : text = \"x\"\nparam longer : u32  = 1\n"),
        ),
        ("exponents", "param a : f64 = 1e+3", Some("param a : f64 = 1e3\n")),
        (
            "commas go",
            "embedder e {\n kind = x,\n  dim=1}",
            Some("embedder e {\n  kind = x\n  dim  = 1\n}\n"),
        ),
        ("one line stays", "embedder e {kind=x dim=1}", Some("embedder e { kind = x, dim = 1 }\n")),
        ("one step", "pipeline p {\na\n|> f(x)\n-> b}", Some("pipeline p {\n  a |> f(x) -> b\n}\n")),
        (
            "two steps",
            "pipeline p {a|>f(x)|>g(y)as z->b}",
            Some("pipeline p {\n  a\n    |> f(x)\n    |> g(y) as z\n    -> b\n}\n"),
        ),
        (
            "one empty line",
            "type a = b\nparam c : d = 1\n\n\n\nparam e : d = 1",
            Some("type a = b\n\nparam c : d = 1\n\nparam e : d = 1\n"),
        ),
        ("errors stay", "embedder  e {dim  1}\ntype a=b", Some("embedder  e {dim  1}\n\ntype a = b\n")),
        ("illegal characters stay", "param naïve :  text = 1", Some("param naïve :  text = 1\n")),
        ("carriage returns go", "type a = b\r\ntype c = d\r\n", Some("type a = b\ntype c = d\n")),
        ("nothing", "\n\n", Some("")),
    ];
    let mut faults = Vec::new();
    for (name, text, expected) in cases {
        let (file, _) = check(text);
        let found = format(&file, text);
        if expected.is_some_and(|expected| expected != found) {
            faults.push(format!("{name}:\n{found}"));
        }
        faults.extend(fault(text).map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
