//! Models that make vectors of texts: tables and networks, from a folder or shipped with promptc.

use std::path::Path;
use std::sync::Arc;

use promptc_compiler::op::{Embedder, Encoder as EncoderParams};
use promptc_models::bert::{Bert, BertConfig, BertFiles, BertOptions, BertScratch, Pooling};
use promptc_models::static_table::{StaticError, StaticScratch, StaticTable};
use promptc_store::model_folder;

use crate::error::EngineError;
use crate::program::{in_full, sentence_settings, static_table, tokenizer_file};
use crate::shipped;

mod self_test;

pub use self_test::AUC_LEAST;

/// As many tokens as the model takes, pooled as sentence transformers are.
const WHOLE: BertOptions = BertOptions { max_tokens: None, pooling: Pooling::Mean, normalize: true };

/// A model that is loaded.
#[derive(Debug, Clone)]
pub enum Encoder {
    /// Rows of a table.
    Table(Arc<StaticTable>),
    /// A network.
    Bert(Arc<Bert>),
}

impl Encoder {
    /// The model of an embedder.
    ///
    /// # Errors
    /// E2201 if the folder is not the one that was checked, E2202 if it cannot be used.
    pub fn of(embedder: &Embedder, params: &EncoderParams) -> Result<Self, EngineError> {
        if embedder.kind == "static" {
            return Ok(Self::Table(Arc::new(checked_table(params)?)));
        }
        Ok(Self::Bert(Arc::new(checked_bert(params, embedder.normalize)?)))
    }

    /// Kinds of which a model comes with promptc, the one that finds more first.
    pub const SHIPPED: [&str; 2] = shipped::KINDS;

    /// The model of a kind that comes with promptc.
    ///
    /// # Errors
    /// E2202 for a kind that is none of [`Self::SHIPPED`].
    pub fn shipped(kind: &str) -> Result<Self, EngineError> {
        let model = match kind {
            "static" => shipped::table().map(|table| Self::Table(Arc::new(table))),
            "bert" => shipped::network(WHOLE).map(|model| Self::Bert(Arc::new(model))),
            _ => shipped::folder(kind).map(|_| unreachable!("every shipped kind is named above")),
        };
        model.map_err(unusable)
    }

    /// The model of a folder, a table or a network by what it holds; without one the first of [`Self::SHIPPED`]. The name of one of these
    /// stands for it where no such folder is.
    ///
    /// # Errors
    /// E2202 if the folder cannot be used.
    pub fn open(dir: Option<&Path>) -> Result<Self, EngineError> {
        let Some(dir) = dir else { return Self::shipped(Self::SHIPPED[0]) };
        if let Some(kind) = Self::SHIPPED.into_iter().find(|kind| dir == Path::new(kind) && !dir.exists()) {
            return Self::shipped(kind);
        }
        if !dir.join("config.json").exists() {
            let folder = model_folder::read_table(dir).map_err(|error| unusable(in_full(&error)))?;
            let table = static_table(&folder);
            let named = |error| unusable(format!("{}: {}", dir.display(), in_full(&error)));
            return Ok(Self::Table(Arc::new(table.map_err(named)?)));
        }
        let folder = model_folder::read(dir).map_err(|error| unusable(in_full(&error)))?;
        let options = usual_options(dir, &folder)?;
        Ok(Self::Bert(Arc::new(bert(&folder, options, &dir.display().to_string())?)))
    }

    /// Length of the vectors.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Table(table) => table.dim(),
            Self::Bert(model) => model.dim(),
        }
    }

    /// The vectors of some texts, one after the other, and how many texts were cut. A text of which the tokenizer keeps nothing has a
    /// vector of zeros, whatever a network makes of `[CLS]` and `[SEP]` alone: that would be nearer to many a text than texts of other
    /// things are.
    ///
    /// # Errors
    /// E2202 for a vector that is not finite.
    pub fn vectors(&self, texts: &[&str]) -> Result<(Vec<f32>, usize), EngineError> {
        let mut values = vec![0.0; texts.len() * self.dim()];
        match self {
            Self::Table(table) => {
                table.embed(texts, &mut StaticScratch::default(), &mut values);
                Ok((values, 0))
            }
            Self::Bert(model) => {
                let counts = model.embed(texts, &mut BertScratch::default(), &mut values);
                let counts = counts.map_err(|error| unusable(in_full(&error)))?;
                let mut pieces = Vec::new();
                for (text, vector) in texts.iter().zip(values.chunks_exact_mut(model.dim())) {
                    // Letters and digits are always kept.
                    if text.chars().any(char::is_alphanumeric) {
                        continue;
                    }
                    pieces.clear();
                    model.tokenizer().pieces(text, &mut pieces);
                    if pieces.is_empty() {
                        vector.fill(0.0);
                    }
                }
                Ok((values, counts.texts_cut))
            }
        }
    }

    /// What makes the vectors; `place` is the folder, empty for what is shipped.
    #[must_use]
    pub fn describe(&self, place: &str) -> String {
        let place = if place.is_empty() { "shipped with promptc" } else { place };
        match self {
            Self::Table(table) => {
                format!("static table of {}, {place}, {} numbers", table.provenance().source, table.dim())
            }
            Self::Bert(model) => {
                let (layers, options) = (model.config().layers, model.options());
                let pooled = if options.pooling == Pooling::Cls { "[CLS]" } else { "the mean" };
                let tokens = model.max_tokens();
                format!(
                    "encoder of {layers} layers, {place}, {} numbers, {pooled} of at most {tokens} tokens",
                    model.dim()
                )
            }
        }
    }

    /// Area under the ROC curve of paraphrases against unrelated pairs of English sentences, 0 to 1; one that works has at least
    /// [`AUC_LEAST`]. Cost: the vectors of 48 sentences.
    ///
    /// # Errors
    /// As [`Self::vectors`].
    pub fn discrimination(&self) -> Result<f64, EngineError> {
        let texts: Vec<&str> = self_test::PAIRS.iter().flat_map(|(left, right)| [*left, *right]).collect();
        let (vectors, _) = self.vectors(&texts)?;
        Ok(self_test::area(&vectors, self.dim()))
    }
}

