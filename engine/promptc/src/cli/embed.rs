//! `promptc embed`.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use promptc_engine::encoder::{AUC_LEAST, Encoder};
use promptc_engine::error::EngineError;
use serde_json::json;

use super::{Common, Outcome};
use crate::exit::Exit;

/// Most texts of a table of cosines.
const COMPARED_MAX: usize = 20;
/// Most bytes of texts.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc embed 'a cat sat on the mat' 'the kitten was sitting on a rug' 'interest rates rose'
  promptc embed --format jsonl < sentences.txt > vectors.jsonl
  promptc embed --model models/all-MiniLM-L6-v2 'a cat' 'a dog'")]
pub(super) struct EmbedArgs {
    /// Texts; without any, each line of standard input is one
    texts: Vec<String>,
    /// Folder of an encoder or of a static table, or `bert` or `static` for those that come with
    /// promptc; default: bert
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Cosines between the texts for people, or one object with the vector for each text
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Cosines of all pairs
    Table,
    /// A line of JSON for each text
    Jsonl,
}

pub(super) fn embed(args: &EmbedArgs, common: &Common) -> Outcome {
    let _runtime = common.runtime()?;
    let read;
    let texts: Vec<&str> = if args.texts.is_empty() {
        read = standard_input()?;
        read.lines().collect()
    } else {
        args.texts.iter().map(String::as_str).collect()
    };
    if args.format == Format::Table && texts.len() > COMPARED_MAX {
        let message =
            format!("{} texts are too many for a table; `--format jsonl` gives their vectors", texts.len());
        return Err(EngineError::Unknown(message));
    }
    let model = Encoder::open(args.model.as_deref())?;
    let folder = args.model.as_ref().filter(|dir| dir.exists());
    let place = folder.map_or_else(String::new, |dir| dir.display().to_string());
    let (vectors, cut) = model.vectors(&texts)?;
    if cut > 0 {
        eprintln!("warning[W2201]: {cut} texts were cut to the model's tokens");
    }
    let area = model.discrimination()?;
    if area < AUC_LEAST {
        eprintln!(
            "warning[W2202]: paraphrases in English are nearer than unrelated texts in {:.0} of 100 cases only",
            100.0 * area
        );
    }
    let rows: Vec<&[f32]> = vectors.chunks_exact(model.dim().max(1)).collect();
    match args.format {
        Format::Jsonl => {
            for (text, vector) in texts.iter().zip(&rows) {
                println!("{}", json!({ "text": text, "vector": vector }));
            }
            eprintln!("{}", model.describe(&place));
        }
        Format::Table => {
            println!("{}", cosines(&texts, &rows));
            println!("{}", model.describe(&place));
        }
    }
    Ok(Exit::Ok)
}

fn cosines(texts: &[&str], rows: &[&[f32]]) -> Table {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let numbers = (1..=texts.len()).map(|number| number.to_string());
    table.set_header(["".to_owned(), "text".to_owned()].into_iter().chain(numbers));
    for (idx, text) in texts.iter().enumerate() {
        let short: String = text.chars().take(48).filter(|letter| !letter.is_control()).collect();
        let values = rows.iter().map(|other| {
            let norms = (dot(rows[idx], rows[idx]) * dot(other, other)).sqrt();
            if norms > 0.0 { format!("{:.3}", dot(rows[idx], other) / norms) } else { "-".to_owned() }
        });
        table.add_row([(idx + 1).to_string(), short].into_iter().chain(values));
    }
    table
}

fn standard_input() -> Result<String, EngineError> {
    let mut text = String::new();
    let path = PathBuf::from("standard input");
    let failed = |source| EngineError::Program { path: path.clone(), source };
    std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        let message = format!("more than {BYTES_MAX} bytes of texts; give them in parts");
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
    }
    Ok(text)
}
