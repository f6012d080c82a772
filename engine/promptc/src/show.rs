//! Tables and records for people and for programs.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{JsonArray, LineDelimited};
use comfy_table::{Cell, CellAlignment, Table, presets};
use promptc_engine::error::EngineError;
use promptc_engine::report::{NodeReport, NodeState, RunReport};
use promptc_engine::sql::is_explanation;

use crate::cli::query::Format;

/// Quarantined rows that are printed.
const QUARANTINE_SHOWN: usize = 5;

/// What a run did: one line if nothing, else a row per node, streams bold in order, operators indented.
pub(crate) fn print_report(report: &RunReport) {
    let seconds = report.elapsed_ms / 1e3;
    if report.is_idle() {
        println!("nothing to do: {} stages are as in the last build ({seconds:.2} s)", report.nodes.len());
        return;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["node", "operator", "rows", "reused", "computed", "deleted", "ms"]);
    for node in &report.nodes {
        table.add_row(row(node));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for output in &report.outputs {
        let state = if output.changed { "written" } else { "unchanged" };
        println!("{state}: {} ({} rows, {} bytes)", output.path, output.rows, output.bytes);
    }
    for (name, what) in &report.learned {
        println!("learned {name}: {what}");
    }
    let mib = report.source_bytes as f64 / f64::from(1 << 20);
    println!(
        "plan {} over {mib:.1} MiB of sources in {seconds:.2} s",
        &report.plan[..12.min(report.plan.len())]
    );
}

fn row(node: &NodeReport) -> Vec<Cell> {
    let name = if node.is_stage { node.name.clone() } else { format!("  {}", node.name) };
    let time =
        if node.state == NodeState::Reused { "-".to_owned() } else { format!("{:.1}", node.elapsed_ms) };
    let mut cells = vec![Cell::new(name), Cell::new(&node.op)];
    cells.extend([node.rows, node.reused, node.computed, node.deleted].map(Cell::new));
    cells.push(Cell::new(time));
    cells
}

/// Rows that were left out, on standard error.
pub(crate) fn print_warnings(report: &RunReport) {
    if report.quarantined == 0 {
        return;
    }
    eprintln!("quarantine: {} rows were left out", report.quarantined);
    for row in report.quarantine.iter().take(QUARANTINE_SHOWN) {
        let line = row.line.map_or_else(String::new, |line| format!(":{line}"));
        let place = if row.file.is_empty() { row.source.clone() } else { format!("{}{line}", row.file) };
        eprintln!("  {} {place}: {}", row.code, row.message);
    }
    let more = report.quarantined.saturating_sub(QUARANTINE_SHOWN as u64);
    if more > 0 {
        eprintln!("  and {more} more; `--json` lists them");
    }
}

/// Rows of a query, on standard output.
pub(crate) fn print_batches(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
) -> Result<(), EngineError> {
    write_batches(&mut std::io::stdout().lock(), schema, batches, format)
}

/// Rows of a query.
pub(crate) fn write_batches(
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
) -> Result<(), EngineError> {
    let failed = |source| EngineError::Program { path: PathBuf::from("the output"), source };
    match format {
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
            if batches.is_empty() {
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
            }
            for batch in batches {
                writer.write(&flat(batch)?)?;
            }
        }
        Format::Json => {
            let mut writer = with_nulls().build::<_, JsonArray>(&mut *out);
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
            drop(writer);
            writeln!(out).map_err(failed)?;
        }
        Format::Jsonl => {
            let mut writer = with_nulls().build::<_, LineDelimited>(out);
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
        }
        Format::Table if is_explanation(schema) => write_plans(out, batches, &failed)?,
        Format::Table | Format::Markdown => {
            let preset =
                if format == Format::Table { presets::UTF8_BORDERS_ONLY } else { presets::ASCII_MARKDOWN };
            writeln!(out, "{}", table(schema, batches, preset)?).map_err(failed)?;
        }
        Format::Line => write_lines(out, schema, batches, &failed)?,
    }
    Ok(())
}

/// Every row has every key.
fn with_nulls() -> arrow::json::WriterBuilder {
    arrow::json::WriterBuilder::new().with_explicit_nulls(true)
}

