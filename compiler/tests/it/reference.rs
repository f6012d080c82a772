//! The language reference: its programs check, its tables are those of the catalog.
//!
//! ```text
//! ```promptc                        checks without a diagnostic
//! ```promptc file=common.promptc    the same, unused declarations allowed; later blocks may import it by this name
//! ```promptc warns W0404            gives exactly these warnings
//! ```promptc wrong E0503            gives exactly these errors
//! ```
//!
//! Tables stand between `<!-- generated: NAME -->` and `<!-- end -->`; `PROMPTC_BLESS=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};

use promptc_compiler::catalog::declarations::{self, Format, INDEX_KINDS};
use promptc_compiler::catalog::functions::{Argument, FUNCTIONS, Function, Group, Returns};
use promptc_compiler::catalog::operators::{Alias, OPERATORS};
use promptc_compiler::catalog::{Accepts, Fallback, FieldSpec, operator};
use promptc_compiler::diagnostic::render::{Style, render_all};
use promptc_compiler::diagnostic::{Code, Severity};
use promptc_compiler::{Input, check};

use crate::corpus::{programs, root};

const REFERENCE: &str = "grammar/README.md";
const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// A fenced program of a Markdown text.
struct Block {
    /// `grammar/README.md:120`
    place: String,
    /// What follows `promptc` on the opening fence.
    info: String,
    text: String,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced programs of a file, in order.
fn blocks(path: &str) -> Vec<Block> {
    let text = read(path);
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in text.lines().zip(1..) {
        match &mut open {
            Some(block) if line == "```" => {
                assert!(!block.text.is_empty(), "{}: an empty program", block.place);
                found.extend(open.take());
            }
            Some(block) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {
                if let Some(info) = line.strip_prefix("```promptc") {
                    let place = format!("{path}:{number}");
                    open = Some(Block { place, info: info.trim().to_owned(), text: String::new() });
                }
            }
        }
    }
    assert!(open.is_none(), "{path}: a program is not closed");
    found
}

/// What the opening fence promises.
#[derive(Default)]
struct Promise {
    /// The name under which later blocks may import it.
    file: Option<String>,
    errors: BTreeSet<String>,
    warnings: BTreeSet<String>,
}

impl Promise {
    fn of(block: &Block) -> Self {
        let words: Vec<&str> = block.info.split_whitespace().collect();
        let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<_>>();
        match words.as_slice() {
            [] => Self::default(),
            ["wrong", rest @ ..] if !rest.is_empty() => Self { errors: codes(rest), ..Self::default() },
            ["warns", rest @ ..] if !rest.is_empty() => Self { warnings: codes(rest), ..Self::default() },
            [word] if word.starts_with("file=") => {
                Self { file: word.strip_prefix("file=").map(str::to_owned), ..Self::default() }
            }
            _ => panic!("{}: unknown marks `{}`", block.place, block.info),
        }
    }
}

/// Checks a program: the codes of its errors and warnings, and the whole output.
fn findings(
    name: &str,
    text: &str,
    imports: &BTreeMap<String, String>,
) -> (BTreeSet<String>, BTreeSet<String>, String) {
    let mut loader = |_: &str, path: &str| match imports.get(path) {
        Some(text) => Ok((path.to_owned(), text.clone())),
        None => Err(format!("no program `{path}` stands above")),
    };
    let checked = check(Input {
        name,
        text,
        loader: &mut loader,
        set: BTreeMap::new(),
        environment: &|_| None,
        home: Some("/home/user".to_owned()),
        encoders: &promptc_compiler::no_encoders,
        deny_warnings: false,
    });
    let of = |severity: Severity| {
        let found = checked.diagnostics.iter().filter(|found| found.severity == severity);
        found.map(|found| found.code.text().to_owned()).collect::<BTreeSet<_>>()
    };
    let shown = render_all(&checked.diagnostics, &checked.sources, Style::Plain);
    (of(Severity::Error), of(Severity::Warning), shown)
}

/// Blocks that do not keep their promise.
fn broken(blocks: &[Block]) -> Vec<String> {
    let mut imports = BTreeMap::new();
    let mut wrong = Vec::new();
    for block in blocks {
        let mut promise = Promise::of(block);
        let (errors, warnings, shown) = findings("program.promptc", &block.text, &imports);
        if let Some(file) = promise.file.take() {
            imports.insert(file, block.text.clone());
            // What a file offers to others need not be used in it.
            promise.warnings = warnings.iter().filter(|code| *code == "W0201").cloned().collect();
        }
        // Lints run on programs without errors only, so a wrong program need not promise warnings.
        let is_kept = errors == promise.errors && (!errors.is_empty() || warnings == promise.warnings);
        if !is_kept {
            wrong.push(format!("{} `{}`\n{shown}", block.place, block.info));
        }
    }
    wrong
}

#[test]
fn programs_of_the_reference_check() {
    let blocks = blocks(REFERENCE);
    assert!(blocks.len() > 40, "the reference has {} programs", blocks.len());
    let wrong = broken(&blocks);
    assert!(wrong.is_empty(), "{} of {} programs\n\n{}", wrong.len(), blocks.len(), wrong.join("\n"));
}

#[test]
fn programs_of_the_front_page_check() {
    let wrong = broken(&blocks("README.md"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn shipped_programs_check_without_warnings() {
    for (name, text) in programs("pipelines") {
        let (errors, warnings, shown) = findings(&name, &text, &BTreeMap::new());
        assert!(errors.is_empty() && warnings.is_empty(), "{name}\n{shown}");
    }
}

#[test]
fn a_broken_promise_is_seen() {
    let block = |info: &str, text: &str| Block {
        place: "here".to_owned(),
        info: info.to_owned(),
        text: text.to_owned(),
    };
    let unused = "edition 2026\nparam p : tok = 1tok\n";
    let wrong = "edition 2026\nparam p : tok = 1x\n";
    let cases = [
        ("", unused, false),
        ("warns W0201", unused, true),
        ("file=a.promptc", unused, true),
        ("warns W0101", unused, false),
        ("", wrong, false),
        ("wrong E0304", wrong, true),
        ("wrong E0303", wrong, false),
        ("wrong E0304", unused, false),
    ];
    for (info, text, is_kept) in cases {
        assert_eq!(broken(&[block(info, text)]).is_empty(), is_kept, "`{info}` {text}");
    }
}

#[test]
fn every_operator_and_kind_has_a_program() {
    let text = blocks(REFERENCE).iter().map(|block| block.text.clone()).collect::<String>();
    let core = OPERATORS.iter().filter(|operator| operator.area.is_none());
    let calls = core.map(|operator| format!("{}(", operator.name));
    let kinds = INDEX_KINDS.iter().map(|(kind, ..)| format!("kind = {kind}"));
    let formats =
        declarations::SOURCES.iter().chain(declarations::SINKS).map(|format| format!("{}(", format.name));
    let missing: Vec<String> =
        calls.chain(kinds).chain(formats).filter(|call| !text.contains(call)).collect();
    assert!(missing.is_empty(), "no program shows {missing:?}");
}

#[test]
fn generated_tables_are_those_of_the_catalog() {
    let old = read(REFERENCE);
    let new = regenerate(&old);
    if std::env::var_os("PROMPTC_BLESS").is_some() {
        std::fs::write(root().join(REFERENCE), &new).expect("the reference is writable");
        return;
    }
    let diff =
        similar::TextDiff::from_lines(&old, &new).unified_diff().header("written", "generated").to_string();
    assert!(old == new, "PROMPTC_BLESS=1 writes the tables anew\n{diff}");
}

/// The text with every generated table made anew; every table that can be made must have its place.
fn regenerate(text: &str) -> String {
    let mut tables = tables();
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(name) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let table = tables.remove(name).unwrap_or_else(|| panic!("no table `{name}`, or it stands twice"));
        out.push_str(&table);
        out.push_str(END);
        out.push('\n');
        assert!(lines.by_ref().any(|line| line == END), "table `{name}` has no end");
    }
    assert!(tables.is_empty(), "no place for {:?}", tables.keys());
    out
}

/// Every table by its name.
fn tables() -> BTreeMap<String, String> {
    let mut tables = BTreeMap::from([
        ("operators".to_owned(), operators()),
        ("functions of rows".to_owned(), functions(Group::Row)),
        ("aggregates".to_owned(), functions(Group::Aggregate)),
        ("functions of constants".to_owned(), functions(Group::Constant)),
        ("functions of models".to_owned(), functions(Group::Model)),
        ("kinds of sources".to_owned(), formats(declarations::SOURCES)),
        ("kinds of sinks".to_owned(), formats(declarations::SINKS)),
        ("kinds of indexes".to_owned(), index_kinds()),
        ("codes".to_owned(), codes()),
    ]);
    let blocks = [
        ("param", declarations::PARAM),
        ("source", declarations::SOURCE),
        ("tokenizer", declarations::TOKENIZER),
        ("embedder", declarations::EMBEDDER),
        ("index", declarations::INDEX),
    ];
    tables.extend(blocks.map(|(name, specs)| (format!("fields of {name}"), fields("Field", specs))));
    for name in ["chunk", "compress", "dedup", "embed", "retrieve", "join", "sort", "sample", "sql"] {
        let operator = operator(name).expect("an operator of the catalog");
        tables.insert(format!("parameters of {name}"), fields("Parameter", operator.parameters));
    }
    tables
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut out = line(&head);
    out.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out.push_str(&line(&cells));
    }
    out
}

fn operators() -> String {
    let rows = OPERATORS.iter().map(|operator| {
        let alias = match operator.alias {
            Alias::Required => "required",
            Alias::Optional => "optional",
            Alias::Refused => "refused",
        };
        vec![
            format!("`{}`", operator.name),
            operator.doc.to_owned(),
            words(&format!("{:?}", operator.class)),
            words(&format!("{:?}", operator.effect)),
            alias.to_owned(),
            operator.area.map_or("yes".to_owned(), |area| format!("no: area `{area}`")),
        ]
    });
    table(&["Operator", "What it does", "Class", "Effect", "`as`", "Runs"], rows)
}

/// `RowWise` as `row wise`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn functions(group: Group) -> String {
    let rows = FUNCTIONS.iter().filter(|function| function.group == group).map(|function| {
        let result = result(function);
        vec![format!("`{}`", signature(function)), format!("`{result}`"), function.doc.to_owned()]
    });
    table(&["Function", "Result", "Value"], rows)
}

/// `slice(text or list, int, int)`; optional arguments in brackets, `...` for more of the last.
fn signature(function: &Function) -> String {
    let args = function.arguments.iter().enumerate().map(|(idx, argument)| {
        let name = argument_name(function.name, *argument);
        if idx < function.required { name.to_owned() } else { format!("[{name}]") }
    });
    let mut args: Vec<String> = args.collect();
    if function.is_variadic {
        args.push("...".to_owned());
    }
    let named = if function.name == "contents" { ", roles = [text]" } else { "" };
    format!("{}({}{named})", function.name, args.join(", "))
}

fn argument_name(function: &str, argument: Argument) -> &'static str {
    match argument {
        Argument::Any if matches!(function, "len" | "slice") => "text or list",
        Argument::Any if function == "tokens_of" => "tokenizer",
        Argument::Any if function == "quantile" => "share",
        Argument::Any if function == "env" => "default",
        Argument::Any => "any",
        Argument::Text => "text",
        Argument::TextOrTexts => "text or list<text>",
        Argument::Texts => "list<text>",
        Argument::Bool => "bool",
        Argument::Int => "int",
        Argument::Number => "number",
        Argument::Numbers => "number or list of numbers",
        Argument::List => "list",
        Argument::Element => "element",
        Argument::Same => "same",
        Argument::Regex => "regex",
        Argument::Spans => "list<span>",
        Argument::Grades => "map<text, int> or list<text>",
        Argument::Vector => "vector",
    }
}

