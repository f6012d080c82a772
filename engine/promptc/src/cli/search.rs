//! `promptc search`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use clap::{Args, ValueEnum};
use promptc_engine::compiler::op::Fusion;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::program::load;
use promptc_engine::run::search::{Found, HITS_MAX, Hit, QUERY_BYTES_MAX, SearchRequest, search as ask};
use serde_json::{Map, Value, json};

use super::progress;
use super::run::stop_on_interrupt;
use super::{Common, Outcome, parse_set, print_diagnostics, settings};
use crate::exit::Exit;

mod snippet;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc search pipelines/crate_docs.promptc bm25 'optional features'
  promptc search pipelines/crate_docs.promptc bm25,ann 'how do I turn a feature off?' --explain
  promptc search pipelines/crate_docs.promptc bm25 '\"feature unification\"' --format json -k 3

The indexes are brought up to date first. Scores of several indexes are standardised and added; they compare the hits of one
query, not of two.")]
pub(super) struct SearchArgs {
    /// The program that declares the indexes
    file: PathBuf,
    /// An index, or several over one stream, as `bm25,ann`
    #[arg(value_name = "INDEX[,INDEX]")]
    index: String,
    /// What is searched for; an index with `positions = true` takes a phrase between quotation marks
    #[arg(value_parser = parse_query, allow_hyphen_values = true)]
    query: String,
    /// Value of a param, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Hits at most
    #[arg(short, long, default_value_t = 10, value_parser = parse_hits)]
    k: usize,
    /// How several rankings become one: `zscore` adds standardised scores, `rrf` adds 1 / (60 + rank), `max` takes the greatest score;
    /// a scorer of kind `fusion` adds standardised scores with the weights that it learned
    #[arg(long, default_value = "zscore", value_name = "zscore|rrf|max|SCORER")]
    fuse: String,
    /// Also print which index found a hit, its scores there, and what each word adds
    #[arg(long)]
    explain: bool,
    /// How hits are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object, with everything that `--explain` prints
    Json,
}

fn parse_query(text: &str) -> Result<String, String> {
    match text.len() {
        _ if text.trim().is_empty() => Err("expected words to search for".to_owned()),
        found if found > QUERY_BYTES_MAX => Err(format!("{found} bytes found, at most {QUERY_BYTES_MAX}")),
        _ => Ok(text.to_owned()),
    }
}

fn parse_hits(text: &str) -> Result<usize, String> {
    let hits = text.parse().ok().filter(|hits| (1..=HITS_MAX).contains(hits));
    hits.ok_or_else(|| format!("expected a number from 1 to {HITS_MAX}"))
}

pub(super) fn search(args: &SearchArgs, common: &Common) -> Outcome {
    // Warnings of the program are said by `check` and `run`; here they would hide what was found.
    let program = load(&args.file, &settings(&args.set, false))?;
    if program.checked.has_errors() {
        print_diagnostics(&program, common);
        return Ok(Exit::Program);
    }
    let store = common.store(program.folder())?;
    let runtime = common.runtime()?;
    let cancel = Cancel::default();
    let events = progress::listener(common);
    let kept = std::sync::Arc::downgrade(&store);
    stop_on_interrupt(cancel.clone(), events.clone(), move || {
        if let Some(store) = kept.upgrade() {
            store.discard_temporaries();
        }
    })?;
    let fuse = match args.fuse.as_str() {
        "zscore" => None,
        "rrf" => Some(Fusion::Rrf(60.0)),
        "max" => Some(Fusion::Max),
        scorer => Some(Fusion::Learned(scorer.to_owned())),
    };
    let indexes: Vec<String> = args.index.split(',').map(|name| name.trim().to_owned()).collect();
    let request = SearchRequest { indexes: &indexes, query: &args.query, k: args.k, fuse };
    let options = common.run_options(&[], false);
    let found = runtime.block_on(ask(&program, store, &options, &request, events.clone(), cancel));
    events.finish();
    runtime.shutdown_timeout(Duration::from_millis(100));
    let found = found?;
    for warning in &found.warnings {
        eprintln!("warning: {warning}");
    }
    match args.format {
        Format::Json => println!("{}", as_json(&args.query, &found)?),
        Format::Text => print_text(args, &found, common.is_colored(std::io::stdout().is_terminal()))?,
    }
    Ok(Exit::Ok)
}

