//! Rows of many files to batches: sizes, limits, duplicate keys, and the bound on bad rows.

use super::adapt;
use super::arrays;
use super::csv::Csv;
use super::datum::Datum;
use super::glob::plain_path;
use super::json::JsonArray;
use super::jsonl::JsonLines;
use super::lance::Lance;
use super::parquet::Parquet;
use super::squad::Squad;
use super::text::WholeFile;
use super::trec::Trec;
use super::{
    BATCH_BYTES, BadRow, BadRows, Fault, FileEntry, RowReader, SourceBatch, SourceError, SourceSpec,
};
use arrow::array::RecordBatchOptions;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Bad rows gathered before a batch is handed on without waiting for good ones; with their heads at most 4 MiB.
const BAD_ROWS_MAX: usize = 1_024;

/// Reads the rows of `files` in their order, in batches of at most `batch_rows` rows and about [`BATCH_BYTES`].
///
/// `files` come from [`super::resolve`]. After an error the iterator ends. Sources without a row yield no batch. Memory:
/// one batch, one row of at most `max_bytes`, and 24 bytes per row if a key is checked. Errors: E2101 unreadable or
/// changed file, E2102 bad row in the mode `error` or damaged file, E2104 duplicate key, E2105 too many bad rows (after
/// the last row), E0303 a column that is not there.
pub fn read(spec: &SourceSpec, files: &[FileEntry], batch_rows: usize) -> SourceReader {
    let (keys, refused) = match spec.check().and_then(|()| Keys::new(spec)) {
        Ok(keys) => (keys, None),
        Err(error) => (None, Some(error)),
    };
    SourceReader {
        spec: spec.clone(),
        files: files.to_vec(),
        batch_rows: batch_rows.max(1),
        next_file: 0,
        open: None,
        seen: HashSet::new(),
        keys,
        good_count: 0,
        bad_count: 0,
        first_bad: None,
        refused,
        is_done: false,
    }
}

/// What one open file yields.
enum Open {
    Rows(Box<dyn RowReader>),
    Parquet(Parquet, u64),
    Lance(Lance, u64),
}

/// The batches of a source. See [`read`].
pub struct SourceReader {
    spec: SourceSpec,
    files: Vec<FileEntry>,
    batch_rows: usize,
    /// Position of the file after the open one.
    next_file: usize,
    open: Option<Open>,
    seen: HashSet<[u8; 32]>,
    keys: Option<Keys>,
    good_count: u64,
    bad_count: u64,
    first_bad: Option<Box<BadRow>>,
    /// What the specification asks for and no reader serves; the first and only item.
    refused: Option<SourceError>,
    is_done: bool,
}

impl std::fmt::Debug for SourceReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SourceReader").field("path", &self.spec.path).finish_non_exhaustive()
    }
}

/// Rows of a batch in the making, and where each stands.
struct Gathered {
    batch: RecordBatch,
    places: Vec<Place>,
    bad: Vec<BadRow>,
}

/// File and line (or number of the row) of a row.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: u32,
    line: u64,
}

impl SourceReader {
    /// Rows handed on so far.
    pub fn row_count(&self) -> u64 {
        self.good_count
    }

    /// Bad rows met so far.
    pub fn bad_count(&self) -> u64 {
        self.bad_count
    }

