//! The file of a static table, in bytes.
//!
//! ```text
//!  safetensors: header with metadata (below) │ codes  I8 [vocabulary, dim] │ scale  F32 [1]
//! ```
//! | key | value |
//! |---|---|
//! | `format` | `promptc static table` |
//! | `version` | [`FORMAT_VERSION`] |
//! | `dim` | length of a row |
//! | `source`, `source_blake3` | name of the model that the rows come from, hash of its weights |
//! | `recipe`, `weighting` | how the rows were made, and how the pieces are weighted, for a reader |
//! | `texts_blake3` | hash of the texts that the rows were fitted to; empty without |
//! | `vocabulary_blake3` | hash of the tokenizer: pieces, ids and settings |
//!
//! | `rows_blake3` | hash of the data behind the header, codes and scale; tables of the first releases have none |
//!
//! Each of these has to be there but the last, and nothing else may be: another reader could mean something by it.

use std::collections::BTreeMap;

use super::StaticError;
use crate::safetensors::{Dtype, Safetensors, SafetensorsError};
use crate::wordpiece::WordPiece;

/// Version of the format that is written and read.
pub const FORMAT_VERSION: &str = "1";
/// Longest row.
pub const DIM_MAX: usize = 4096;
/// Value of the key `format`.
const FORMAT: &str = "promptc static table";
/// Key of the hash of the data.
const ROWS_KEY: &str = "rows_blake3";
/// Longest value of a key; names and hashes have less than 200.
const VALUE_BYTES_MAX: usize = 4096;
/// Codes are -127 to 127, so that a row and its negative are equally exact.
const CODE_MAX: f32 = 127.0;

/// Where the rows of a table come from: what is told about it, and hashes by which it can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the model.
    pub source: String,
    /// Hash of its weights' file.
    pub source_blake3: [u8; 32],
    /// How the rows were made, with its version.
    pub recipe: String,
    /// How the pieces are weighted.
    pub weighting: String,
    /// Hash of the texts that the rows were fitted to, if there were any.
    pub texts_blake3: Option<[u8; 32]>,
}

/// A file that passed.
pub(super) struct Parsed<'a> {
    /// Rows of int8, one after the other.
    pub(super) codes: &'a [u8],
    pub(super) dim: usize,
    pub(super) scale: f32,
    pub(super) provenance: Provenance,
}

/// Checks a file against itself and against the tokenizer.
pub(super) fn parse<'a>(bytes: &'a [u8], tokenizer: &WordPiece) -> Result<Parsed<'a>, StaticError> {
    let file = Safetensors::parse(bytes)?;
    let header = Header { metadata: file.metadata() };
    header.expect("format", FORMAT)?;
    header.expect("version", FORMAT_VERSION)?;
    let provenance = header.provenance()?;
    let mut codes = None;
    for (name, tensor) in file.tensors() {
        match name {
            "codes" => codes = Some(tensor),
            "scale" => {}
            other => return Err(StaticError::TensorUnexpected { name: other.to_owned() }),
        }
    }
    let Some(tensor) = codes else {
        return Err(SafetensorsError::Missing { name: "codes".to_owned() }.into());
    };
    let (Dtype::I8, [rows, dim @ 1..=DIM_MAX]) = (tensor.dtype, tensor.shape.as_slice()) else {
        return Err(StaticError::Codes { dtype: tensor.dtype, shape: tensor.shape.clone() });
    };
    header.expect("dim", &dim.to_string())?;
    let scale = file.floats("scale", &[1])?[0];
    if scale <= 0.0 {
        return Err(StaticError::Scale { found: scale });
    }
    let largest = tokenizer.largest_id();
    if largest as usize + 1 != *rows {
        return Err(StaticError::Rows { largest, rows: *rows });
    }
    let (found, expected) = (*tokenizer.identity(), header.hash("vocabulary_blake3")?);
    if found != expected {
        let [found, expected] = [found, expected].map(hex);
        return Err(StaticError::Vocabulary { found, expected });
    }
    header.expect_no_others()?;
    let scale_bytes = scale.to_le_bytes();
    header.check_rows(file.bytes_of(tensor), &scale_bytes)?;
    Ok(Parsed { codes: file.bytes_of(tensor), dim: *dim, scale, provenance })
}

