//! The kinds of results that are read, and how to tell them apart.

use super::IngestError;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Bytes at the start of a file that tell its kind.
const HEAD_BYTES: u64 = 64 << 10;

/// Who wrote the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Folders of criterion, from version 0.3 on.
    Criterion,
    /// Lines of `cargo criterion --message-format=json`.
    CriterionJson,
    /// `hyperfine --export-json`.
    Hyperfine,
    /// Results of the language model evaluation harness.
    LmEval,
    /// Output of RocksDB's or LevelDB's `db_bench`.
    DbBench,
    /// Interval log of HdrHistogram, version 2 histograms.
    Hdr,
    /// JSON lines with the columns of `results` and `samples`.
    Rows,
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Kind; 7] = [
        Kind::Criterion,
        Kind::CriterionJson,
        Kind::Hyperfine,
        Kind::LmEval,
        Kind::DbBench,
        Kind::Hdr,
        Kind::Rows,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Criterion => "criterion",
            Kind::CriterionJson => "criterion-json",
            Kind::Hyperfine => "hyperfine",
            Kind::LmEval => "lm-eval",
            Kind::DbBench => "db-bench",
            Kind::Hdr => "hdr",
            Kind::Rows => "rows",
        }
    }

    /// The kind that a name on the command line means.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of a file by the start of its text; a folder is criterion's. An error if it looks like none of them.
    pub fn detect(path: &Path) -> Result<Self, IngestError> {
        let unreadable = |source| IngestError::Unreadable { path: path.to_path_buf(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() || is_of_criterion(path) {
            return Ok(Kind::Criterion);
        }
        if !metadata.is_file() {
            return Err(IngestError::NotAFile { path: path.to_path_buf(), found: "a pipe or device" });
        }
        let mut head = Vec::new();
        File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).map_err(unreadable)?;
        Self::of_text(&String::from_utf8_lossy(&head))
            .ok_or_else(|| IngestError::UnknownKind { path: path.to_path_buf() })
    }

    /// The kind of a text by its start, of which 64 KiB are enough.
    #[must_use]
    pub fn of_text(head: &str) -> Option<Self> {
        let head = head.trim_start_matches('\u{feff}').trim_start();
        if head.starts_with('{') {
            return of_lines(head).or_else(|| of_document(head)).or_else(|| of_long_line(head));
        }
        let is_interval = |line: &str| line.contains(",HIST") || line.starts_with("#[StartTime:");
        if head.starts_with("\"StartTimestamp\"") || head.lines().take(20).any(is_interval) {
            return Some(Kind::Hdr);
        }
        let is_store = |line: &str| line.starts_with("RocksDB:") || line.starts_with("LevelDB:");
        (head.contains(" micros/op") || head.lines().any(is_store)).then_some(Kind::DbBench)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A file that criterion writes, in a folder of the name that it uses.
fn is_of_criterion(path: &Path) -> bool {
    let is_its = super::criterion::FILES.iter().any(|name| path.ends_with(Path::new("new").join(name)));
    is_its && path.parent().is_some_and(Path::is_dir)
}

/// JSON lines: the first line is an object of its own.
fn of_lines(head: &str) -> Option<Kind> {
    let first = head.lines().next()?;
    let columns: BTreeMap<String, IgnoredAny> = serde_json::from_str(first).ok()?;
    if columns.contains_key("reason") {
        return Some(Kind::CriterionJson);
    }
    (columns.contains_key("bench_id") && columns.contains_key("metric")).then_some(Kind::Rows)
}

/// A first line longer than the head.
fn of_long_line(head: &str) -> Option<Kind> {
    let has = |name: &str| head.contains(name);
    if has("\"benchmark-complete\"") {
        return Some(Kind::CriterionJson);
    }
    (has("\"bench_id\"") && has("\"metric\"")).then_some(Kind::Rows)
}

/// One object over many lines: hyperfine has a list of results, the harness an object of them.
fn of_document(head: &str) -> Option<Kind> {
    let (_, rest) = head.split_once("\"results\"")?;
    match rest.trim_start().strip_prefix(':')?.trim_start().as_bytes().first()? {
        b'[' if rest.contains("\"command\"") => Some(Kind::Hyperfine),
        b'{' => Some(Kind::LmEval),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.to_string()), Some(kind));
        }
        assert_eq!(Kind::parse("junit"), None);
    }

    #[test]
    fn the_start_of_a_text_tells_its_kind() {
        let cases = [
            ("{\"reason\":\"group-complete\"}\n", Some(Kind::CriterionJson)),
            ("{\"metric\":\"wall_ns\",\"bench_id\":\"a/b\"}", Some(Kind::Rows)),
            ("{\n \"results\": [\n  {\"command\": \"true\"", Some(Kind::Hyperfine)),
            ("{\"results\":{\"piqa\":{\"acc,none\":0.7}}}", Some(Kind::LmEval)),
            ("#[StartTime: 1.0 (seconds since epoch), x]\n", Some(Kind::Hdr)),
            ("\"StartTimestamp\",\"Interval_Length\"\n", Some(Kind::Hdr)),
            ("LevelDB:    version 1.23\n", Some(Kind::DbBench)),
            ("fillseq : 1.2 micros/op;", Some(Kind::DbBench)),
            ("{\"bench_id\":\"a\",\"metric\":\"wall_ns\",\"values\":[1.0,", Some(Kind::Rows)),
            ("{\"results\": 3}", None),
            ("{\"a\":1}", None),
            ("", None),
            ("hello", None),
        ];
        for (text, kind) in cases {
            assert_eq!(Kind::of_text(text), kind, "{text}");
        }
    }
}