fn checked_table(params: &EncoderParams) -> Result<StaticTable, EngineError> {
    if params.dir.is_empty() {
        return shipped::table().map_err(unusable);
    }
    let folder =
        model_folder::read_table(Path::new(&params.dir)).map_err(|error| unusable(in_full(&error)))?;
    if folder.hash != params.hash {
        return Err(changed(&params.dir));
    }
    static_table(&folder).map_err(|error| unusable(format!("{}: {}", params.dir, in_full(&error))))
}

fn checked_bert(params: &EncoderParams, normalize: bool) -> Result<Bert, EngineError> {
    let options = BertOptions {
        max_tokens: Some(params.max_tokens as usize),
        pooling: if params.pool == "cls" { Pooling::Cls } else { Pooling::Mean },
        normalize,
    };
    if params.dir.is_empty() {
        return shipped::network(options).map_err(unusable);
    }
    let folder = model_folder::read(Path::new(&params.dir)).map_err(|error| unusable(in_full(&error)))?;
    if folder.hash != params.hash {
        return Err(changed(&params.dir));
    }
    bert(&folder, options, &params.dir)
}

/// Pooled as the folder says, with at most as many tokens as it says and the model takes.
fn usual_options(dir: &Path, folder: &model_folder::ModelFolder) -> Result<BertOptions, EngineError> {
    let config = BertConfig::parse(&folder.config);
    let config =
        config.map_err(|error| unusable(format!("{}/config.json: {}", dir.display(), in_full(&error))))?;
    let settings = sentence_settings(dir).map_err(unusable)?;
    let max_tokens = settings.max_tokens.unwrap_or(config.positions).min(config.positions);
    let pooling = settings.pooling.unwrap_or(Pooling::Mean);
    Ok(BertOptions { max_tokens: Some(max_tokens), pooling, normalize: true })
}

fn bert(folder: &model_folder::ModelFolder, options: BertOptions, place: &str) -> Result<Bert, EngineError> {
    let tokenizer = tokenizer_file(&folder.tokenizer, folder.is_vocabulary);
    let files = BertFiles { config: &folder.config, weights: &folder.weights, tokenizer };
    let model =
        Bert::load(&files, options).map_err(|error| unusable(format!("{place}: {}", in_full(&error))))?;
    let settings = sentence_settings(Path::new(place)).map_err(unusable)?;
    if settings.lower_case && !model.tokenizer().is_lower_case() {
        let message = format!(
            "{place}: sentence_bert_config.json says `do_lower_case`, and the tokenizer keeps capitals; choose a model whose tokenizer does it"
        );
        return Err(unusable(message));
    }
    Ok(model)
}

/// Reads the network of a folder for a distillation, and the name that its configuration gives.
///
/// # Errors
/// E2202 if the folder cannot be used.
pub(crate) fn teacher(dir: &Path) -> Result<(Bert, model_folder::ModelFolder), EngineError> {
    let folder = model_folder::read(dir).map_err(|error| unusable(in_full(&error)))?;
    let mut options = usual_options(dir, &folder)?;
    // Texts of a distillation are short; what a longer one says behind stays out of its lesson.
    options.max_tokens = options.max_tokens.map(|tokens| tokens.min(256));
    let model = bert(&folder, options, &dir.display().to_string())?;
    Ok((model, folder))
}

/// A table that was just made, read as a user of its files would.
pub(crate) fn table_of(
    bytes: &[u8],
    tokenizer: &[u8],
    is_vocabulary: bool,
) -> Result<StaticTable, StaticError> {
    StaticTable::load(bytes, tokenizer_file(tokenizer, is_vocabulary))
}

fn changed(dir: &str) -> EngineError {
    EngineError::Store {
        code: "E2201",
        message: format!("{dir}: the model's files changed since the program was checked"),
        help: Some("run again; what depends on the model is then computed anew".to_owned()),
    }
}

pub(crate) fn unusable(message: String) -> EngineError {
    EngineError::Store {
        code: "E2202",
        message,
        help: Some("`promptc explain E2202` says what a model folder holds".to_owned()),
    }
}
