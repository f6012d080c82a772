//! Programs that are too large for something: refused in time, and without a crash.

use std::collections::BTreeMap;

use promptc_compiler::diagnostic::{Code, edits};
use promptc_compiler::source::SourceId;
use promptc_compiler::{Checked, Input, check};

fn check_text(text: &str) -> Checked {
    check(Input {
        name: "test.promptc",
        text,
        loader: &mut |_, path| Err(format!("no import of {path} in a test")),
        set: BTreeMap::new(),
        environment: &|_| None,
        home: None,
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    })
}

fn codes(checked: &Checked) -> Vec<Code> {
    checked.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

const DOCS: &str =
    "edition 2026\nsource docs : stream<{ id: text, n: i64 }> = jsonl(\"d.jsonl\") { key = id }\n";

#[test]
fn aliases_of_aliases_do_not_grow_without_end() {
    let mut text = String::from("edition 2026\n");
    for idx in 0..100 {
        text.push_str(&format!("type t{idx} = {{ a: t{0}, b: list<t{0}> }}\n", idx + 1));
    }
    text.push_str("type t100 = text\nsource docs : stream<t0> = jsonl(\"d.jsonl\")\n");
    assert_eq!(codes(&check_text(&text)), [Code::E0501]);

    // Twelve levels are below the limit, alone; three of them in a row are not.
    let base = |fields: &str| {
        let mut text = String::from("edition 2026\ntype t0 = text\n");
        for idx in 1..=11 {
            text.push_str(&format!("type t{idx} = {{ a: t{0}, b: t{0} }}\n", idx - 1));
        }
        format!(
            "{text}source docs : stream<{{ {fields} }}> = jsonl(\"d.jsonl\") {{ key = id }}\nquery q = sql #\"SELECT id FROM docs\"#\n"
        )
    };
    assert_eq!(codes(&check_text(&base("id: text, x: t11"))), []);
    assert_eq!(codes(&check_text(&base("id: text, x: t11, y: t11, z: t11"))), [Code::E0501]);
}

#[test]
fn deep_sql_is_an_error_wherever_it_stands() {
    for terms in [3_000, 20_000, 200_000] {
        let sum = format!("SELECT id, 1{} AS n", "+1".repeat(terms));
        for text in [
            format!("{DOCS}pipeline p {{ docs |> sql(#\"{sum} FROM input\"#, key = id) -> out }}\n"),
            format!("{DOCS}query q = sql #\"{sum} FROM docs\"#\n"),
        ] {
            let checked = check_text(&text);
            assert_eq!(codes(&checked), [Code::E0501], "{terms} terms");
            assert!(checked.diagnostics[0].message.starts_with("SQL is too deep"));
        }
    }
}

#[test]
fn sql_at_the_limit_is_checked_on_a_small_stack() {
    // `UNION ALL` counts twice.
    let shapes: [(usize, &str, &str, &str); 5] = [
        (490, "SELECT id, 1", "+1", " AS n FROM docs"),
        (490, "SELECT id FROM docs WHERE true", " OR true", ""),
        (245, "SELECT id FROM docs", " UNION ALL SELECT id FROM docs", ""),
        (490, "SELECT id, ", "(", "1"),
        (490, "SELECT id, n", "::BIGINT", " AS n FROM docs"),
    ];
    for (count, head, middle, tail) in shapes {
        let sql = format!("{head}{}{tail}", middle.repeat(count));
        let text = format!("{DOCS}query q = sql #\"{sql}\"#\n");
        let checker =
            std::thread::Builder::new().stack_size(2 << 20).spawn(move || codes(&check_text(&text)));
        let found = checker.expect("a thread").join().expect("no overflow");
        assert!(!found.contains(&Code::E0501), "{middle}");
    }
}

#[test]
fn an_edition_is_added_on_a_line_of_its_own() {
    for (text, expected) in [
        ("//! A note", "//! A note\nedition 2026\n"),
        ("//! A note\n", "//! A note\nedition 2026\n"),
        ("", "edition 2026\n"),
    ] {
        let checked = check_text(text);
        let found = edits::machine_applicable(&checked.diagnostics, SourceId(0));
        assert_eq!(edits::apply(text, &found), expected, "{text:?}");
    }
}

#[test]
fn a_file_has_at_most_a_thousand_findings() {
    let mut text = String::from("edition 2026\n");
    for idx in 0..5_000 {
        text.push_str(&format!("param p{idx} : i64 = \"x\"\n"));
    }
    let checked = check_text(&text);
    assert_eq!(checked.diagnostics.len(), 1_000);
    assert!(checked.has_errors());
    let last = checked.diagnostics.last().expect("findings");
    assert_eq!(last.notes.last().map(String::as_str), Some("4000 more findings of this file are left out"));
    assert!(checked.diagnostics[..999].iter().all(|diagnostic| diagnostic.notes.is_empty()));
}
