//! Fills a report from the history: every figure is the answer of a query, whose text goes into the report.

use std::collections::BTreeMap;
use std::path::Path;

use promptc_engine::datafusion::prelude::SessionContext;
use promptc_engine::error::EngineError;
use promptc_engine::gate::SqlGate;
use promptc_engine::gate::file::Question;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::sql;

use super::decided::{About, decided, unit};
use crate::cli::history::repository;
use crate::cli::rows::{Row, Rows};
use crate::report::data::{
    Decision, Estimate, Gate, GateOutcome, GitFacts, HistoryPoint, NoiseRow, Place, QueryText, Rate,
    RateKind, ReportData, RunFacts, Section, Series, Severity, TargetRow, TargetStatus, Verdict,
};
use crate::shipped;

/// Rows of one answer; a run of all benches of this project has some thousands.
const ROWS_MAX: usize = 1_000_000;

/// Columns of the environment that say nothing to a reader.
const ENV_HIDDEN: [&str; 3] = ["env_id", "raw_json", "host_hash"];

/// Greatest share of false alarms, and least share of slow-downs of 10 % that is to be found.
const FALSE_ALARMS_MAX: f64 = 0.01;
const POWER_MIN: f64 = 0.95;
const POWER_AT: f64 = 0.1;

/// Faults of measurements that are named one by one.
const FAULTS_NAMED: usize = 5;

/// A query that fills a part of the report.
struct Query {
    name: &'static str,
    sql: &'static str,
    section: Option<Section>,
}

macro_rules! own {
    ($file:literal, $section:expr) => {
        Query { name: concat!("report/", $file), sql: include_str!($file), section: $section }
    };
}

/// Asks the queries of one report and keeps their texts.
pub(in crate::cli) struct Gather<'a> {
    session: &'a SessionContext,
    run_id: &'a str,
    asked: Vec<QueryText>,
    notes: Vec<String>,
}

impl<'a> Gather<'a> {
    /// Reads what is known of a run. `this_env()` of the session is the run's environment.
    pub(in crate::cli) fn new(session: &'a SessionContext, run_id: &'a str) -> Self {
        Self { session, run_id, asked: Vec::new(), notes: Vec::new() }
    }

    /// The whole report; the shipped gates are evaluated and nothing is recorded.
    ///
    /// # Errors
    /// A query that cannot run: a damaged history.
    pub(in crate::cli) async fn report(mut self, folder: &Path) -> Result<ReportData, EngineError> {
        let mut data = self.facts().await?;
        let environment = self.ask(&own!("environment.sql", Some(Section::Environment))).await?;
        data.run.env = environment_of(&environment);
        self.observations(&mut data.series).await?;
        if data.series.iter().all(|series| series.base.is_empty()) {
            let note =
                "This run measured one build by itself: gates that compare two builds have nothing to judge.";
            self.notes.push(note.to_owned());
        }
        self.history(&mut data.series).await?;
        data.targets = self.targets().await?;
        self.gates(&mut data, folder).await?;
        self.recorded(&mut data).await?;
        data.noise = self.noise(&data.series).await?;
        data.rates = self.rates().await?;
        data.queries = self.asked;
        data.notes = self.notes;
        Ok(data)
    }

    /// The run, and its benchmarks without their values: what test results need.
    ///
    /// # Errors
    /// As [`Gather::report`].
    pub(in crate::cli) async fn facts(&mut self) -> Result<ReportData, EngineError> {
        let run = self.ask(&own!("run.sql", None)).await?;
        let run = run.iter().next().map(|row| run_of(self.run_id, &row)).unwrap_or_default();
        let measured = self.ask(&own!("measured.sql", Some(Section::Series))).await?;
        self.notes.extend(faults_of(&measured));
        let has_values = |row: &Row<'_>| row.count("value_count") > 0;
        let series = measured.iter().filter(has_values).map(|row| series_of(&row)).collect();
        Ok(ReportData { run, series, ..ReportData::default() })
    }

    async fn ask(&mut self, query: &Query) -> Result<Rows, EngineError> {
        let params = declared(query.name, query.sql)?;
        let is_of_run = params.iter().any(|param| param.name == "run");
        let given: BTreeMap<String, String> =
            is_of_run.then(|| ("run".to_owned(), self.run_id.to_owned())).into_iter().collect();
        let plan = bind(self.session, query.sql, &params, &given).await?;
        let (schema, batches) = sql::collect(self.session, plan, ROWS_MAX).await?;
        self.asked.push(QueryText {
            name: query.name.to_owned(),
            question: shipped::question(query.sql).to_owned(),
            sql: query.sql.to_owned(),
            parameters: given.into_iter().collect(),
            section: query.section,
        });
        Rows::new(&schema, &batches)
    }