/// The result's type in words; panics for a function with a rule of its own that is not described here.
fn result(function: &Function) -> &'static str {
    match function.returns {
        Returns::Bool => "bool",
        Returns::Text => "text",
        Returns::OptionalText => "text?",
        Returns::Texts => "list<text>",
        Returns::I64 => "i64",
        Returns::F64 => "f64",
        Returns::Size => "size",
        Returns::Same => "as the first",
        Returns::OptionalElement => "element?",
        Returns::Flat => "the inner list",
        Returns::Special => match function.name {
            "if" => "common type of the last two",
            "coalesce" => "common type, non-null if one argument is",
            "tokens_of" => "tok",
            "count" => "i64",
            "sum" => "i64, u64, f64, or the unit",
            "mean" => "f64, the unit, or share of bools",
            "median" | "mad" => "f64, or the unit",
            "stddev" => "f64? or the unit, null of one row",
            "min" | "max" | "quantile" | "p50" | "p90" | "p95" | "p99" | "first" => "as the argument",
            "collect" => "list of the argument",
            other => panic!("the result of `{other}` is not described"),
        },
    }
}

fn formats(formats: &[Format]) -> String {
    let rows = formats.iter().map(|format| {
        let parameters = format.parameters.iter().map(|spec| {
            let default = default(spec);
            if default.is_empty() { spec.name.to_owned() } else { format!("{} = {default}", spec.name) }
        });
        let parameters: Vec<String> = parameters.collect();
        vec![
            format!("`{}({})`", format.name, parameters.join(", ")),
            format.area.map_or("yes".to_owned(), |area| format!("no: area `{area}`")),
        ]
    });
    table(&["Kind and parameters", "Runs"], rows)
}

