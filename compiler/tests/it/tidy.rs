//! The layout of the repository: what may stand where, and who may know whom.
//!
//! Each rule is a function from texts to complaints, so that a test can show that it complains. The files are those that
//! git tracks; without git they are walked, less what `.gitignore` names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use regex::Regex;

use crate::corpus::root;

/// Entries of the root besides `LICENSE` files.
const ROOT_ENTRIES: [&str; 19] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    ".typos.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "compiler",
    "engine",
    "grammar",
    "pipelines",
    "queries",
    "store",
];

/// Which of our crates a crate may depend on. `None`: all of them.
const EDGES: [(&str, Option<&[&str]>); 8] = [
    ("compiler", Some(&[])),
    ("store", Some(&[])),
    ("engine", Some(&["promptc-compiler", "promptc-models", "promptc-store"])),
    ("engine/kernels", Some(&[])),
    ("engine/models", Some(&["promptc-kernels"])),
    ("engine/promptc", Some(&["promptc-engine"])),
    ("engine/wasm", Some(&["promptc-models"])),
    ("benches", None),
];

/// Longest source file, in lines.
const SOURCE_LINES: usize = 800;

/// Ignored by git, and skipped where there is no git.
const IGNORED: [&str; 5] = [".git", "target", ".promptc", "out", "promptc.lock"];

fn files() -> Vec<String> {
    let tracked = || -> Option<Vec<String>> {
        let output = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output().ok()?;
        let names = String::from_utf8(output.stdout).ok()?;
        let names: Vec<String> =
            names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        (output.status.success() && !names.is_empty()).then_some(names)
    };
    let mut names = root().join(".git").exists().then(tracked).flatten().unwrap_or_else(|| {
        let mut names = Vec::new();
        walk(&root(), "", &mut names);
        names
    });
    names.retain(|name| root().join(name).is_file());
    names.sort();
    names
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let entry = entry.expect("readable folder");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_result = ["benches/results", "benches/reports", "benches/analysis"].contains(&path.as_str());
        let is_snapshot = name.ends_with(".pending-snap") || name.ends_with(".snap.new");
        if IGNORED.contains(&name.as_str()) || name.starts_with("target") || is_result || is_snapshot {
            continue;
        }
        if entry.file_type().expect("readable folder").is_dir() {
            walk(&entry.path(), &format!("{path}/"), names);
        } else {
            names.push(path);
        }
    }
}

fn text_of(name: &str) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(name)).ok()?).ok()
}

fn rust_files() -> Vec<(String, String)> {
    let names = files().into_iter().filter(|name| name.ends_with(".rs") && !name.contains("/fuzz/"));
    names.filter_map(|name| text_of(&name).map(|text| (name, text))).collect()
}

#[track_caller]
fn assert_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_root_holds_only_what_the_layout_names() {
    assert_none(foreign_entries(&files()));
    assert_eq!(foreign_entries(&["notes.txt".to_owned(), "compiler/a.rs".to_owned()]).len(), 1);
}

fn foreign_entries(names: &[String]) -> Vec<String> {
    let entries: std::collections::BTreeSet<&str> =
        names.iter().map(|name| name.split('/').next().unwrap_or(name)).collect();
    let is_foreign = |entry: &&str| !ROOT_ENTRIES.contains(entry) && !entry.starts_with("LICENSE");
    entries
        .into_iter()
        .filter(is_foreign)
        .map(|entry| format!("{entry}: not a root entry of the layout"))
        .collect()
}

#[test]
fn crates_know_only_whom_they_may_and_no_versions() {
    for (folder, allowed) in EDGES {
        let Some(manifest) = text_of(&format!("{folder}/Cargo.toml")) else {
            assert_eq!(folder, "engine/wasm", "only a later crate may be missing");
            continue;
        };
        assert_none(manifest_faults(folder, allowed, &manifest));
    }
    let members: Vec<String> = files()
        .into_iter()
        .filter(|name| name.ends_with("/Cargo.toml") && !name.contains("/fuzz/"))
        .collect();
    let known: Vec<String> = EDGES.iter().map(|(folder, _)| format!("{folder}/Cargo.toml")).collect();
    assert_none(
        members.into_iter().filter(|name| !known.contains(name)).map(|name| format!("{name}: a new crate")),
    );
}

/// Dependency lines by section; every dependency is one line, so no TOML parser is needed.
fn manifest_faults(folder: &str, allowed: Option<&[&str]>, manifest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut section = "";
    let mut bench_flags = BTreeMap::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if matches!(section, "lib" | "bin") {
                bench_flags.insert(section, false);
            }
            if section.contains("dependencies.") {
                faults.push(format!("{folder}: [{section}]: write the dependency as one line"));
            }
            continue;
        }
        if line == "bench = false" {
            bench_flags.insert(section, true);
        }
        if !section.ends_with("dependencies") {
            continue;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or(line);
        let from_root = line.contains(".workspace = true") || line.contains("workspace = true");
        if !from_root || line.contains("version") {
            faults.push(format!("{folder}: `{line}`: versions stand in the root manifest"));
        }
        if name.starts_with("promptc") && allowed.is_some_and(|allowed| !allowed.contains(&name)) {
            faults.push(format!("{folder}: may not depend on {name}"));
        }
    }
    let without = bench_flags.iter().filter(|(_, has_flag)| !**has_flag);
    faults.extend(without.map(|(section, _)| format!("{folder}: [{section}] needs `bench = false`")));
    faults
}

