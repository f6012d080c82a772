//! Programs on disk: reading a file with its imports and checking it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use promptc_compiler::{Checked, EncoderFolder, EncoderPlace, Input, check};
use promptc_models::bert::{BertConfig, Pooling, SentenceFiles, SentenceSettings, TokenizerFile};
use promptc_models::static_table::{StaticError, StaticTable};
use promptc_store::model_folder;

use crate::error::EngineError;
use crate::shipped;

/// A program text is read up to one byte more than the language allows, so that the checker can say that it is too long.
const PROGRAM_BYTES_MAX: u64 = (4 << 20) + 1;

/// A program that was read and checked.
#[derive(Debug)]
pub struct Program {
    /// The file as it was named.
    pub path: PathBuf,
    /// Findings and, without errors, the typed program.
    pub checked: Checked,
}

impl Program {
    /// The folder that the program's relative paths start from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The name under which builds of this program are remembered: its absolute path.
    #[must_use]
    pub fn identity(&self) -> String {
        let absolute = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        absolute.display().to_string()
    }
}

/// What the caller sets from outside.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values of params as text.
    pub set: BTreeMap<String, String>,
    /// Variables that `env(...)` in params may read.
    pub environment: BTreeMap<String, String>,
    /// The home folder, for a leading `~`.
    pub home: Option<String>,
    /// Warnings count as errors.
    pub deny_warnings: bool,
}

/// Reads and checks a program. Faults of the text are diagnostics in the result.
///
/// # Errors
/// [`EngineError::Program`] if the file cannot be read or is not UTF-8.
pub fn load(path: &Path, settings: &Settings) -> Result<Program, EngineError> {
    let text = read(path).map_err(|source| EngineError::Program { path: path.to_path_buf(), source })?;
    let mut loader = |from: &str, import: &str| {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        let wanted = folder.join(import);
        let text = read(&wanted).map_err(|error| error.to_string())?;
        Ok((shown(&wanted), text))
    };
    let checked = check(Input {
        name: &shown(path),
        text: &text,
        loader: &mut loader,
        set: settings.set.clone(),
        environment: &|name| settings.environment.get(name).cloned(),
        home: settings.home.clone(),
        encoders: &encoder_folder,
        deny_warnings: settings.deny_warnings,
    });
    Ok(Program { path: path.to_path_buf(), checked })
}

/// What a model folder holds, or why it is of no use.
fn encoder_folder(place: EncoderPlace<'_>) -> Result<EncoderFolder, String> {
    match place.dir {
        Some(dir) if place.kind == "static" => table_folder(dir),
        Some(dir) => bert_folder(dir),
        None => shipped::folder(place.kind),
    }
}

fn table_folder(dir: &str) -> Result<EncoderFolder, String> {
    let folder = model_folder::read_table(Path::new(dir)).map_err(|error| in_full(&error))?;
    let table = static_table(&folder).map_err(|error| format!("{dir}: {}", in_full(&error)))?;
    let too_large = |_| format!("{dir}: rows of no table");
    Ok(EncoderFolder::new(folder.hash, u32::try_from(table.dim()).map_err(too_large)?, None))
}

/// The table of a folder's files.
///
/// # Errors
/// If they are none of one table.
pub(crate) fn static_table(folder: &model_folder::TableFolder) -> Result<StaticTable, StaticError> {
    StaticTable::load(&folder.table, tokenizer_file(&folder.tokenizer, folder.is_vocabulary))
}

/// The bytes of a tokenizer, as what they are.
pub(crate) fn tokenizer_file(bytes: &[u8], is_vocabulary: bool) -> TokenizerFile<'_> {
    if is_vocabulary { TokenizerFile::Vocabulary(bytes) } else { TokenizerFile::Json(bytes) }
}

fn bert_folder(dir: &str) -> Result<EncoderFolder, String> {
    let (config, hash) = model_folder::identify(Path::new(dir)).map_err(|error| in_full(&error))?;
    let config =
        BertConfig::parse(&config).map_err(|error| format!("{dir}/config.json: {}", in_full(&error)))?;
    let too_large = |_| format!("{dir}/config.json: sizes of no BERT model");
    let settings = sentence_settings(Path::new(dir))?;
    Ok(EncoderFolder {
        hash,
        dim: u32::try_from(config.hidden).map_err(too_large)?,
        max_tokens: Some(u32::try_from(config.positions).map_err(too_large)?),
        usual_tokens: settings.max_tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
        pool: settings.pooling.map(|pooling| match pooling {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        }),
    })
}

/// What sentence-transformers says of the encoder of a folder, or why that is of no use.
pub(crate) fn sentence_settings(dir: &Path) -> Result<SentenceSettings, String> {
    let files = model_folder::sentence_files(dir).map_err(|error| in_full(&error))?;
    let files = SentenceFiles {
        modules: files.modules.as_deref(),
        pooling: files.pooling.as_deref(),
        limits: files.limits.as_deref(),
    };
    SentenceSettings::parse(&files).map_err(|error| format!("{}: {}", dir.display(), in_full(&error)))
}

/// An error with what caused it.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A path with `/` between its parts.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(PROGRAM_BYTES_MAX).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let message = format!("not UTF-8 at byte {offset}; save the file as UTF-8");
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    })
}