/// A line per cell, whole, `name = value` with the names at the right; an empty line between rows. Further lines of a value begin
/// under its first.
fn write_lines(
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    failed: &dyn Fn(std::io::Error) -> EngineError,
) -> Result<(), EngineError> {
    let width = |name: &str| name.chars().count();
    let name_width = schema.fields().iter().map(|field| width(field.name())).max().unwrap_or(0);
    let indent = format!("\n{:name_width$}   ", "");
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    for (number, (batch, row)) in rows.enumerate() {
        if number > 0 {
            writeln!(out).map_err(failed)?;
        }
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let value = arrow::util::display::array_value_to_string(column, row)?;
            let line = format!("{:>name_width$} = {}", field.name(), value.replace('\n', &indent));
            writeln!(out, "{}", line.trim_end()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Plans are texts of many long lines: a name, and the plan below it.
fn write_plans(
    out: &mut dyn Write,
    batches: &[RecordBatch],
    failed: &dyn Fn(std::io::Error) -> EngineError,
) -> Result<(), EngineError> {
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |idx: usize| arrow::util::display::array_value_to_string(batch.column(idx), row);
            writeln!(out, "{}", cell(0)?).map_err(failed)?;
            cell(1)?.trim_end().lines().try_for_each(|line| writeln!(out, "  {line}")).map_err(failed)?;
        }
    }
    Ok(())
}

/// Lists and records as text, since a cell of CSV holds one value.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, EngineError> {
    let columns: Result<Vec<(String, ArrayRef)>, EngineError> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            if !field.data_type().is_nested() {
                return Ok((field.name().clone(), column.clone()));
            }
            let cells: Result<Vec<String>, _> = (0..batch.num_rows())
                .map(|row| arrow::util::display::array_value_to_string(column, row))
                .collect();
            Ok((field.name().clone(), Arc::new(StringArray::from(cells?)) as ArrayRef))
        })
        .collect();
    Ok(RecordBatch::try_from_iter(columns?)?)
}

/// Longest cell of a table for people.
const CELL_CHARS_MAX: usize = 80;

fn table(schema: &SchemaRef, batches: &[RecordBatch], preset: &str) -> Result<Table, EngineError> {
    let mut table = Table::new();
    table.load_preset(preset);
    // A bar within a cell would end it.
    let plain =
        |text: String| if preset == presets::ASCII_MARKDOWN { text.replace('|', "\\|") } else { text };
    table.set_header(schema.fields().iter().map(|field| plain(field.name().clone())));
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                let text = arrow::util::display::array_value_to_string(column, row)?;
                // Other control characters would steer the terminal.
                let line: String =
                    text.replace('\n', "\\n").chars().filter(|letter| !letter.is_control()).collect();
                let is_long = line.chars().count() > CELL_CHARS_MAX;
                Ok(plain(if is_long {
                    line.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
                } else {
                    line
                }))
            });
            let cells: Result<Vec<String>, arrow::error::ArrowError> = cells.collect();
            table.add_row(cells?);
        }
    }
    for (idx, field) in schema.fields().iter().enumerate() {
        if field.data_type().is_numeric()
            && let Some(column) = table.column_mut(idx)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    fn shown(batch: &RecordBatch, format: Format) -> String {
        let mut out = Vec::new();
        write_batches(&mut out, &batch.schema(), std::slice::from_ref(batch), format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_have_names_at_the_right_and_whole_values() {
        let long = "x".repeat(CELL_CHARS_MAX + 20);
        let texts = StringArray::from(vec![Some("one\ntwo"), None, Some(long.as_str())]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("größe", Arc::new(Float64Array::from(vec![1.5, 2.0, 3.0])) as ArrayRef, false),
            ("id", Arc::new(texts) as ArrayRef, true),
        ])
        .unwrap();
        let expected = format!(
            "größe = 1.5\n   id = one\n        two\n\ngröße = 2.0\n   id =\n\ngröße = 3.0\n   id = {long}\n"
        );
        assert_eq!(shown(&batch, Format::Line), expected);
        assert_eq!(shown(&batch.slice(0, 0), Format::Line), "");
    }

    #[test]
    fn plans_are_shown_whole_and_other_texts_in_one_line() {
        let plan = format!("Sort\n  {}", "y".repeat(CELL_CHARS_MAX));
        let batch = |first: &str, second: &str| {
            let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
            RecordBatch::try_from_iter([(first, text("logical_plan")), (second, text(&plan))]).unwrap()
        };
        let expected = format!("logical_plan\n  Sort\n    {}\n", "y".repeat(CELL_CHARS_MAX));
        assert_eq!(shown(&batch("plan_type", "plan"), Format::Table), expected);
        assert!(shown(&batch("type", "plan"), Format::Table).contains("Sort\\n"));
        assert!(shown(&batch("plan_type", "plan"), Format::Markdown).contains("Sort\\n"));
    }
}