    fn remaining(&self) -> u64 {
        self.spec.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.good_count))
    }

    fn next_batch(&mut self) -> Result<Option<SourceBatch>, SourceError> {
        while self.remaining() > 0 && self.is_file_open()? {
            let gathered = match self.open.take() {
                Some(Open::Rows(reader)) => self.gather_rows(reader)?,
                Some(Open::Parquet(mut reader, row)) => match reader.next_batch().transpose()? {
                    Some(batch) => {
                        self.open = Some(Open::Parquet(reader, row + batch.num_rows() as u64));
                        Some(self.adapt(&batch, row)?)
                    }
                    None => None,
                },
                Some(Open::Lance(mut reader, row)) => match reader.next_batch().transpose()? {
                    Some(batch) => {
                        self.open = Some(Open::Lance(reader, row + batch.num_rows() as u64));
                        Some(self.adapt(&batch, row)?)
                    }
                    None => None,
                },
                None => None,
            };
            match gathered {
                Some(gathered) if gathered.batch.num_rows() > 0 || !gathered.bad.is_empty() => {
                    return self.hand_on(gathered).map(Some);
                }
                Some(_) => {}
                None => self.close_file()?,
            }
        }
        self.check_bad_share()?;
        Ok(None)
    }

    /// Opens the next file if none is open; `false` at the end.
    fn is_file_open(&mut self) -> Result<bool, SourceError> {
        if self.open.is_some() {
            return Ok(true);
        }
        let Some(file) = self.files.get(self.next_file) else { return Ok(false) };
        let spec = &self.spec;
        self.open = Some(match spec.kind.as_str() {
            "jsonl" => Open::Rows(Box::new(JsonLines::open(spec, file)?)),
            "json" => Open::Rows(Box::new(JsonArray::open(spec, file)?)),
            "csv" => Open::Rows(Box::new(Csv::open(spec, file)?)),
            "markdown" | "text" => Open::Rows(Box::new(WholeFile::open(spec, file))),
            "squad" => Open::Rows(Box::new(Squad::open(spec, file, std::mem::take(&mut self.seen))?)),
            "trec" => Open::Rows(Box::new(Trec::open(spec, file)?)),
            "parquet" => Open::Parquet(Parquet::open(spec, file, self.batch_rows)?, 0),
            "lance" => Open::Lance(Lance::open(spec, dataset_of(spec, &self.files), self.batch_rows)?, 0),
            other => return Err(SourceError::Unsupported { what: format!("`{other}`") }),
        });
        // The files of a dataset are read together.
        self.next_file = if spec.kind == "lance" { self.files.len() } else { self.next_file + 1 };
        Ok(true)
    }

    /// The file read last must still be the one that was resolved and hashed.
    fn close_file(&mut self) -> Result<(), SourceError> {
        self.open = None;
        let is_dataset = self.spec.kind == "lance";
        let read = if is_dataset { &self.files[..] } else { &self.files[self.next_file - 1..self.next_file] };
        read.iter().try_for_each(FileEntry::check_still)
    }

    /// Rows until the batch is full or the source ends. Files without an end of their own (many small ones) share a batch.
    fn gather_rows(&mut self, mut reader: Box<dyn RowReader>) -> Result<Option<Gathered>, SourceError> {
        let columns = self.spec.columns.clone();
        let mut values: Vec<Vec<Datum>> = columns.fields().iter().map(|_| Vec::new()).collect();
        let mut places = Vec::new();
        let mut bad = Vec::new();
        let mut bytes = 0;
        let row_max = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(self.batch_rows);
        loop {
            if places.len() >= row_max || bytes >= BATCH_BYTES || bad.len() >= BAD_ROWS_MAX {
                self.open = Some(Open::Rows(reader));
                break;
            }
            match reader.next_row() {
                Some(Ok(row)) => {
                    places.push(Place { file: self.next_file as u32 - 1, line: row.line });
                    bytes += row.bytes;
                    values.iter_mut().zip(row.values).for_each(|(column, value)| column.push(value));
                }
                Some(Err(Fault::Row(row))) => {
                    self.take_bad(&row)?;
                    bad.push(row);
                }
                Some(Err(Fault::Source(error))) => return Err(error),
                None => {
                    self.seen = reader.take_seen();
                    drop(reader);
                    self.close_file()?;
                    if !self.is_file_open()? {
                        break;
                    }
                    match self.open.take() {
                        Some(Open::Rows(next)) => reader = next,
                        other => {
                            self.open = other;
                            break;
                        }
                    }
                }
            }
        }
        let fail = |error: arrow::error::ArrowError| self.internal(error.to_string());
        let arrays = columns.fields().iter().zip(values).map(|(field, column)| arrays::array(field, column));
        let arrays = arrays.collect::<Result<_, _>>().map_err(fail)?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let batch = RecordBatch::try_new_with_options(columns, arrays, &options).map_err(fail)?;
        Ok(Some(Gathered { batch, places, bad }))
    }

    fn adapt(&mut self, stored: &RecordBatch, first_row: u64) -> Result<Gathered, SourceError> {
        let adapted = adapt::adapt(stored, &self.spec.columns, self.spec.max_bytes)
            .map_err(|error| self.internal(error.to_string()))?;
        let is_dataset = self.spec.kind == "lance";
        let file = if is_dataset { dataset_of(&self.spec, &self.files) } else { self.path().to_path_buf() };
        let mut bad = Vec::new();
        for (row, message) in adapted.bad {
            let number = first_row + row as u64;
            let row = BadRow::new(&file, None, number, format!("row {}: {message}", number + 1), b"");
            self.take_bad(&row)?;
            bad.push(row);
        }
        let at = self.next_file as u32 - 1;
        let mut places: Vec<Place> =
            adapted.good.iter().map(|row| Place { file: at, line: first_row + *row as u64 + 1 }).collect();
        let kept = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(places.len());
        places.truncate(kept);
        Ok(Gathered { batch: adapted.batch.slice(0, kept), places, bad })
    }

    /// Counts a bad row; an error in the mode `error`.
    fn take_bad(&mut self, row: &BadRow) -> Result<(), SourceError> {
        if self.spec.bad_rows == BadRows::Error {
            return Err(SourceError::BadRow(Box::new(row.clone())));
        }
        self.bad_count += 1;
        if self.first_bad.is_none() {
            self.first_bad = Some(Box::new(row.clone()));
        }
        Ok(())
    }

    fn hand_on(&mut self, gathered: Gathered) -> Result<SourceBatch, SourceError> {
        let Gathered { batch, places, bad } = gathered;
        if let Some(keys) = &mut self.keys {
            keys.check(&batch, &places, &self.spec, &self.files)?;
        }
        self.good_count += batch.num_rows() as u64;
        let is_kept = self.spec.bad_rows == BadRows::Quarantine;
        let skipped = if is_kept { 0 } else { bad.len() as u64 };
        Ok(SourceBatch { batch, quarantined: if is_kept { bad } else { Vec::new() }, skipped })
    }

    fn check_bad_share(&mut self) -> Result<(), SourceError> {
        let rows = self.good_count + self.bad_count;
        let Some(first) = self.first_bad.take() else { return Ok(()) };
        if self.bad_count as f64 <= self.spec.max_bad * rows as f64 {
            return Ok(());
        }
        let percent = self.spec.max_bad * 100.0;
        Err(SourceError::TooManyBad {
            pattern: self.spec.path.clone(),
            bad: self.bad_count,
            rows,
            percent,
            first,
        })
    }

    fn path(&self) -> &Path {
        self.files.get(self.next_file.saturating_sub(1)).map_or(Path::new(""), |file| &file.path)
    }

    fn internal(&self, detail: String) -> SourceError {
        SourceError::Internal { path: self.path().to_path_buf(), detail }
    }
}

