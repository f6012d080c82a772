//! The models that come with promptc: a small network and a static table. `NOTICE` in their folders says where they are from and how they
//! were made. Both have one vocabulary.

use std::sync::OnceLock;

use promptc_compiler::EncoderFolder;
use promptc_models::bert::{Bert, BertConfig, BertFiles, BertOptions, TokenizerFile};
use promptc_models::static_table::StaticTable;

use crate::program::in_full;

/// Changed whenever the same files would give other vectors: since 2, attention is computed in 8 bits.
const NETWORK_FORMAT: &str = "promptc shipped encoder 3";
const CONFIG: &[u8] = include_bytes!("../data/encoder-384/config.json");
const WEIGHTS: &[u8] = include_bytes!("../data/encoder-384/model.safetensors");
const TABLE: &[u8] = include_bytes!("../data/static-256/model.safetensors");
const VOCABULARY: &[u8] = include_bytes!("../data/static-256/vocab.txt");

/// The kinds of embedders of which something is shipped, the one that finds more first.
pub(crate) const KINDS: [&str; 2] = ["bert", "static"];

/// The table. Cost: some 15 ms.
///
/// # Errors
/// If it is not whole, which a test rules out.
pub(crate) fn table() -> Result<StaticTable, String> {
    StaticTable::load(TABLE, TokenizerFile::Vocabulary(VOCABULARY)).map_err(|error| in_full(&error))
}

/// The network. Cost: some 20 ms.
///
/// # Errors
/// If it is not whole, which a test rules out, or the options do not fit it.
pub(crate) fn network(options: BertOptions) -> Result<Bert, String> {
    let tokenizer = TokenizerFile::Vocabulary(VOCABULARY);
    let files = BertFiles { config: CONFIG, weights: WEIGHTS, tokenizer };
    Bert::load(&files, options).map_err(|error| in_full(&error))
}

/// What the type of an embedder takes from what is shipped.
///
/// # Errors
/// A kind of which nothing is shipped.
pub(crate) fn folder(kind: &str) -> Result<EncoderFolder, String> {
    static TABLE: OnceLock<Result<EncoderFolder, String>> = OnceLock::new();
    static NETWORK: OnceLock<Result<EncoderFolder, String>> = OnceLock::new();
    match kind {
        "static" => TABLE.get_or_init(of_table).clone(),
        "bert" => NETWORK.get_or_init(of_network).clone(),
        _ => Err(format!("no model of kind `{kind}` comes with promptc")),
    }
}

fn of_table() -> Result<EncoderFolder, String> {
    let table = table()?;
    let hash = blake3::Hash::from_bytes(*table.identity()).to_hex().to_string();
    Ok(EncoderFolder::new(hash, width(table.dim())?, None))
}

fn of_network() -> Result<EncoderFolder, String> {
    let config = BertConfig::parse(CONFIG).map_err(|error| in_full(&error))?;
    let mut hasher = blake3::Hasher::new_derive_key(NETWORK_FORMAT);
    [CONFIG, WEIGHTS, VOCABULARY].into_iter().for_each(|bytes| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    });
    let hash = hasher.finalize().to_hex().to_string();
    Ok(EncoderFolder::new(hash, width(config.hidden)?, Some(width(config.positions)?)))
}

fn width(number: usize) -> Result<u32, String> {
    u32::try_from(number).map_err(|error| error.to_string())
}