fn index_kinds() -> String {
    let rows = INDEX_KINDS.iter().map(|(kind, is_vector, needs_seed, fields)| {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        let over = if *is_vector { "vectors" } else { "text" };
        let seed = if *needs_seed { "required" } else { "" };
        vec![format!("`{kind}`"), over.to_owned(), fields.join(", "), seed.to_owned()]
    });
    table(&["Kind", "Over", "Fields beside `kind`", "`seed`"], rows)
}

/// One row for each family of codes.
fn codes() -> String {
    let mut families: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for code in Code::ALL {
        let text = code.text();
        let family = if text.starts_with('W') { "W" } else { &text[..3] };
        families.entry(family.to_owned()).or_default().push(format!("`{text}` {}", code.summary()));
    }
    let rows = families.into_iter().map(|(family, codes)| vec![format!("`{family}`"), codes.join("; ")]);
    table(&["Family", "Codes"], rows)
}

fn fields(head: &str, specs: &[FieldSpec]) -> String {
    let rows = specs.iter().map(|spec| {
        let default = match spec.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::None => String::new(),
            _ => format!("`{}`", default(spec)),
        };
        vec![format!("`{}`", spec.name), accepts(&spec.accepts), default, spec.doc.to_owned()]
    });
    table(&[head, "Takes", "Default", "Meaning"], rows)
}

