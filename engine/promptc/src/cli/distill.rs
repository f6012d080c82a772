//! `promptc distill`.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use promptc_engine::distill::{DistillRequest, distill as make};
use promptc_engine::encoder::AUC_LEAST;
use promptc_engine::models::distill::DistillOptions;

use super::{Common, Outcome};
use crate::exit::Exit;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc distill --model models/all-MiniLM-L6-v2 --out models/static
  promptc distill --model models/all-MiniLM-L6-v2 --texts sentences.txt --out models/static

Then `embedder e { kind = static, dir = \"models/static\" }`. Texts are sentences and short passages of the kind that will be
searched, one on each line; 100,000 take about twenty minutes of two cores, nearly all of it the encoder. The same folder, texts
and options give the same bytes, whatever the number of threads.")]
pub(super) struct DistillArgs {
    /// Folder of a sentence encoder of the BERT family: config.json, model.safetensors, tokenizer.json or vocab.txt
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A file with one text a line that the table is fitted to; may be repeated. Without, pieces are encoded alone
    #[arg(long, value_name = "FILE")]
    texts: Vec<PathBuf>,
    /// Folder of the table
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Numbers of a vector
    #[arg(long, default_value_t = DistillOptions::RECIPE.dim, value_parser = parse_dim)]
    dim: usize,
    /// How often the texts are gone through
    #[arg(long, default_value_t = DistillOptions::RECIPE.epochs, value_parser = parse_epochs)]
    epochs: usize,
    /// Decides the order of the texts and what a step leaves out
    #[arg(long, default_value_t = DistillOptions::RECIPE.seed)]
    seed: u64,
}

/// Most passes over the texts; the table is no better after some ten.
const EPOCHS_MAX: usize = 100;

fn parse_epochs(text: &str) -> Result<usize, String> {
    let epochs = text.parse().ok().filter(|epochs| (1..=EPOCHS_MAX).contains(epochs));
    epochs.ok_or_else(|| format!("expected a number from 1 to {EPOCHS_MAX}"))
}

/// As the field `dim` of an embedder takes it.
fn parse_dim(text: &str) -> Result<usize, String> {
    let dim = text.parse().ok().filter(|dim: &usize| (8..=4096).contains(dim));
    dim.ok_or_else(|| "expected 8 to 4096".to_owned())
}

pub(super) fn distill(args: &DistillArgs, common: &Common) -> Outcome {
    // Made for its number of threads.
    let _runtime = common.runtime()?;
    let options =
        DistillOptions { dim: args.dim, epochs: args.epochs, seed: args.seed, ..DistillOptions::RECIPE };
    let request = DistillRequest {
        model: args.model.clone(),
        texts: args.texts.clone(),
        out: args.out.clone(),
        options,
    };
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {elapsed} of about {duration}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut shown = "";
    let made = make(&request, &mut |stage, done, total| {
        if shown != stage {
            shown = stage_name(stage);
            bar.reset();
            bar.set_length(total as u64);
            bar.set_message(stage.to_owned());
        }
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let made = made?;
    for file in &made.files {
        println!("wrote {}", file.display());
    }
    println!(
        "{}, {} bytes, fitted to {} texts",
        made.table.describe(&args.out.display().to_string()),
        made.bytes,
        made.texts
    );
    let area = made.table.discrimination()?;
    println!(
        "tells paraphrases from unrelated English sentences with an area of {area:.3} under the ROC curve"
    );
    if area < AUC_LEAST {
        eprintln!(
            "warning[W2202]: below {AUC_LEAST}: texts of this table say little about each other, at least in English"
        );
    }
    Ok(Exit::Ok)
}

/// The name of a stage for as long as the program runs.
fn stage_name(stage: &str) -> &'static str {
    match stage {
        "texts" => "texts",
        "steps of the refinement" => "steps of the refinement",
        _ => "pieces of the vocabulary",
    }
}