    async fn ask_shipped(&mut self, name: &str, section: Section) -> Result<Rows, EngineError> {
        let missing = || EngineError::internal("the report", format!("no shipped query `{name}`"));
        let shipped = shipped::query(name).ok_or_else(missing)?;
        self.ask(&Query { name: shipped.path, sql: shipped.sql, section: Some(section) }).await
    }

    async fn observations(&mut self, series: &mut [Series]) -> Result<(), EngineError> {
        let rows = self.ask(&own!("observations.sql", Some(Section::Series))).await?;
        for row in rows.iter() {
            if let Some(found) = find(series, &row) {
                let side = if row.word("side") == "base" { &mut found.base } else { &mut found.cand };
                side.extend(row.numbers("values").into_iter().filter(|value| value.is_finite()));
            }
        }
        Ok(())
    }

    async fn history(&mut self, series: &mut [Series]) -> Result<(), EngineError> {
        let rows = self.ask(&own!("history.sql", Some(Section::Series))).await?;
        for row in rows.iter() {
            if let Some(found) = find(series, &row) {
                found.history.push(HistoryPoint {
                    commit_seq: u32::try_from(row.count("commit_seq")).unwrap_or(u32::MAX),
                    commit_time: row.whole("commit_time").unwrap_or(0),
                    sha: row.word("git_sha"),
                    value: row.number("value"),
                    ci_low: row.number("ci_low"),
                    ci_high: row.number("ci_high"),
                    is_change_point: row.flag("is_change_point"),
                    change_rel: row.number("change_rel"),
                });
            }
        }
        Ok(())
    }

    async fn targets(&mut self) -> Result<Vec<TargetRow>, EngineError> {
        let promised = self.ask_shipped("targets", Section::Targets).await?;
        let skipped = self.ask(&own!("skipped.sql", Some(Section::Targets))).await?;
        let key = |row: &Row<'_>| (row.word("bench_id"), row.word("metric"));
        let reasons: BTreeMap<_, String> = skipped.iter().map(|row| (key(&row), row.word("error"))).collect();
        Ok(promised.iter().map(|row| target_of(&row, reasons.get(&key(&row)))).collect())
    }

    /// The shipped gates, as `promptc gate --all --no-record`.
    async fn gates(&mut self, data: &mut ReportData, folder: &Path) -> Result<(), EngineError> {
        let given = BTreeMap::new();
        let question = Question { run_id: self.run_id, given: &given, warn_as_error: false };
        let has_files = repository(folder).is_some();
        for shipped in shipped::GATES {
            let gate = SqlGate::parse(shipped.path, shipped.sql)?;
            let decision = gate.decide(self.session, &question).await;
            let about = About::of(&gate, self.run_id, &[], has_files.then_some(shipped.path));
            let (gate, verdicts) = decided(&decision, about, &data.series);
            data.gates.push(gate);
            data.verdicts.extend(verdicts);
        }
        Ok(())
    }

    /// What stands in the history about this run: improvements and unchanged benchmarks, which gates do not return, and
    /// gates that are not shipped.
    async fn recorded(&mut self, data: &mut ReportData) -> Result<(), EngineError> {
        let rows = self.ask(&own!("recorded.sql", Some(Section::Verdicts))).await?;
        let live: Vec<String> = data.gates.iter().map(|gate| gate.id.clone()).collect();
        for row in rows.iter() {
            let gate_id = row.word("gate_id");
            let is_live = live.contains(&gate_id);
            if row.text("bench_id").is_none() {
                self.recorded_gate(data, &row, is_live);
                continue;
            }
            let verdict = verdict_of(&row, &data.series);
            let is_quiet = matches!(verdict.decision, Decision::Improvement | Decision::NoChange);
            let is_told = |other: &Verdict| {
                (&other.gate_id, &other.bench_id, &other.metric)
                    == (&gate_id, &verdict.bench_id, &verdict.metric)
            };
            let is_shown =
                if is_live { is_quiet && !data.verdicts.iter().any(is_told) } else { row.flag("is_last") };
            if is_shown {
                data.verdicts.push(verdict);
            }
        }
        Ok(())
    }

