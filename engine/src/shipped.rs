//! The static table that comes with promptc. `engine/data/static-256/NOTICE` says where it is from and how it was made.

use std::sync::OnceLock;

use promptc_compiler::EncoderFolder;
use promptc_models::bert::TokenizerFile;
use promptc_models::static_table::StaticTable;

use crate::program::in_full;

const TABLE: &[u8] = include_bytes!("../data/static-256/model.safetensors");
const VOCABULARY: &[u8] = include_bytes!("../data/static-256/vocab.txt");

/// The table. Cost: some 15 ms.
///
/// # Errors
/// If it is not whole, which a test rules out.
pub(crate) fn table() -> Result<StaticTable, String> {
    StaticTable::load(TABLE, TokenizerFile::Vocabulary(VOCABULARY)).map_err(|error| in_full(&error))
}

/// What the type of an embedder takes from what is shipped.
///
/// # Errors
/// A kind of which nothing is shipped.
pub(crate) fn folder(kind: &str) -> Result<EncoderFolder, String> {
    static KNOWN: OnceLock<Result<EncoderFolder, String>> = OnceLock::new();
    if kind != "static" {
        return Err(format!("no model of kind `{kind}` comes with promptc"));
    }
    let known = KNOWN.get_or_init(|| {
        let table = table()?;
        let hash = blake3::Hash::from_bytes(*table.identity()).to_hex().to_string();
        let dim = u32::try_from(table.dim()).map_err(|error| error.to_string())?;
        Ok(EncoderFolder { hash, dim, max_tokens: None })
    });
    known.clone()
}
