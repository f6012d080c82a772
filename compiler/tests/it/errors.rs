//! Programs that are wrong: what is said about them, exactly, and the pages that explain it.
//!
//! A file of `grammar/corpus/bad` ends with the expected output, each line after `//~ `. `PROMPTC_BLESS=1` rewrites it; read
//! the difference before committing. A first line `// --set name=value` stands for the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use promptc_compiler::diagnostic::render::{Style, render_all};
use promptc_compiler::diagnostic::{Code, Diagnostic, Severity, edits};
use promptc_compiler::source::{SourceId, SourceMap};
use promptc_compiler::{Input, check};

const MARK: &str = "//~";

fn grammar(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../grammar").join(folder)
}

/// Names and texts of the files of a folder, ordered by name.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(grammar(folder)).expect("the folder is part of the repository");
    let mut found: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect();
    found.sort();
    found
}

/// Checks a text as the command line would, with the options of its first line.
fn findings(name: &str, text: &str) -> (Vec<Diagnostic>, SourceMap) {
    let options = text.lines().next().and_then(|line| line.strip_prefix("// --set ")).unwrap_or("");
    let set: BTreeMap<String, String> = options
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .into_iter()
        .collect();
    let mut loader = |_: &str, path: &str| Err(format!("no import of {path} in a test"));
    let environment = |_: &str| None;
    let home = Some("/home/user".to_owned());
    let input = Input {
        name,
        text,
        loader: &mut loader,
        set,
        environment: &environment,
        home,
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    };
    let checked = check(input);
    (checked.diagnostics, checked.sources)
}

fn split(text: &str) -> (&str, String) {
    let at = text.find(&format!("\n{MARK}")).map_or(text.len(), |at| at + 1);
    let expected = text[at..].lines().map(|line| line.strip_prefix(MARK).unwrap_or(line));
    let expected: Vec<&str> = expected.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    (&text[..at], expected.join("\n"))
}

#[test]
fn bad_programs_say_exactly_what_they_expect() {
    let is_blessing = std::env::var_os("PROMPTC_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, text) in files("corpus/bad", "promptc") {
        let (program, expected) = split(&text);
        // The expected lines are comments: what is found must not depend on them.
        let (diagnostics, sources) = findings(&name, &text);
        let shown = render_all(&diagnostics, &sources, Style::Plain);
        if shown.trim_end() == expected.trim_end() {
            continue;
        }
        if is_blessing {
            let lines: Vec<String> =
                shown.trim_end().lines().map(|line| format!("{MARK} {line}").trim_end().to_owned()).collect();
            let path = grammar("corpus/bad").join(&name);
            std::fs::write(path, format!("{program}{}\n", lines.join("\n"))).expect("the corpus is writable");
            continue;
        }
        wrong.push(format!("{name}\n--- expected\n{expected}\n--- found\n{shown}"));
    }
    assert!(
        wrong.is_empty(),
        "{} files differ; PROMPTC_BLESS=1 rewrites them\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn bad_programs_raise_the_code_they_are_named_after() {
    let mut wrong = Vec::new();
    for (name, text) in files("corpus/bad", "promptc") {
        let codes: Vec<&str> = findings(&name, &text).0.iter().map(|found| found.code.text()).collect();
        if codes != [&name[..5]] {
            wrong.push(format!("{name}: {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Families that `check` raises; the others belong to the store and the engine.
fn is_of_check(code: Code) -> bool {
    let text = code.text();
    // The type of an embedder is what its model folder holds.
    text.starts_with("E0") || text.starts_with("W0") || code == Code::E2202
}

#[test]
fn every_code_of_check_has_a_bad_program() {
    let named: BTreeSet<String> =
        files("corpus/bad", "promptc").into_iter().map(|(name, _)| name[..5].to_owned()).collect();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| is_of_check(**code))
        .map(|code| code.text())
        .filter(|code| !named.contains(*code))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The edits of the main text that may be made unasked.
fn fixed(text: &str, diagnostics: &[Diagnostic]) -> Option<String> {
    let edits = edits::machine_applicable(diagnostics, SourceId(0));
    (!edits.is_empty()).then(|| edits::apply(text, &edits))
}

#[test]
fn machine_applicable_edits_remove_their_diagnostic() {
    let mut wrong = Vec::new();
    let mut edit_count = 0;
    for (name, text) in files("corpus/bad", "promptc") {
        let (diagnostics, _) = findings(&name, &text);
        let Some(changed) = fixed(&text, &diagnostics) else { continue };
        edit_count += 1;
        let again = findings(&name, &changed).0;
        let old: BTreeSet<(Code, String)> = diagnostics
            .iter()
            .filter(|found| found.edit.is_some())
            .map(|found| (found.code, found.message.clone()))
            .collect();
        let left = again.iter().filter(|found| old.contains(&(found.code, found.message.clone())));
        let new_errors = again
            .iter()
            .filter(|found| found.severity == Severity::Error && found.code.text().starts_with("E01"));
        if left.chain(new_errors).next().is_some() {
            wrong.push(format!("{name}: {again:?}\n{changed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(edit_count >= 10, "only {edit_count} files have an edit");
}

/// Programs of a page by the word after the fence: `wrong`, `right`.
fn programs<'t>(page: &'t str, word: &str) -> Vec<&'t str> {
    let open = format!("```promptc {word}\n");
    page.split(open.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_code_has_a_page_that_begins_with_it() {
    let pages: BTreeMap<String, String> = files("errors", "md").into_iter().collect();
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let Some(page) = pages.get(&format!("{}.md", code.text())) else {
            wrong.push(format!("{}: no page", code.text()));
            continue;
        };
        if !page.starts_with(&format!("# {}: {}\n", code.text(), code.summary())) {
            wrong.push(format!("{}: the title is not its summary", code.text()));
        }
        let has_both = !programs(page, "wrong").is_empty() && !programs(page, "right").is_empty();
        if is_of_check(*code) != has_both {
            wrong.push(format!(
                "{}: a wrong and a right program belong on the pages of check alone",
                code.text()
            ));
        }
    }
    assert_eq!(pages.len(), Code::ALL.len(), "pages without a code");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pages_compile_wrong_programs_raise_their_code_and_right_ones_none() {
    let mut wrong = Vec::new();
    for (name, page) in files("errors", "md") {
        let code = name.trim_end_matches(".md");
        for program in programs(&page, "wrong") {
            let codes: BTreeSet<&str> =
                findings(&name, program).0.iter().map(|found| found.code.text()).collect();
            if codes != BTreeSet::from([code]) {
                wrong.push(format!("{name}: the wrong program raises {codes:?}"));
            }
        }
        for program in programs(&page, "right") {
            let (diagnostics, sources) = findings(&name, program);
            if !diagnostics.is_empty() {
                wrong.push(format!(
                    "{name}: the right program\n{}",
                    render_all(&diagnostics, &sources, Style::Plain)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
