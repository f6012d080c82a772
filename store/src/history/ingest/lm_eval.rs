//! Results of the language model evaluation harness, as its versions 0.3 and 0.4 write them.
//!
//! A task has scores `name` (0.3) or `name,filter` (0.4) with `name_stderr` beside them. The id is `lm_eval/<task>`, with the
//! filter as a third segment unless it is `none`; the metric is the score's name. Mean and interval are the score plus and
//! minus 1.96 standard errors. `acc` is called `accuracy` as everywhere in the history, and `bleu` is out of 1, not 100.

use super::super::{Micros, ResultRow, Summary, bench_id};
use super::fault::Fault;
use super::gather::{Measured, Parsed};
use super::units;
use super::{IngestOptions, row};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const HELP: &str = "give the file `results_*.json` that `lm_eval --output_path` writes";

/// Two-sided 95 % point of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// Numbers beside the scores that are none.
const NOT_SCORES: [&str; 3] = ["sample_len", "sample_count", "samples"];

#[derive(Deserialize)]
struct Results {
    results: BTreeMap<String, Map<String, Value>>,
    #[serde(default)]
    groups: Option<BTreeMap<String, Map<String, Value>>>,
    // What describes a score varies by version, so that a form that is not known costs the description alone.
    #[serde(default)]
    versions: Value,
    #[serde(default, rename = "n-shot")]
    shot_counts: Value,
    #[serde(default, rename = "n-samples")]
    sample_counts: Value,
    #[serde(default)]
    higher_is_better: Value,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    date: Value,
    #[serde(default)]
    model_name: Value,
}

/// One measurement per task and score.
pub(super) fn parse(text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let mut results: Results = serde_json::from_str(text).map_err(|error| Fault::json(&error, 1, HELP))?;
    let mut tasks = std::mem::take(&mut results.results);
    for (name, scores) in results.groups.take().unwrap_or_default() {
        tasks.entry(name).or_insert(scores);
    }
    let mut parsed = Parsed::default();
    for (task, scores) in &tasks {
        let line = line_of(text, task);
        for (key, value) in scores {
            let (name, filter) = key.split_once(',').unwrap_or((key, "none"));
            let is_score = !name.ends_with("_stderr") && !NOT_SCORES.contains(&name);
            let Some(value) = value.as_f64().filter(|_| is_score) else { continue };
            let score = Score { task, name, filter, value };
            parsed.measured.push(measured(&results, scores, &score, line, at, options).map_err(|fault| {
                match line {
                    Some(line) => fault.on(line),
                    None => fault,
                }
            })?);
        }
    }
    if parsed.measured.is_empty() {
        return Err(Fault::new(Some(1), "no score of any task", HELP));
    }
    Ok(parsed)
}

struct Score<'t> {
    task: &'t str,
    name: &'t str,
    filter: &'t str,
    value: f64,
}

fn measured(
    results: &Results,
    scores: &Map<String, Value>,
    score: &Score<'_>,
    line: Option<u64>,
    at: Micros,
    options: &IngestOptions,
) -> Result<Measured, Fault> {
    let Score { task, name, filter, value } = *score;
    let scale = if name == "bleu" { 0.01 } else { 1.0 };
    let filter_segment = if filter == "none" { "" } else { filter };
    let id = bench_id(&format!("lm_eval/{}/{}", task.replace('/', "_"), filter_segment.replace('/', "_")));
    let metric = metric(name);
    units::check_metric(&metric, "ratio")?;
    let mut row = row(options, id, &metric, "ratio", at);
    row.direction = direction(results, task, name);
    add_setting(results, task, &mut row);
    if let Some(date) = results.date.as_f64().filter(|date| (0.0..=253_402_300_799.0).contains(date)) {
        row.started_at = (date * 1e6) as Micros;
    }
    let value = value * scale;
    let stderr_key = [format!("{name}_stderr,{filter}"), format!("{name}_stderr")];
    let stderr = stderr_key.iter().find_map(|key| scores.get(key)?.as_f64()).map(|stderr| stderr * scale);
    let count = results.sample_counts.get(task).and_then(|counts| counts.get("effective")?.as_u64());
    row.summary = Summary {
        n_samples: u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX),
        mean: Some(value),
        stddev: stderr.zip(count).map(|(stderr, count)| stderr * (count as f64).sqrt()),
        ci_low: stderr.map(|stderr| value - Z95 * stderr),
        ci_high: stderr.map(|stderr| value + Z95 * stderr),
        ci_level: stderr.map(|_| 0.95),
        ..Summary::default()
    };
    row.iters_total = count.unwrap_or(0);
    row.value = Some(value);
    Ok(Measured { line, row, samples: None })
}

/// What else changes the score: version of the task, examples in the prompt, questions taken, model.
fn add_setting(results: &Results, task: &str, row: &mut ResultRow) {
    let mut add = |name: &str, value: Option<&Value>| {
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return,
        };
        row.params.insert(name.to_owned(), text);
    };
    add("task_version", results.versions.get(task));
    add("shots", results.shot_counts.get(task).or_else(|| results.config.get("num_fewshot")));
    add("limit", results.config.get("limit"));
    add("seed", results.config.get("random_seed"));
    let config = |name: &str| results.config.get(name).and_then(Value::as_str);
    let model = results.model_name.as_str().or_else(|| config("model_args")).or_else(|| config("model"));
    row.subject = model.map(str::to_owned);
}

/// The history's name of a score.
fn metric(name: &str) -> String {
    match name {
        "acc" => return "accuracy".to_owned(),
        "acc_norm" => return "accuracy_norm".to_owned(),
        _ => {}
    }
    let is_kept = |character: char| character.is_ascii_alphanumeric();
    let words = name.split(|character| !is_kept(character)).filter(|word| !word.is_empty());
    let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("_");
    // Some tasks name their scores by a length, as `4096`.
    if name.starts_with(|character: char| character.is_ascii_digit()) {
        format!("score_{name}")
    } else {
        name
    }
}

/// As the file says, else as is known of the metric, else for information only.
fn direction(results: &Results, task: &str, name: &str) -> i8 {
    match results.higher_is_better.get(task).and_then(|scores| scores.get(name)?.as_bool()) {
        Some(true) => 1,
        Some(false) => -1,
        None => match name {
            "word_perplexity" | "byte_perplexity" | "bits_per_byte" | "ter" | "brier_score" => -1,
            "acc_norm" | "exact_match" | "f1" | "mc1" | "mc2" | "chrf" => 1,
            _ => units::direction(&metric(name)).unwrap_or(0),
        },
    }
}

/// Where a task first stands as a key.
fn line_of(text: &str, task: &str) -> Option<u64> {
    let key = serde_json::to_string(task).ok()?;
    let start =
        text.match_indices(&key).find(|(at, _)| text[at + key.len()..].trim_start().starts_with(':'))?.0;
    Some(1 + text[..start].matches('\n').count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_get_names_of_metrics() {
        for (name, metric_name) in [
            ("acc", "accuracy"),
            ("acc_norm", "accuracy_norm"),
            ("exact_match", "exact_match"),
            ("4096", "score_4096"),
            ("ROUGE-L (f)", "rouge_l_f"),
        ] {
            assert_eq!(metric(name), metric_name);
        }
        assert_eq!(metric("!"), "");
    }
}
