//! Folders of models: the files of a sentence encoder, read whole and known by their content.
//!
//! The folder of an encoder holds `config.json`, `model.safetensors`, and `tokenizer.json` or else `vocab.txt`, that of a static table
//! the same without `config.json`. Beside them may stand what sentence-transformers writes of an encoder ([`sentence_files`]); other
//! files are not looked at.
//! Reading has bounds and follows no format: what the bytes mean is checked by who uses them.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::medium::disk::File;

/// Most bytes of a configuration.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of a tokenizer.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of weights: a large encoder in 32 bits has 1.4 GB.
const WEIGHTS_BYTES_MAX: u64 = 4 << 30;
/// Most bytes of a static table: a million pieces of 1,024 numbers.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Key of the hash of a folder.
const KEY: &str = "promptc 2026 encoder folder v2";

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelFolderError {
    /// One of its files.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A pipe, a device or a folder in the place of a file: reading it may never end.
    #[error("{} is no regular file", path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file that is larger than any of its kind.
    #[error("{}: more than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes.
        max: u64,
    },
}

/// The files of an encoder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `tokenizer.json`, or `vocab.txt`.
    pub tokenizer: Vec<u8>,
    /// Whether the tokenizer is `vocab.txt`.
    pub is_vocabulary: bool,
    /// Hash of the files, in hex.
    pub hash: String,
}

/// What sentence-transformers keeps beside an encoder, as far as it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentenceFolder {
    /// `modules.json`.
    pub modules: Option<Vec<u8>>,
    /// `1_Pooling/config.json`.
    pub pooling: Option<Vec<u8>>,
    /// `sentence_bert_config.json`.
    pub limits: Option<Vec<u8>>,
}

/// The files of a static table.
#[derive(Debug, Clone)]
pub struct TableFolder {
    /// `model.safetensors`.
    pub table: Vec<u8>,
    /// `tokenizer.json`, or `vocab.txt`.
    pub tokenizer: Vec<u8>,
    /// Whether the tokenizer is `vocab.txt`.
    pub is_vocabulary: bool,
    /// Hash of the files, in hex.
    pub hash: String,
}

/// Reads the files of a static table.
///
/// # Errors
/// As [`read`].
pub fn read_table(dir: &Path) -> Result<TableFolder, ModelFolderError> {
    let (name, is_vocabulary) = tokenizer_of(dir);
    let tokenizer = read_file(&dir.join(name), TOKENIZER_BYTES_MAX)?;
    let table = read_file(&dir.join("model.safetensors"), TABLE_BYTES_MAX)?;
    let hash = folder_hash(&[], &tokenizer, is_vocabulary, &blake3::hash(&table));
    Ok(TableFolder { table, tokenizer, is_vocabulary, hash })
}

/// Reads the files of a folder.
///
/// # Errors
/// [`ModelFolderError`] for a file that is missing, cannot be read, or is too large.
pub fn read(dir: &Path) -> Result<ModelFolder, ModelFolderError> {
    let (name, is_vocabulary) = tokenizer_of(dir);
    let config = read_file(&dir.join("config.json"), CONFIG_BYTES_MAX)?;
    let tokenizer = read_file(&dir.join(name), TOKENIZER_BYTES_MAX)?;
    let weights = read_file(&dir.join("model.safetensors"), WEIGHTS_BYTES_MAX)?;
    let hash = folder_hash(&config, &tokenizer, is_vocabulary, &blake3::hash(&weights));
    Ok(ModelFolder { config, weights, tokenizer, is_vocabulary, hash })
}

/// `config.json` and the hash of a folder's files, as [`read`] gives them, with little memory. Cost: one pass over the files.
///
/// # Errors
/// As [`read`].
pub fn identify(dir: &Path) -> Result<(Vec<u8>, String), ModelFolderError> {
    let (name, is_vocabulary) = tokenizer_of(dir);
    let config = read_file(&dir.join("config.json"), CONFIG_BYTES_MAX)?;
    let tokenizer = read_file(&dir.join(name), TOKENIZER_BYTES_MAX)?;
    let path = dir.join("model.safetensors");
    let mut hasher = blake3::Hasher::new();
    let failed = |source| ModelFolderError::Read { path: path.clone(), source };
    let file = open(&path)?;
    hasher.update_reader(file.take(WEIGHTS_BYTES_MAX + 1)).map_err(failed)?;
    if hasher.count() > WEIGHTS_BYTES_MAX {
        return Err(ModelFolderError::TooLarge { path, max: WEIGHTS_BYTES_MAX });
    }
    let hash = folder_hash(&config, &tokenizer, is_vocabulary, &hasher.finalize());
    Ok((config, hash))
}

