//! `promptc trace`.

use std::path::PathBuf;

use arrow::array::{Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array, UInt64Array};
use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::program::load;
use promptc_engine::run::last_build;
use promptc_engine::sql;

use super::{Common, Outcome, print_diagnostics, settings};
use crate::exit::Exit;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc trace pipelines/crate_docs.promptc pack.prompts q01
  promptc trace pipelines/crate_docs.promptc pack.prompts q01 --byte 400")]
pub(super) struct TraceArgs {
    /// The program whose last build is asked
    file: PathBuf,
    /// A stream, as `pipeline.flow`
    stream: String,
    /// The key of a row; the values of a composite key joined by `/`
    key: String,
    /// Only the part of the prompt that holds the token with this number, from 0 (tokens of `word_punct`)
    #[arg(long)]
    token: Option<usize>,
    /// Only the part of the prompt that holds this byte
    #[arg(long, conflicts_with = "token")]
    byte: Option<usize>,
}

pub(super) fn trace(args: &TraceArgs, common: &Common) -> Outcome {
    let program = load(&args.file, &settings(&[], false))?;
    if program.checked.has_errors() {
        print_diagnostics(&program, common);
        return Ok(Exit::Program);
    }
    let store = common.store(program.folder())?;
    let Some(last) = last_build(&store, &program.identity())? else {
        let message = format!("{} was not run yet; `promptc run` builds its streams", args.file.display());
        return Err(EngineError::Unknown(message));
    };
    let streams = &program.checked.hir.graph;
    let key_columns = streams.stream(&args.stream).map(|id| streams.node(id).key.clone()).unwrap_or_default();
    let row = sql::row_by_key(&store, &last, &args.stream, &key_columns, &args.key)?;
    let schema = row.schema();
    let lineage = schema.fields().iter().find(|field| field.name().ends_with("_lineage"));
    match lineage.and_then(|field| field.name().strip_suffix("_lineage")) {
        Some(prompt) => print_lineage(&row, prompt, args),
        None => print_spans(&row),
    }
}

/// Each part of a prompt: where it is, what it says, where it comes from.
fn print_lineage(row: &RecordBatch, prompt: &str, args: &TraceArgs) -> Outcome {
    let text = column::<StringArray>(row, prompt)?.value(0).to_owned();
    let parts = column::<ListArray>(row, &format!("{prompt}_lineage"))?.value(0);
    let parts = parts.as_any().downcast_ref::<StructArray>().ok_or_else(shape)?;
    let wanted = match (args.token, args.byte) {
        (Some(token), _) => Some(promptc_engine::prompt::token_start(&text, token).ok_or_else(|| {
            EngineError::Unknown(format!("the prompt has fewer than {} tokens", token + 1))
        })?),
        (None, byte) => byte,
    };
    if let Some(byte) = wanted.filter(|byte| *byte >= text.len()) {
        return Err(EngineError::Unknown(format!("byte {byte} is beyond the prompt's {} bytes", text.len())));
    }
    for idx in 0..parts.len() {
        let (start, end) = (number32(parts, "start", idx)?, number32(parts, "end", idx)?);
        if wanted.is_some_and(|byte| byte < start || byte >= end) {
            continue;
        }
        let message = number32(parts, "message", idx)?;
        let formal = optional(parts, "formal", idx)?;
        let origin = match optional(parts, "doc", idx)? {
            Some(doc) => {
                let (from, to) = (number64(parts, "doc_start", idx)?, number64(parts, "doc_end", idx)?);
                let via = field::<ListArray>(parts, "via")?.value(idx);
                let via = via.as_any().downcast_ref::<StringArray>().ok_or_else(shape)?;
                let chain: Vec<&str> = via.iter().flatten().collect();
                format!("{doc} [{from}, {to}) via {}", chain.join(" > "))
            }
            None => formal.as_ref().map_or_else(|| "fixed text".to_owned(), |formal| format!("`{formal}`")),
        };
        let part = text.get(start..end).unwrap_or("");
        println!("[{start}, {end}) message {message} <- {}", shown(&origin));
        println!("    {}", part.escape_debug().to_string().replace("\\n", "\n    "));
    }
    Ok(Exit::Ok)
}

/// Every span column of a row.
fn print_spans(row: &RecordBatch) -> Outcome {
    for (field, values) in row.schema().fields().iter().zip(row.columns()) {
        if field.name().starts_with('~') {
            continue;
        }
        let value = arrow::util::display::array_value_to_string(values, 0)?;
        println!("{}: {}", field.name(), shown(&value));
    }
    Ok(Exit::Ok)
}

/// A value on a line of its own: what would steer the terminal is written as an escape.
fn shown(value: &str) -> String {
    let steers = |letter: char| {
        let is_direction = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_direction || letter.is_control()
    };
    let mut line = String::with_capacity(value.len());
    for letter in value.chars() {
        if steers(letter) { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

fn shape() -> EngineError {
    EngineError::internal("trace", "a column of another type")
}

fn column<'a, T: 'static>(row: &'a RecordBatch, name: &str) -> Result<&'a T, EngineError> {
    row.column_by_name(name).and_then(|column| column.as_any().downcast_ref()).ok_or_else(shape)
}

fn field<'a, T: 'static>(parts: &'a StructArray, name: &str) -> Result<&'a T, EngineError> {
    parts.column_by_name(name).and_then(|column| column.as_any().downcast_ref()).ok_or_else(shape)
}

fn number32(parts: &StructArray, name: &str, idx: usize) -> Result<usize, EngineError> {
    Ok(field::<UInt32Array>(parts, name)?.value(idx) as usize)
}

fn number64(parts: &StructArray, name: &str, idx: usize) -> Result<u64, EngineError> {
    Ok(field::<UInt64Array>(parts, name)?.value(idx))
}

fn optional(parts: &StructArray, name: &str, idx: usize) -> Result<Option<String>, EngineError> {
    let values = field::<StringArray>(parts, name)?;
    Ok(values.is_valid(idx).then(|| values.value(idx).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        assert_eq!(shown("a\u{1b}[31mb\nc\u{202e}d é"), "a\\u{1b}[31mb\\nc\\u{202e}d é");
    }
}