impl Iterator for SourceReader {
    type Item = Result<SourceBatch, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let result = self.refused.take().map_or_else(|| self.next_batch(), Err);
        self.is_done = !matches!(result, Ok(Some(_)));
        result.transpose()
    }
}

/// The dataset's folder: the files were resolved below it, each name is the rest of its path.
fn dataset_of(spec: &SourceSpec, files: &[FileEntry]) -> PathBuf {
    let below = files.first().map(|file| (Path::new(&file.name).components().count(), &file.path));
    match below {
        Some((depth, path)) => path.ancestors().nth(depth).map_or_else(PathBuf::new, Path::to_path_buf),
        None => plain_path(&spec.path, &spec.base, None),
    }
}

/// Keys met so far, by the first 16 bytes of blake3 of their row encoding, with their places.
struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
    met: HashMap<u128, Place>,
}

impl Keys {
    fn new(spec: &SourceSpec) -> Result<Option<Self>, SourceError> {
        if spec.key.is_empty() {
            return Ok(None);
        }
        let fail = |column: &str, detail: String| SourceError::Column {
            pattern: spec.path.clone(),
            column: column.into(),
            detail,
        };
        let mut columns = Vec::new();
        for key in &spec.key {
            columns.push(
                spec.columns
                    .index_of(key)
                    .map_err(|_| fail(key, "the key is not a declared column".into()))?,
            );
        }
        let fields =
            columns.iter().map(|idx| SortField::new(spec.columns.field(*idx).data_type().clone())).collect();
        let converter = RowConverter::new(fields)
            .map_err(|error| fail(&spec.key.join(", "), format!("no key can be made of it: {error}")))?;
        Ok(Some(Self { columns, converter, met: HashMap::new() }))
    }

    fn check(
        &mut self,
        batch: &RecordBatch,
        places: &[Place],
        spec: &SourceSpec,
        files: &[FileEntry],
    ) -> Result<(), SourceError> {
        let columns: Vec<_> = self.columns.iter().map(|idx| batch.column(*idx).clone()).collect();
        let rows = self.converter.convert_columns(&columns).map_err(|error| SourceError::Internal {
            path: spec.base.join(&spec.path),
            detail: error.to_string(),
        })?;
        for (row, place) in places.iter().enumerate() {
            let hash = blake3::hash(rows.row(row).data());
            let short = hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
            if let Some(first) = self.met.insert(short, *place) {
                let shown = |place: &Place| show(place, spec, files);
                let key = self
                    .columns
                    .iter()
                    .map(|idx| show_value(batch, *idx, row))
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(SourceError::DuplicateKey { key, first: shown(&first), second: shown(place) });
            }
        }
        Ok(())
    }
}

fn show(place: &Place, spec: &SourceSpec, files: &[FileEntry]) -> String {
    let path = if spec.kind == "lance" {
        dataset_of(spec, files)
    } else {
        files.get(place.file as usize).map(|file| file.path.clone()).unwrap_or_default()
    };
    match spec.kind.as_str() {
        "markdown" | "text" => path.display().to_string(),
        "parquet" | "lance" => format!("row {} of {}", place.line, path.display()),
        _ => format!("{}:{}", path.display(), place.line),
    }
}

fn show_value(batch: &RecordBatch, column: usize, row: usize) -> String {
    let name = batch.schema().field(column).name().clone();
    let value = ArrayFormatter::try_new(batch.column(column), &FormatOptions::default())
        .and_then(|formatter| formatter.value(row).try_to_string());
    let value: String = value.unwrap_or_default().chars().take(80).collect();
    format!("{name} = {value:?}")
}