/// The values of the key columns, joined by `/` as `promptc trace` takes them.
fn key_of(found: &Found, row: usize) -> Result<String, EngineError> {
    let columns = found.key.iter().filter_map(|name| found.rows.column_by_name(name));
    let values: Vec<String> =
        columns.map(|column| array_value_to_string(column, row)).collect::<Result<_, _>>()?;
    Ok(snippet::shown(&values.join("/")).collect())
}

fn print_text(args: &SearchArgs, found: &Found, is_colored: bool) -> Result<(), EngineError> {
    if found.hits.is_empty() {
        println!("nothing found");
    }
    let column = |name: &Option<String>| name.as_ref().and_then(|name| found.rows.column_by_name(name));
    let (text, title) = (column(&found.text), column(&found.title));
    for (row, hit) in found.hits.iter().enumerate() {
        let title = match title.filter(|title| title.is_valid(row)) {
            Some(title) => format!("  {}", snippet::snippet(&array_value_to_string(title, row)?, &[], false)),
            None => String::new(),
        };
        println!("{:>3}  {:<8.4} {}{title}", row + 1, hit.score, key_of(found, row)?);
        if let Some(text) = text.filter(|text| text.is_valid(row)) {
            let text = array_value_to_string(text, row)?;
            println!("     {}", snippet::snippet(&text, &hit.spans, is_colored));
        }
        if args.explain {
            print_reason(hit, found);
        }
    }
    for arm in found.arms.iter().filter(|_| args.explain) {
        let weight = arm.weight.map_or_else(String::new, |weight| format!(", weight {weight:.2}"));
        println!("{}: {} candidates{weight}; {}", arm.name, arm.candidates, arm.backend);
    }
    if args.explain {
        println!("searched in {:.1} ms", found.elapsed_ms);
    }
    Ok(())
}

/// Which index found it, and what each word adds.
fn print_reason(hit: &Hit, found: &Found) {
    for (arm, report) in hit.arms.iter().zip(&found.arms) {
        let name = &report.name;
        match (arm.rank, arm.score) {
            (Some(rank), Some(score)) => {
                println!("     {name} found it at rank {rank} with {score:.4}, which adds {:+.4}", arm.part);
            }
            (_, Some(score)) => println!(
                "     {name} has it not among its {}; it scores {score:.4}, which adds {:+.4}",
                report.candidates, arm.part
            ),
            _ => println!("     {name} has it not among its {}", report.candidates),
        }
    }
    if let (Some(words), false) = (&found.words, hit.terms.is_empty()) {
        println!("     {words} counts");
    }
    for term in &hit.terms {
        let times = if term.frequency == 1 { "once".to_owned() } else { format!("{} times", term.frequency) };
        println!("       {:<16} {:+.4}  {times}, in {} rows", term.term, term.part, term.rows);
    }
}

fn as_json(query: &str, found: &Found) -> Result<String, EngineError> {
    let arms = found.arms.iter().map(|arm| {
        json!({ "index": arm.name, "kind": arm.kind, "backend": arm.backend, "candidates": arm.candidates,
            "weight": arm.weight })
    });
    let rows = rows_of(&found.rows)?;
    let hits = found.hits.iter().zip(rows).enumerate().map(|(place, (hit, row))| {
        let found_by = hit.arms.iter().zip(&found.arms).map(|(arm, report)| {
            json!({ "index": report.name, "rank": arm.rank, "score": arm.score, "part": arm.part })
        });
        let terms = hit.terms.iter().map(|term| {
            json!({ "term": term.term, "frequency": term.frequency, "rows": term.rows, "idf": term.idf,
                "part": term.part })
        });
        let spans = hit.spans.iter().map(|span| json!([span.start, span.end]));
        json!({ "rank": place + 1, "score": hit.score, "row": row, "indexes": found_by.collect::<Vec<_>>(),
            "terms": terms.collect::<Vec<_>>(), "spans": spans.collect::<Vec<_>>() })
    });
    let report = json!({
        "query": query,
        "indexes": arms.collect::<Vec<_>>(),
        "text": found.text,
        "key": found.key,
        "terms_of": found.words,
        "elapsed_ms": found.elapsed_ms,
        "hits": hits.collect::<Vec<_>>(),
        "warnings": found.warnings,
    });
    serde_json::to_string_pretty(&report).map_err(|error| EngineError::internal("search", error))
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>, EngineError> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(|error| EngineError::internal("search", error))
}