/// Reads what sentence-transformers keeps beside an encoder. The hash of a folder knows nothing of it: who takes a setting from there keeps
/// it by its value.
///
/// # Errors
/// [`ModelFolderError`] for a file that is there and cannot be read, or is too large.
pub fn sentence_files(dir: &Path) -> Result<SentenceFolder, ModelFolderError> {
    let optional = |name: &str| match dir.join(name) {
        path if is_there(&path) => read_file(&path, CONFIG_BYTES_MAX).map(Some),
        _ => Ok(None),
    };
    Ok(SentenceFolder {
        modules: optional("modules.json")?,
        pooling: optional("1_Pooling/config.json")?,
        limits: optional("sentence_bert_config.json")?,
    })
}

/// Whether a folder has such a name. A link that leads nowhere is there: its file was meant to be, and cannot be read.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The name of the tokenizer's file, and whether it is a list of words alone.
fn tokenizer_of(dir: &Path) -> (&'static str, bool) {
    let is_vocabulary = !is_there(&dir.join("tokenizer.json")) && is_there(&dir.join("vocab.txt"));
    (if is_vocabulary { "vocab.txt" } else { "tokenizer.json" }, is_vocabulary)
}

fn folder_hash(config: &[u8], tokenizer: &[u8], is_vocabulary: bool, weights: &blake3::Hash) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(KEY);
    hasher.update(blake3::hash(config).as_bytes());
    hasher.update(blake3::hash(tokenizer).as_bytes());
    hasher.update(&[u8::from(is_vocabulary)]);
    hasher.update(weights.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Opens a file, and nothing else: a pipe would wait for its writer.
fn open(path: &Path) -> Result<File, ModelFolderError> {
    let failed = |source| ModelFolderError::Read { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ModelFolderError::NoFile { path: path.to_path_buf() });
    }
    File::open(path).map_err(failed)
}

fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, ModelFolderError> {
    let failed = |source| ModelFolderError::Read { path: path.to_path_buf(), source };
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(ModelFolderError::TooLarge { path: path.to_path_buf(), max });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_files_and_a_change_of_any_shows() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let missing = |name: &str| {
            let message = read(dir.path()).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
            assert_eq!(identify(dir.path()).unwrap_err().to_string(), message);
        };
        missing("config.json");
        write("config.json", "{}");
        missing("tokenizer.json");
        write("vocab.txt", "a");
        missing("model.safetensors");
        write("model.safetensors", "w");
        let mut seen = Vec::new();
        for (name, text) in
            [("vocab.txt", "b"), ("config.json", "{ }"), ("model.safetensors", "v"), ("tokenizer.json", "b")]
        {
            write(name, text);
            let folder = read(dir.path()).unwrap();
            assert_eq!(identify(dir.path()).unwrap(), (folder.config.clone(), folder.hash.clone()));
            assert_eq!(folder.is_vocabulary, name != "tokenizer.json");
            assert!(!seen.contains(&folder.hash));
            seen.push(folder.hash);
        }
        assert_eq!(sentence_files(dir.path()).unwrap(), SentenceFolder::default());
        write("modules.json", "[]");
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        write("1_Pooling/config.json", "{}");
        let found = sentence_files(dir.path()).unwrap();
        assert_eq!((found.modules, found.limits), (Some(b"[]".to_vec()), None));
        assert_eq!(found.pooling, Some(b"{}".to_vec()));
        std::fs::create_dir(dir.path().join("sentence_bert_config.json")).unwrap();
        assert!(sentence_files(dir.path()).unwrap_err().to_string().contains("no regular file"));
        std::fs::remove_dir(dir.path().join("sentence_bert_config.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("sentence_bert_config.json")).unwrap();
        assert!(
            matches!(sentence_files(dir.path()), Err(ModelFolderError::Read { .. })),
            "a link that leads nowhere"
        );
        write("notes.md", "not looked at");
        assert_eq!(read(dir.path()).unwrap().hash, seen[3]);
        write("config.json", &" ".repeat(1 << 20 | 1));
        assert!(matches!(read(dir.path()), Err(ModelFolderError::TooLarge { .. })));
    }
}