    /// The row about a run: a gate of its own, or what is to be known about one that was evaluated again.
    fn recorded_gate(&mut self, data: &mut ReportData, row: &Row<'_>, is_live: bool) {
        let (gate_id, said) = (row.word("gate_id"), row.word("verdict"));
        let reason = row.word("reason");
        if gate_id == "manual" {
            let word = if said == "pass" { "accepted" } else { "rejected" };
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            self.notes.push(format!("This run was {word} by hand{why}."));
            return;
        }
        let outcome = match said.as_str() {
            "pass" => GateOutcome::Passed,
            "fail" => GateOutcome::Failed,
            _ if reason.starts_with("could not run") => GateOutcome::NotRun,
            _ => GateOutcome::Undecided,
        };
        if !is_live {
            let message = if reason.is_empty() { "as recorded in the history".to_owned() } else { reason };
            data.gates.push(Gate {
                id: gate_id,
                severity: Severity::Error,
                outcome,
                message,
                ..Gate::default()
            });
            return;
        }
        let now = data.gates.iter().find(|gate| gate.id == gate_id && gate.severity == Severity::Error);
        if let Some(now) = now.filter(|now| now.outcome != outcome) {
            self.notes.push(format!(
                "Gate {gate_id} is shown as it decides now: {}. When it was recorded it said: {}.",
                now.outcome.words(),
                outcome.words()
            ));
        }
    }

    async fn noise(&mut self, series: &[Series]) -> Result<Vec<NoiseRow>, EngineError> {
        let rows = self.ask_shipped("noise_health", Section::Noise).await?;
        let is_ours = |row: &Row<'_>| {
            let (bench_id, metric) = (row.word("bench_id"), row.word("metric"));
            series.iter().any(|series| series.bench_id == bench_id && series.metric == metric)
        };
        let row_of = |row: Row<'_>| NoiseRow {
            bench_id: row.word("bench_id"),
            metric: row.word("metric"),
            run_count: row.count("run_count"),
            between_run_cv: row.number("between_run_cv"),
            within_run_cv: row.number("within_run_cv"),
            load1: row.number("load1"),
            steal_ms: row.number("steal_ms"),
            state: row.word("state"),
        };
        Ok(rows.iter().filter(is_ours).map(row_of).collect())
    }

    async fn rates(&mut self) -> Result<Vec<Rate>, EngineError> {
        let rows = self.ask(&own!("rates.sql", Some(Section::Rates))).await?;
        Ok(rows.iter().map(|row| rate_of(&row)).collect())
    }
}

fn find<'a>(series: &'a mut [Series], row: &Row<'_>) -> Option<&'a mut Series> {
    let (bench_id, metric) = (row.word("bench_id"), row.word("metric"));
    let key = |series: &Series| (series.bench_id.clone(), series.metric.clone());
    let place = series.binary_search_by_key(&(bench_id, metric), key).ok()?;
    series.get_mut(place)
}

