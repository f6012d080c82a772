//! Measurements of all files together: each key once, within the bounds.

use super::super::{ResultRow, SampleRow, Side, Status};
use super::fault::Fault;
use super::{BENCH_ID_BYTES_MAX, IngestError, IngestOptions, Ingested, Kind, MEASUREMENTS_MAX, units};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

/// The suite whose rows say how durable their writes are.
const DURABLE_SUITE: &str = "storage";

/// Iterations and values of raw samples, equally long.
pub(super) type Samples = (Vec<u64>, Vec<f64>);

/// One measurement of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// Where it stands, counted from 1.
    pub(super) line: Option<u64>,
    pub(super) row: ResultRow,
    pub(super) samples: Option<Samples>,
}

/// What a parser makes of a text.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) measured: Vec<Measured>,
    pub(super) warnings: Vec<Fault>,
}

/// What tells measurements of one run apart, in the order of the answer.
type Key = (String, String, Side, u16);

/// Measurements so far.
pub(super) struct Gathered {
    kind: Kind,
    measured: BTreeMap<Key, (Measured, PathBuf)>,
    warnings: Vec<String>,
    left_out: u64,
    hasher: blake3::Hasher,
}

impl Gathered {
    pub(super) fn new(kind: Kind, options: &IngestOptions) -> Self {
        let mut hasher = blake3::Hasher::new();
        // All that the rows take from the options; two calls that differ in it give different rows.
        let said = (
            (kind, &options.suite, options.attempt, options.side),
            (&options.params, &options.tags, &options.durability, &options.metric, &options.unit),
        );
        hasher.update(format!("{said:?}").as_bytes());
        Self { kind, measured: BTreeMap::new(), warnings: Vec::new(), left_out: 0, hasher }
    }

    /// Counts a file's bytes into the hash of the input.
    pub(super) fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    pub(super) fn warn(&mut self, path: &Path, fault: Fault) {
        self.warnings.push(fault.warning(path));
    }

    /// A file that costs its own benchmark and no other.
    pub(super) fn warn_of(&mut self, error: &IngestError, consequence: &str) {
        self.left_out += 1;
        let help = error.help();
        let help = if help == consequence { help } else { format!("{help}; {consequence}") };
        self.warnings.push(format!("{error}; {help}"));
    }

    /// Takes over what a file holds.
    pub(super) fn add(&mut self, path: &Path, parsed: Parsed) -> Result<(), IngestError> {
        for warning in parsed.warnings {
            self.warn(path, warning);
        }
        parsed.measured.into_iter().try_for_each(|measured| self.add_one(path, measured))
    }

    fn add_one(&mut self, path: &Path, measured: Measured) -> Result<(), IngestError> {
        if let Err(fault) = Self::check(&measured) {
            // Criterion's folders are of many programs; one odd benchmark must not hide the others.
            if self.kind == Kind::Criterion {
                self.left_out += 1;
                self.warn(path, fault);
                return Ok(());
            }
            return Err(fault.at(path));
        }
        if self.measured.len() >= MEASUREMENTS_MAX {
            return Err(IngestError::TooMany { path: path.to_path_buf(), count_max: MEASUREMENTS_MAX });
        }
        let row = &measured.row;
        match self.measured.entry((row.bench_id.clone(), row.metric.clone(), row.side, row.attempt)) {
            Entry::Vacant(vacant) => {
                vacant.insert((measured, path.to_path_buf()));
            }
            Entry::Occupied(occupied) => {
                let (first, first_path) = occupied.get();
                if is_same(first, &measured, self.kind) {
                    return Ok(());
                }
                let error = IngestError::Duplicate {
                    key: key_shown(&measured.row),
                    first: place(first_path, first.line),
                    second: place(path, measured.line),
                };
                if self.kind == Kind::Rows {
                    return Err(error);
                }
                self.left_out += 1;
                self.warnings.push(format!("{error}; the first is kept; {}", error.help()));
            }
        }
        Ok(())
    }

    /// What every row must have, whoever wrote it.
    fn check(measured: &Measured) -> Result<(), Fault> {
        let row = &measured.row;
        let fault = |detail: String, help: &str| Err(Fault::new(measured.line, detail, help));
        if row.bench_id.is_empty() {
            return fault("a benchmark without a title".into(), "give it a name");
        }
        if row.bench_id.len() > BENCH_ID_BYTES_MAX {
            let detail = format!(
                "the name of benchmark `{}` has {} bytes, at most {BENCH_ID_BYTES_MAX} are kept",
                units::shown(&row.bench_id),
                row.bench_id.len()
            );
            return fault(detail, "give it a shorter name");
        }
        if row.status == Status::Ok && row.value.is_none() {
            return fault(format!("benchmark `{}` has no value", row.bench_id), "run it again");
        }
        let samples = measured.samples.iter().flat_map(|(_, values)| values);
        if row.status == Status::Ok
            && let Some(found) =
                samples.clone().chain(&row.value).find(|value| !units::is_possible(row, **value))
        {
            let detail = format!("benchmark `{}` has {} of {found} {}", row.bench_id, row.metric, row.unit);
            return fault(detail, "see how it was measured: there is no such value");
        }
        if !figures(row).into_iter().flatten().chain(samples.copied()).all(f64::is_finite) {
            let detail =
                format!("benchmark `{}` has a value beyond {:e} {}", row.bench_id, f64::MAX, row.unit);
            return fault(detail, "see which unit it was measured in");
        }
        if row.suite == DURABLE_SUITE && row.durability.is_none() {
            let detail = format!("benchmark `{}` of suite `storage` has no durability", row.bench_id);
            return fault(detail, "say how durable its writes are: none, wal, wal_fsync or group_commit");
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Ingested {
        let mut ingested = Ingested {
            warnings: self.warnings,
            left_out: self.left_out,
            content_hash: self.hasher.finalize().to_hex().to_string(),
            ..Ingested::default()
        };
        for (Measured { row, samples, .. }, _) in self.measured.into_values() {
            ingested.measured_at =
                Some(ingested.measured_at.map_or(row.started_at, |at| at.min(row.started_at)));
            if let Some((iters, values)) = samples {
                ingested.samples.push(SampleRow {
                    attempt: row.attempt,
                    side: row.side,
                    bench_id: row.bench_id.clone(),
                    metric: row.metric.clone(),
                    iters,
                    values,
                });
            }
            ingested.results.push(row);
        }
        ingested
    }
}

/// Whether two measurements are one that was given twice. The time of a copied file is that of the copy.
fn is_same(first: &Measured, second: &Measured, kind: Kind) -> bool {
    let mut row = first.row.clone();
    if kind != Kind::Rows {
        row.started_at = second.row.started_at;
    }
    row == second.row && first.samples == second.samples
}

/// All numbers of a row that are in the unit of its metric.
fn figures(row: &ResultRow) -> [Option<f64>; 19] {
    let of = &row.summary;
    [
        row.value,
        row.slope,
        row.target_value,
        of.median,
        of.mean,
        of.stddev,
        of.mad,
        of.min,
        of.max,
        of.p05,
        of.p25,
        of.p75,
        of.p90,
        of.p95,
        of.p99,
        of.p999,
        of.ci_low,
        of.ci_high,
        of.ci_level,
    ]
}

fn key_shown(row: &ResultRow) -> String {
    format!("`{}` {} ({}, attempt {})", row.bench_id, row.metric, row.side.as_str(), row.attempt)
}

fn place(path: &Path, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}
