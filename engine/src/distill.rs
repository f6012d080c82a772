//! `promptc distill`: a static table from the folder of an encoder. The mathematics stands in `promptc_models::distill`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use promptc_models::distill::{self as model, DistillOptions, Progress, Source, Stage, Workers};
use promptc_store::medium::replace;
use rayon::prelude::*;

use crate::encoder::{self, Encoder, unusable};
use crate::error::EngineError;
use crate::program::in_full;
use crate::store_errors;

/// Most bytes of texts.
const TEXT_BYTES_MAX: u64 = 2 << 30;

/// What is distilled, and into what.
#[derive(Debug, Clone)]
pub struct DistillRequest {
    /// Folder of the encoder.
    pub model: PathBuf,
    /// Files of one text a line; without any the table is not refined.
    pub texts: Vec<PathBuf>,
    /// Folder of the table; made if it is not there.
    pub out: PathBuf,
    /// Length of a row, epochs, seed.
    pub options: DistillOptions,
}

/// What was made.
#[derive(Debug)]
pub struct Distilled {
    /// The table as it is read again.
    pub table: Encoder,
    /// Texts that it was refined on.
    pub texts: usize,
    /// Bytes of the table's file.
    pub bytes: usize,
    /// The written files.
    pub files: Vec<PathBuf>,
}

/// The threads that compute rows.
struct Pool;

impl Workers for Pool {
    fn run(&self, job_count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..job_count).into_par_iter().for_each(job);
    }
}

/// Makes a table and writes it; `progress` hears what is computed.
///
/// # Errors
/// E2202 for a folder that holds no encoder, or options that do not fit it; what the system says of the files.
pub fn distill(
    request: &DistillRequest,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Distilled, EngineError> {
    check_out(request)?;
    let texts = read_texts(&request.texts)?;
    let (bert, folder) = encoder::teacher(&request.model)?;
    let name = request
        .model
        .file_name()
        .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    let source = Source { name, weights_blake3: *blake3::hash(&folder.weights).as_bytes() };
    let mut heard = |Progress { stage, done, total }: Progress| {
        let stage = match stage {
            Stage::Pieces => "pieces of the vocabulary",
            Stage::Texts => "texts",
            Stage::Refine => "steps of the refinement",
        };
        progress(stage, done, total);
    };
    let table = model::distill(&bert, &source, &texts, &request.options, &Pool, &mut heard)
        .map_err(|error| unusable(format!("{}: {}", request.model.display(), in_full(&error))))?;
    let made = encoder::table_of(&table, &folder.tokenizer, folder.is_vocabulary)
        .map_err(|error| EngineError::internal("distill", in_full(&error)))?;
    std::fs::create_dir_all(&request.out)
        .map_err(|source| EngineError::Program { path: request.out.clone(), source })?;
    let tokenizer = if folder.is_vocabulary { "vocab.txt" } else { "tokenizer.json" };
    let notice = notice(&source, &texts);
    let parts: [(&str, &[u8]); 3] =
        [(tokenizer, &folder.tokenizer), ("NOTICE", notice.as_bytes()), ("model.safetensors", &table)];
    let mut files = Vec::new();
    for (name, bytes) in parts {
        let path = request.out.join(name);
        replace(&path, bytes).map_err(store_errors::medium)?;
        files.push(path);
    }
    Ok(Distilled { table: Encoder::Table(Arc::new(made)), texts: texts.len(), bytes: table.len(), files })
}

/// Refuses a folder whose files would be lost: that of the encoder, or one with a model that is no table.
fn check_out(request: &DistillRequest) -> Result<(), EngineError> {
    let refuse = |message: String| Err(EngineError::Unknown(message));
    let shown = request.out.display();
    let (model, out) = (std::fs::canonicalize(&request.model), std::fs::canonicalize(&request.out));
    if let (Ok(model), Ok(out)) = (model, &out)
        && model == *out
    {
        return refuse(format!(
            "{shown} is the folder of the encoder, whose files the table would replace; name another"
        ));
    }
    if request.out.exists() && !request.out.is_dir() {
        return refuse(format!(
            "{shown} is no folder; name one that is not there yet, or that holds a table"
        ));
    }
    let is_other = request.out.join("model.safetensors").exists()
        && !matches!(Encoder::open(Some(&request.out)), Ok(Encoder::Table(_)));
    if is_other || request.out.join("config.json").exists() {
        return refuse(format!("{shown} holds a model that is no static table; name another folder"));
    }
    Ok(())
}

/// Lines that are not blank.
fn read_texts(paths: &[PathBuf]) -> Result<Vec<String>, EngineError> {
    let mut texts = Vec::new();
    let mut bytes = 0;
    for path in paths {
        let failed = |source| EngineError::Program { path: path.clone(), source };
        let file = std::fs::metadata(path).map_err(failed)?;
        if !file.is_file() {
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no regular file")));
        }
        bytes += file.len();
        if bytes > TEXT_BYTES_MAX {
            let message = format!("more than {TEXT_BYTES_MAX} bytes of texts");
            return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
        }
        let read = std::fs::read(path).map_err(failed)?;
        let text = String::from_utf8(read).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
            failed(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("line {line} is not UTF-8")))
        })?;
        texts.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    if !paths.is_empty() && texts.is_empty() {
        let source =
            std::io::Error::new(std::io::ErrorKind::InvalidData, "no text: one is expected on each line");
        return Err(EngineError::Program { path: PathBuf::from(Path::new(&paths[0])), source });
    }
    Ok(texts)
}

/// What a reader of the folder must know.
fn notice(source: &Source, texts: &[String]) -> String {
    let how = match texts.len() {
        0 => "Each piece of its vocabulary was encoded alone.".to_owned(),
        count => format!(
            "Each piece of its vocabulary was encoded alone, and the rows were fitted to its vectors of {count} texts."
        ),
    };
    format!(
        "A static embedding table, made by `promptc distill` from the encoder `{}` (blake3 of its weights: {}).\n{how}\n\
         The licence of the encoder holds for what is derived from it: name its authors and its licence here.\n",
        source.name,
        blake3::Hash::from_bytes(source.weights_blake3).to_hex()
    )
}
