//! What every operator of a run shares: the row cache, the stop flag, the quarantine and the listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use promptc_compiler::op::{Embedder, Encoder as EncoderParams};
use promptc_store::open::Store;
use serde::{Deserialize, Serialize};

use crate::encoder::{AUC_LEAST, Encoder};
use crate::error::EngineError;

/// Most quarantined rows that are kept with their text; more are only counted.
pub const QUARANTINE_ROWS_MAX: usize = 10_000;

/// A flag that another thread raises to stop a run.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the run to stop; it does so at the next batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens during a run, for progress and logs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A stage begins.
    StageStarted {
        /// The stream, artifact or output.
        name: String,
        /// Its place among the stages, from 1.
        number: usize,
        /// How many stages there are.
        total: usize,
    },
    /// Rows came out of the stage that runs.
    Rows {
        /// The stage.
        name: String,
        /// Rows so far.
        rows: u64,
    },
    /// A stage ended.
    StageFinished {
        /// The stage.
        name: String,
        /// Rows that it holds now.
        rows: u64,
        /// Whether nothing had to be done.
        reused: bool,
        /// Wall time in milliseconds.
        elapsed_ms: u64,
    },
    /// Something the user should know, with its code.
    Warning {
        /// `W2301` and the like.
        code: &'static str,
        /// What it is about.
        message: String,
    },
}

/// Listens to a run. Called from the run's threads; must not block.
pub trait Events: Send + Sync + std::fmt::Debug {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Ignores everything.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event) {}
}

/// A row that was left out, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BadRow {
    /// The source or operator.
    pub source: String,
    /// The file, if it came from one.
    pub file: String,
    /// Line from 1, if the file has lines.
    pub line: Option<u64>,
    /// Byte offset in the file.
    pub offset: u64,
    /// The diagnostic code.
    pub code: String,
    /// What is wrong with it.
    pub message: String,
    /// The first bytes of the row, lossily as text.
    pub head: String,
}

/// Rows that were left out of a run.
#[derive(Debug, Default)]
pub struct Quarantine {
    rows: Mutex<Vec<BadRow>>,
    count: AtomicU64,
}

impl Quarantine {
    /// Takes a row. Beyond [`QUARANTINE_ROWS_MAX`] only the count grows.
    pub fn push(&self, row: BadRow) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if rows.len() < QUARANTINE_ROWS_MAX {
            rows.push(row);
        }
    }

    /// Empties the quarantine: how many rows there were, and those that were kept, sorted.
    #[must_use]
    pub fn take(&self) -> (u64, Vec<BadRow>) {
        let mut rows =
            std::mem::take(&mut *self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        rows.sort();
        (self.count.swap(0, Ordering::Relaxed), rows)
    }
}

/// Counts of rows by warning: the code, and what it is about.
#[derive(Debug, Default)]
pub struct Tallies(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tallies {
    /// Counts rows.
    pub fn add(&self, code: &'static str, subject: &str, rows: u64) {
        if rows > 0 {
            let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *counts.entry((code, subject.to_owned())).or_default() += rows;
        }
    }

    /// All counts so far, by code and subject.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, String, u64)> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|((code, subject), rows)| (*code, subject.clone(), *rows)).collect()
    }
}

/// Models that are loaded, so that each is read once in a run.
#[derive(Debug, Default)]
pub struct Encoders(Mutex<Vec<(Embedder, Encoder)>>);

impl Encoders {
    /// The model of these parameters.
    ///
    /// # Errors
    /// E2201 if the folder is not the one that was checked, E2202 if it cannot be used.
    pub fn get(
        &self,
        embedder: &Embedder,
        params: &EncoderParams,
        events: &dyn Events,
    ) -> Result<Encoder, EngineError> {
        let mut loaded = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A space is everything that changes vectors.
        if let Some((_, model)) = loaded.iter().find(|(known, _)| known.space == embedder.space) {
            return Ok(model.clone());
        }
        let model = Encoder::of(embedder, params)?;
        let area = model.discrimination()?;
        if area < AUC_LEAST {
            let message = format!(
                "`{}`: paraphrases in English are nearer than unrelated texts in {:.0} of 100 cases only",
                embedder.space.name,
                100.0 * area
            );
            events.event(Event::Warning { code: "W2202", message });
        }
        loaded.push((embedder.clone(), model.clone()));
        Ok(model)
    }
}

/// What the operators of one run share.
pub struct RunContext {
    /// The data directory: row cache, ledger, flows and indexes.
    pub store: Arc<Store>,
    /// Raised to stop the run.
    pub cancel: Cancel,
    /// Listens to the run.
    pub events: Arc<dyn Events>,
    /// Rows that were left out.
    pub quarantine: Quarantine,
    /// Rows that an operator computed, but not as asked.
    pub tallies: Tallies,
    /// Models that are loaded.
    pub encoders: Encoders,
    /// Whether row-wise operators take the time of every single row. Costs a clock reading per row.
    pub times_rows: bool,
}

impl std::fmt::Debug for RunContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunContext").field("dir", &self.store.dir()).finish_non_exhaustive()
    }
}

impl RunContext {
    /// A context with nothing in it yet.
    #[must_use]
    pub fn new(store: Arc<Store>, cancel: Cancel, events: Arc<dyn Events>) -> Self {
        Self {
            store,
            cancel,
            events,
            quarantine: Quarantine::default(),
            tallies: Tallies::default(),
            encoders: Encoders::default(),
            times_rows: false,
        }
    }

    /// An error if the run was asked to stop.
    ///
    /// # Errors
    /// [`EngineError::Interrupted`].
    pub fn check_interrupt(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() { Err(EngineError::Interrupted) } else { Ok(()) }
    }
}