/// The default as a program writes it; empty without one.
fn default(spec: &FieldSpec) -> String {
    match spec.fallback {
        Fallback::None | Fallback::Required => String::new(),
        Fallback::Bool(value) => value.to_string(),
        Fallback::Int(value) => match spec.accepts {
            Accepts::Tok => format!("{value}tok"),
            Accepts::Size => format!("{}MiB", value >> 20),
            _ => value.to_string(),
        },
        Fallback::Float(value) => match spec.accepts {
            Accepts::Share => format!("{}%", value * 100.0),
            _ => value.to_string(),
        },
        Fallback::Text(value) if matches!(spec.accepts, Accepts::Choice(_)) => value.to_owned(),
        Fallback::Text(value) => format!("\"{value}\""),
        Fallback::OneText(value) => format!("[\"{value}\"]"),
        Fallback::Ints(values) => format!("{values:?}"),
        Fallback::EmptyList => "[]".to_owned(),
    }
}

fn accepts(accepts: &Accepts) -> String {
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let kinds = |kinds: &[promptc_compiler::catalog::DeclKind]| {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.noun()).collect();
        names.join(" or ")
    };
    let range = |from: String, to: String| format!("{from} to {to}");
    match accepts {
        Accepts::Bool => "bool".to_owned(),
        Accepts::Int(from, i64::MAX) => format!("whole number from {from}"),
        Accepts::Int(from, to) => format!("whole number, {}", range(from.to_string(), to.to_string())),
        Accepts::Seed => "seed".to_owned(),
        Accepts::Float(from, to) => format!("number, {}", range(from.to_string(), to.to_string())),
        Accepts::Text => "text".to_owned(),
        Accepts::Texts => "list of texts".to_owned(),
        Accepts::Ints(from, to) => format!("list of {}", range(from.to_string(), to.to_string())),
        Accepts::Tok => "tokens".to_owned(),
        Accepts::Ratio => "ratio".to_owned(),
        Accepts::Share => "share".to_owned(),
        Accepts::Duration => "duration".to_owned(),
        Accepts::Size => "size".to_owned(),
        Accepts::Choice(names) => list(names),
        Accepts::Choices(names) => format!("list of {}", list(names)),
        Accepts::Declared(names) => format!("name of {}", kinds(names)),
        Accepts::DeclaredList(names) => format!("name or list of {}", kinds(names)),
        Accepts::Block(_) | Accepts::OpenBlock => "block".to_owned(),
        Accepts::Raw => "see below".to_owned(),
    }
}