fn run_of(run_id: &str, row: &Row<'_>) -> RunFacts {
    RunFacts {
        id: run_id.to_owned(),
        started_at: row.whole("started_at").unwrap_or(0),
        git: GitFacts {
            sha: row.word("git_sha"),
            branch: row.word("git_branch"),
            tag: row.text("git_tag"),
            commit_time: row.whole("commit_time").filter(|time| *time > 0),
            is_dirty: row.flag("is_dirty"),
        },
        base_sha: row.text("base_sha"),
        pull_request: row.text("pr"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        env_id: row.word("env_id"),
        env: Vec::new(),
    }
}

fn series_of(row: &Row<'_>) -> Series {
    let line = row.text("line").and_then(|line| line.parse().ok()).unwrap_or(1);
    let numbers = (row.number("value"), row.number("ci_low"), row.number("ci_high"));
    let estimate = if let (Some(value), Some(low), Some(high)) = numbers {
        Some(Estimate { value, low, high })
    } else {
        None
    };
    Series {
        bench_id: row.word("bench_id"),
        metric: row.word("metric"),
        unit: row.word("unit"),
        direction: row.whole("direction").map_or(0, |direction| direction.signum() as i8),
        estimate,
        source: row.text("file").map(|file| Place { file, line }),
        ..Series::default()
    }
}

/// Measurements that ended without a value, in words.
fn faults_of(measured: &Rows) -> Vec<String> {
    let faults: Vec<Row<'_>> = measured.iter().filter(|row| row.count("fault_count") > 0).collect();
    let named = faults.iter().take(FAULTS_NAMED).map(|row| {
        let why = row.text("error").map_or_else(String::new, |error| format!(": {error}"));
        format!("{} {} has no value ({}){why}.", row.word("bench_id"), row.word("metric"), row.word("fault"))
    });
    let mut notes: Vec<String> = named.collect();
    if faults.len() > FAULTS_NAMED {
        notes.push(format!("{} more measurements have no value.", faults.len() - FAULTS_NAMED));
    }
    notes
}

fn environment_of(rows: &Rows) -> Vec<(String, String)> {
    let Some(row) = rows.iter().next() else { return Vec::new() };
    let names = rows.names().iter().filter(|name| !ENV_HIDDEN.contains(&name.as_str()));
    let known = names.filter_map(|name| Some((name.clone(), row.text(name)?)));
    known
        .filter(|(name, value)| !value.is_empty() && value != "[]" && !name.ends_with("captured_at"))
        .collect()
}

fn target_of(row: &Row<'_>, skipped: Option<&String>) -> TargetRow {
    let said = row.word("status");
    let status = TargetStatus::parse(&said);
    let (status, reason) = match (status, skipped) {
        (Some(TargetStatus::NotMeasuredHere), Some(reason)) => (TargetStatus::Skipped, Some(reason.clone())),
        (Some(TargetStatus::NotMet), _) if row.number("actual").is_none() => {
            (TargetStatus::NotMet, Some("the measurement failed".to_owned()))
        }
        (Some(status), _) => (status, None),
        (None, _) => (TargetStatus::NotMeasuredHere, Some(said)),
    };
    let is_measured = matches!(status, TargetStatus::Met | TargetStatus::NotMet);
    TargetRow {
        target_id: row.word("target_id"),
        seed: row.word("seed"),
        kind: row.word("kind"),
        bench_id: row.word("bench_id"),
        metric: row.word("metric"),
        statistic: row.word("statistic"),
        op: row.word("op"),
        bound: row.number("bound").unwrap_or(f64::NAN),
        unit: row.word("unit"),
        actual: row.number("actual").filter(|_| is_measured),
        status,
        reason: reason.filter(|reason| !reason.is_empty()),
    }
}

fn verdict_of(row: &Row<'_>, series: &[Series]) -> Verdict {
    let (bench_id, metric) = (row.word("bench_id"), row.word("metric"));
    let pairs = |name: &str| row.whole(name).and_then(|pairs| u32::try_from(pairs).ok());
    Verdict {
        gate_id: row.word("gate_id"),
        unit: unit(series, &bench_id, &metric),
        bench_id,
        metric,
        base: row.number("base"),
        cand: row.number("cand"),
        rel: row.number("rel"),
        ci_low: row.number("ci_low"),
        ci_high: row.number("ci_high"),
        p: row.number("p"),
        q: row.number("q"),
        decision: Decision::parse(&row.word("verdict")).unwrap_or_default(),
        needed_pairs: pairs("needed_pairs"),
        pair_count: pairs("pair_count"),
        reason: row.text("reason"),
    }
}

fn rate_of(row: &Row<'_>) -> Rate {
    let injected_rel = row.number("injected_rel");
    let (scope, gate_id, sha) = (row.word("scope"), row.word("gate_id"), row.word("git_sha"));
    let kind = if scope == "runs" { RateKind::FalseAlarm } else { RateKind::Power };
    let commit: String = sha.chars().take(7).collect();
    let what = match scope.as_str() {
        "runs" => format!("runs of one build against itself, gate {gate_id}, commit {commit}"),
        "quiet" => format!("benchmarks with a noise of pairs up to 12 %, gate {gate_id}"),
        _ => format!("noisier benchmarks, gate {gate_id}"),
    };
    let bar = match (scope.as_str(), injected_rel) {
        ("runs", _) => Some(FALSE_ALARMS_MAX),
        ("quiet", Some(POWER_AT)) => Some(POWER_MIN),
        _ => None,
    };
    Rate {
        kind,
        injected_rel,
        count: row.count("hits"),
        total: row.count("trials"),
        low: row.number("low"),
        high: row.number("high"),
        bar,
        note: what,
    }
}