/// The file of these rows, `[ids of the tokenizer, dim]`: each number to the nearest of 255 steps, half away from zero, where
/// the largest magnitude of all is 127 steps. Equal input gives equal bytes.
///
/// # Errors
/// If a number is NaN or infinite, or all are zero.
///
/// # Panics
/// If the rows are not as many as the tokenizer has ids, or `dim` is not 1 to [`DIM_MAX`].
pub fn write(
    rows: &[f32],
    dim: usize,
    tokenizer: &WordPiece,
    provenance: &Provenance,
) -> Result<Vec<u8>, StaticError> {
    assert!((1..=DIM_MAX).contains(&dim), "a row has a length that is read again");
    let row_count = tokenizer.largest_id() as usize + 1;
    assert_eq!(rows.len(), row_count * dim, "one row for each id");
    if let Some(idx) = rows.iter().position(|value| !value.is_finite()) {
        return Err(StaticError::NothingToWrite { row_idx: idx / dim });
    }
    let largest = rows.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / CODE_MAX;
    if scale == 0.0 {
        return Err(StaticError::NothingToWrite { row_idx: 0 });
    }
    let code = |value: &f32| (value / scale).round().clamp(-CODE_MAX, CODE_MAX) as i8;
    let codes: Vec<u8> = rows.iter().map(|value| code(value).cast_unsigned()).collect();
    let texts_blake3 = provenance.texts_blake3.map(hex).unwrap_or_default();
    let metadata = BTreeMap::from([
        ("format", FORMAT.to_owned()),
        ("version", FORMAT_VERSION.to_owned()),
        ("dim", dim.to_string()),
        ("source", provenance.source.clone()),
        ("source_blake3", hex(provenance.source_blake3)),
        ("recipe", provenance.recipe.clone()),
        ("weighting", provenance.weighting.clone()),
        ("texts_blake3", texts_blake3),
        (ROWS_KEY, hex(hash_of(&codes, &scale.to_le_bytes()))),
        ("vocabulary_blake3", hex(*tokenizer.identity())),
    ]);
    let header = serde_json::json!({
        "__metadata__": metadata,
        "codes": {"dtype": "I8", "shape": [row_count, dim], "data_offsets": [0, rows.len()]},
        "scale": {"dtype": "F32", "shape": [1], "data_offsets": [rows.len(), rows.len() + size_of::<f32>()]},
    });
    let mut header = header.to_string();
    // The codes begin at a multiple of 64 bytes, for a reader that maps the file.
    let padded = (8 + header.len()).next_multiple_of(64) - 8;
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    let mut bytes = Vec::with_capacity(8 + padded + rows.len() + size_of::<f32>());
    bytes.extend((padded as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(codes);
    bytes.extend(scale.to_le_bytes());
    Ok(bytes)
}

/// What the header says beside the tensors.
struct Header<'a> {
    metadata: &'a BTreeMap<String, String>,
}

impl Header<'_> {
    const KEYS: [&'static str; 10] = [
        "dim",
        "format",
        "recipe",
        ROWS_KEY,
        "source",
        "source_blake3",
        "texts_blake3",
        "version",
        "vocabulary_blake3",
        "weighting",
    ];

    fn value(&self, key: &'static str) -> Result<&str, StaticError> {
        let refused = |found: String, expected: String| StaticError::Header { key, found, expected };
        match self.metadata.get(key) {
            Some(value) if value.len() <= VALUE_BYTES_MAX => Ok(value),
            Some(value) => {
                let found = format!("a text of {} bytes", value.len());
                Err(refused(found, format!("at most {VALUE_BYTES_MAX}")))
            }
            None => Err(refused("nothing".to_owned(), "a text".to_owned())),
        }
    }

    fn expect(&self, key: &'static str, wanted: &str) -> Result<(), StaticError> {
        let found = self.value(key)?;
        match found == wanted {
            true => Ok(()),
            false => {
                let (found, expected) = (format!("`{found}`"), format!("`{wanted}`"));
                Err(StaticError::Header { key, found, expected })
            }
        }
    }

    fn hash(&self, key: &'static str) -> Result<[u8; 32], StaticError> {
        let found = self.value(key)?;
        blake3::Hash::from_hex(found).map(|hash| *hash.as_bytes()).map_err(|_| StaticError::Header {
            key,
            found: format!("`{found}`"),
            expected: "a hash of 64 hexadecimal digits".to_owned(),
        })
    }

    fn provenance(&self) -> Result<Provenance, StaticError> {
        let texts_blake3 = match self.value("texts_blake3")? {
            "" => None,
            _ => Some(self.hash("texts_blake3")?),
        };
        Ok(Provenance {
            source: self.value("source")?.to_owned(),
            source_blake3: self.hash("source_blake3")?,
            recipe: self.value("recipe")?.to_owned(),
            weighting: self.value("weighting")?.to_owned(),
            texts_blake3,
        })
    }

    /// Compares the data with its hash, if the header has one.
    fn check_rows(&self, codes: &[u8], scale: &[u8]) -> Result<(), StaticError> {
        if !self.metadata.contains_key(ROWS_KEY) || self.hash(ROWS_KEY)? == hash_of(codes, scale) {
            return Ok(());
        }
        Err(StaticError::Damaged)
    }

    fn expect_no_others(&self) -> Result<(), StaticError> {
        match self.metadata.keys().find(|key| !Self::KEYS.contains(&key.as_str())) {
            Some(key) => Err(StaticError::TensorUnexpected { name: format!("__metadata__.{key}") }),
            None => Ok(()),
        }
    }
}

/// Hash of the data behind the header.
fn hash_of(codes: &[u8], scale: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(codes).update(scale).finalize().as_bytes()
}

fn hex(hash: [u8; 32]) -> String {
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}