#[test]
fn a_bad_manifest_is_noticed() {
    let manifest = "[lib]\npath = \"x\"\n[dependencies]\nserde.workspace = true\nregex = \"1\"\n\
        promptc-engine.workspace = true\nrand = { version = \"1\", workspace = true }\n[dependencies.blake3]\n";
    let faults = manifest_faults("compiler", Some(&[]), manifest);
    assert_eq!(faults.len(), 5, "{faults:#?}");
    assert!(manifest_faults("benches", None, "[dependencies]\npromptc-engine.workspace = true\n").is_empty());
}

#[test]
fn one_arrow_one_datafusion() {
    let lock = text_of("Cargo.lock").expect("a lock file");
    assert_none(version_faults(&lock));
    let two = "name = \"arrow\"\nversion = \"58.1.0\"\n\nname = \"arrow\"\nversion = \"59.0.0\"\n\
        name = \"object_store\"\nversion = \"0.12.0\"\n";
    assert_eq!(version_faults(two).len(), 2);
}

/// Lance and DataFusion bring one `object_store` each, of these two versions; any other would be one more.
fn version_faults(lock: &str) -> Vec<String> {
    let pattern = Regex::new("name = \"([^\"]+)\"\nversion = \"([^\"]+)\"").expect("a regex");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for found in pattern.captures_iter(lock) {
        let (_, [name, version]) = found.extract();
        versions.entry(name).or_default().push(version);
    }
    let mut faults = Vec::new();
    for name in [
        "arrow",
        "arrow-array",
        "arrow-schema",
        "datafusion",
        "datafusion-common",
        "lance",
        "parquet",
        "tantivy",
    ] {
        let found = versions.get(name).map_or(&[][..], Vec::as_slice);
        if found.len() > 1 {
            faults.push(format!("Cargo.lock: {name} in versions {}", found.join(" and ")));
        }
    }
    let stores = versions.get("object_store").map_or(&[][..], Vec::as_slice);
    let is_known = |version: &&&str| version.starts_with("0.13.") || version.starts_with("0.14.");
    let foreign = stores.iter().filter(|version| !is_known(version));
    faults.extend(foreign.map(|version| format!("Cargo.lock: object_store {version}")));
    faults
}

#[test]
fn source_files_are_short() {
    let kinds = [".rs", ".pest", ".peg", ".sql", ".promptc", ".sh", ".py"];
    let sources = files().into_iter().filter(|name| kinds.iter().any(|kind| name.ends_with(kind)));
    assert_none(sources.filter_map(|name| {
        let lines = text_of(&name)?.lines().count();
        (lines > SOURCE_LINES).then(|| format!("{name}: {lines} lines, at most {SOURCE_LINES}"))
    }));
}

#[test]
fn unsafe_code_printing_and_effects_stay_in_their_places() {
    assert_none(rust_files().iter().flat_map(|(name, text)| misplaced(name, text)));
}

fn misplaced(name: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let has = |pattern: &str| Regex::new(pattern).expect("a regex").is_match(&code);
    let mut faults = Vec::new();
    if !name.starts_with("engine/kernels/") && has(r"\bunsafe\b") {
        faults.push(format!("{name}: `unsafe` stands in engine/kernels only"));
    }
    let may_print =
        name.starts_with("engine/promptc/") || name.starts_with("benches/") || name.contains("/tests/");
    if !may_print && !name.ends_with("build.rs") && has(r"\be?print(ln)?!|\bdbg!") {
        faults.push(format!("{name}: only the binary prints"));
    }
    let is_pure = name.starts_with("compiler/src/") || name.starts_with("engine/models/src/");
    if is_pure && has(r"\bstd::(fs|env|thread|process|net)\b|\b(Instant|SystemTime)::now\b") {
        faults.push(format!("{name}: this crate touches no files, environment, threads or clock"));
    }
    faults
}

#[test]
fn misplaced_code_is_noticed_and_words_in_texts_are_not() {
    let bad = "fn main() { unsafe { println!(\"x\") }; let t = std::time::Instant::now(); }";
    assert_eq!(misplaced("compiler/src/a.rs", bad).len(), 3);
    assert_eq!(misplaced("engine/kernels/src/a.rs", "unsafe {}"), [""; 0]);
    assert_eq!(misplaced("engine/promptc/src/a.rs", "println!()"), [""; 0]);
    let good = "// unsafe\n/* dbg! /* print! */ unsafe */ #![forbid(unsafe_code)] const A: &str = \"unsafe\\\" println!()\";\n\
        const B: &str = r#\"unsafe \" \"#; const C: char = '\"'; fn f<'a>(x: &'a str) {} const D: char = '\\'';";
    assert_eq!(misplaced("store/src/a.rs", good), [""; 0]);
    assert_eq!(misplaced("store/src/a.rs", &format!("{good} unsafe {{}}")).len(), 1);
}

#[test]
fn no_path_of_one_machine() {
    let pattern = Regex::new(r"(^|[^\w.~-])/(root|work|Users|tmp/bash)[/_]").expect("a regex");
    let machine_path = ["see ", "root", "x"].join("/");
    assert!(pattern.is_match(&machine_path) && !pattern.is_match(&["frame", "work", "x"].join("/")));
    let names = files().into_iter().filter(|name| name != "compiler/tests/it/tidy.rs");
    assert_none(names.filter_map(|name| {
        let text = text_of(&name)?;
        let line = text.lines().position(|line| pattern.is_match(line))?;
        Some(format!("{name}:{}: a path of one machine", line + 1))
    }));
}

/// The text without comments, strings and character literals.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = match character {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !code.ends_with(|before: char| before.is_alphanumeric() || before == '_') => {
                raw_string(rest)
            }
            '\'' => character_literal(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(character);
        } else {
            code.push(' ');
        }
        rest = &rest[skipped.max(character.len_utf8())..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &str) -> usize {
    let mut bytes = rest.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// Lifetimes begin like character literals and are none.
fn character_literal(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}
