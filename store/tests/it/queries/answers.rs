//! Stored answers: `queries/slt/*.slt`.
//!
//! ```text
//! # what the case shows
//! query trend.sql bench=weight_dynamics/convergence/512
//! on B                       machine that asks; A if it is not said
//! show commit_time, value    columns; all if it is not said
//! ----
//! 2026-01-01T00:00:00Z | 45000000
//! ```
//!
//! `gate paired.sql` names a file in `queries/gates`. Numbers have six digits that count. A case ends at an empty line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;

use super::{answer, fixture, folder, row_count, session, shipped, text};

/// One case of a file.
struct Case {
    /// Everything before the rows, as it stands.
    head: Vec<String>,
    /// As `gates/paired.sql`.
    name: String,
    given: BTreeMap<String, String>,
    machine: String,
    columns: Vec<String>,
    rows: Vec<String>,
}

fn cases(file: &str, text: &str) -> Vec<Case> {
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    blocks.map(|block| case(file, block)).collect()
}

fn case(file: &str, block: &str) -> Case {
    let lines: Vec<&str> = block.lines().collect();
    let rule = lines
        .iter()
        .position(|line| *line == "----")
        .unwrap_or_else(|| panic!("{file}: no ---- in\n{block}"));
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>();
    let mut case = Case {
        head: owned(&lines[..rule]),
        name: String::new(),
        given: BTreeMap::new(),
        machine: "A".to_owned(),
        columns: Vec::new(),
        rows: owned(&lines[rule + 1..]),
    };
    for line in &lines[..rule] {
        match line.split_once(' ') {
            Some(("#", _)) => {}
            Some((kind @ ("query" | "gate"), call)) => {
                let mut words = call.split_whitespace();
                let folder = if kind == "gate" { "gates/" } else { "" };
                case.name = format!("{folder}{}", words.next().unwrap());
                let pair = |word: &str| {
                    let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("{file}: {line}"));
                    (key.to_owned(), value.to_owned())
                };
                case.given = words.map(pair).collect();
            }
            Some(("on", machine)) if fixture::MACHINES.contains(&machine) => {
                case.machine = machine.to_owned()
            }
            Some(("show", columns)) => case.columns = columns.split(", ").map(str::to_owned).collect(),
            _ => panic!("{file}: {line}"),
        }
    }
    case
}

/// The rows of an answer, columns joined by ` | `.
fn rows(case: &Case, batches: &[RecordBatch]) -> Vec<String> {
    let schema = batches[0].schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let shown: Vec<usize> = if case.columns.is_empty() {
        (0..names.len()).collect()
    } else {
        let place = |column: &String| {
            names
                .iter()
                .position(|name| name == column)
                .unwrap_or_else(|| panic!("{} has no {column}", case.name))
        };
        case.columns.iter().map(place).collect()
    };
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = shown.iter().map(|column| cell(batch.column(*column), row)).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    if column.data_type() == &DataType::Float64 {
        return number(column.as_primitive::<Float64Type>().value(row));
    }
    ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string()
}

/// Six digits that count.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{}", value + 0.0);
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap();
    if (1e-4..1e15).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// Runs the cases of a file. The text of the file as it should be, and what each case did.
fn run(file: &str, sessions: &BTreeMap<&str, SessionContext>) -> (String, String, Vec<(String, usize)>) {
    let path = folder().join("slt").join(file);
    let stored = fs::read_to_string(&path).unwrap();
    let mut expected = Vec::new();
    let mut counts = Vec::new();
    for case in cases(file, &stored) {
        let batches = answer(&sessions[case.machine.as_str()], &case.name, &text(&case.name), &case.given)
            .unwrap_or_else(|error| panic!("{file}: {}: {error}", case.name));
        counts.push((case.name.clone(), row_count(&batches)));
        let mut block = case.head.clone();
        block.push("----".to_owned());
        block.extend(rows(&case, &batches));
        expected.push(block.join("\n"));
        assert!(case.rows.iter().all(|row| !row.is_empty()));
    }
    let found = format!("{}\n", expected.join("\n\n"));
    if std::env::var_os("PROMPTC_BLESS").is_some() {
        fs::write(&path, &found).unwrap();
        return (found.clone(), found, counts);
    }
    (stored, found, counts)
}

#[test]
fn every_query_and_gate_gives_its_stored_answer() {
    let mut faults = Vec::new();
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let histories = std::slice::from_ref(fixture::history());
    let sessions = fixture::MACHINES.map(|machine| (machine, session(histories, machine))).into();
    let mut files: Vec<String> = fs::read_dir(folder().join("slt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    for file in files {
        let (stored, found, counts) = run(&file, &sessions);
        if stored != found {
            let differ = |(line, (left, right)): (usize, (&str, &str))| {
                (left != right).then(|| format!("{file}:{}:\n  stored {left}\n  found  {right}", line + 1))
            };
            let lines =
                stored.lines().chain(std::iter::repeat("")).zip(found.lines().chain(std::iter::repeat("")));
            let length = stored.lines().count().max(found.lines().count());
            faults.extend(lines.take(length).enumerate().find_map(differ));
        }
        for (name, row_count) in counts {
            seen.entry(name).or_default().insert(row_count > 0);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for name in shipped() {
        let found = seen.remove(&name).unwrap_or_default();
        assert!(found.contains(&true), "{name} has no case with rows");
        assert!(!name.starts_with("gates/") || found.contains(&false), "{name} has no case without rows");
    }
    assert!(seen.is_empty(), "answers to files that are not there: {seen:?}");
}
