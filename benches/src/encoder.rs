//! A sentence encoder with weights from a counter, of the shape of all-MiniLM-L6-v2 and without its files; and the models that come
//! with promptc.

use promptc_kernels::Kernels;
use promptc_models::bert::{Bert, BertFiles, BertOptions, Pooling, TokenizerFile};
use promptc_models::static_table::StaticTable;
use promptc_models::wordpiece::WordPiece;

/// Tokens of the vocabulary.
const VOCABULARY: usize = 30_522;
/// Width of a vector.
const HIDDEN: usize = 384;
/// Width within a feed-forward step.
const INTERMEDIATE: usize = 1536;
/// Number of layers.
const LAYERS: usize = 6;
/// Longest sequence.
const POSITIONS: usize = 512;
/// Tokens that stand before the words.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// As many tokens as the model takes.
const OPTIONS: BertOptions = BertOptions { max_tokens: None, pooling: Pooling::Mean, normalize: true };

/// The encoder: 22.6 million weights in -0.05..0.05, pooled by the mean.
///
/// # Panics
/// Never, as long as the loader takes what this writes.
#[must_use]
pub fn encoder() -> Bert {
    let config = format!(
        r#"{{"model_type": "bert", "hidden_act": "gelu", "vocab_size": {VOCABULARY}, "hidden_size": {HIDDEN},
        "num_hidden_layers": {LAYERS}, "num_attention_heads": 12, "intermediate_size": {INTERMEDIATE},
        "max_position_embeddings": {POSITIONS}, "type_vocab_size": 2, "layer_norm_eps": 1e-12}}"#
    );
    let words = (SPECIAL.len()..VOCABULARY).map(word);
    let vocabulary: Vec<String> = SPECIAL.map(str::to_owned).into_iter().chain(words).collect();
    let (weights, vocabulary) = (weights(), vocabulary.join("\n"));
    let tokenizer = TokenizerFile::Vocabulary(vocabulary.as_bytes());
    let files = BertFiles { config: config.as_bytes(), weights: &weights, tokenizer };
    Bert::load_at(&files, OPTIONS, Kernels::best()).expect("invariant: the files are those of an encoder")
}

/// The static table that comes with promptc.
///
/// # Panics
/// Never, as long as the file in the repository is whole.
#[must_use]
pub fn shipped_table() -> StaticTable {
    let table = include_bytes!("../../engine/data/static-256/model.safetensors");
    let vocabulary = include_bytes!("../../engine/data/static-256/vocab.txt");
    let tokenizer = TokenizerFile::Vocabulary(vocabulary);
    StaticTable::load(table, tokenizer).expect("invariant: the shipped table is whole")
}

/// The network that comes with promptc.
///
/// # Panics
/// Never, as long as the files in the repository are whole.
#[must_use]
pub fn shipped_network() -> Bert {
    let tokenizer = TokenizerFile::Vocabulary(include_bytes!("../../engine/data/static-256/vocab.txt"));
    let files = BertFiles {
        config: include_bytes!("../../engine/data/encoder-384/config.json"),
        weights: include_bytes!("../../engine/data/encoder-384/model.safetensors"),
        tokenizer,
    };
    Bert::load(&files, OPTIONS).expect("invariant: the shipped network is whole")
}

/// The tokenizer of the shipped table.
///
/// # Panics
/// Never, as long as the file in the repository is whole.
#[must_use]
pub fn shipped_tokenizer() -> WordPiece {
    let vocabulary = include_bytes!("../../engine/data/static-256/vocab.txt");
    WordPiece::from_vocabulary(vocabulary).expect("invariant: the shipped vocabulary is whole")
}

/// Texts of `words` words, each one token, drawn from the vocabulary by a counter.
#[must_use]
pub fn sentences(count: usize, words: usize) -> Vec<String> {
    let draw = |idx: usize| SPECIAL.len() + idx.wrapping_mul(7919) % (VOCABULARY - SPECIAL.len());
    let sentence = |start: usize| (0..words).map(|idx| word(draw(start + idx))).collect::<Vec<_>>().join(" ");
    (0..count).map(|idx| sentence(idx * words)).collect()
}

/// A word of letters for an id.
fn word(id: usize) -> String {
    let letter = |place: u32| char::from(b'a' + (id / 26_usize.pow(place) % 26) as u8);
    (0..4).map(letter).collect()
}

/// A safetensors file.
fn weights() -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>)> =
        [("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)]
            .map(|(name, rows)| (format!("embeddings.{name}_embeddings.weight"), vec![rows, HIDDEN]))
            .into();
    let with_bias = |name: String, shape: Vec<usize>| {
        let width = vec![shape[0]];
        [(format!("{name}.weight"), shape), (format!("{name}.bias"), width)]
    };
    tensors.extend(with_bias("embeddings.LayerNorm".to_owned(), vec![HIDDEN]));
    for layer in 0..LAYERS {
        let parts = [
            ("attention.self.query", vec![HIDDEN, HIDDEN]),
            ("attention.self.key", vec![HIDDEN, HIDDEN]),
            ("attention.self.value", vec![HIDDEN, HIDDEN]),
            ("attention.output.dense", vec![HIDDEN, HIDDEN]),
            ("attention.output.LayerNorm", vec![HIDDEN]),
            ("intermediate.dense", vec![INTERMEDIATE, HIDDEN]),
            ("output.dense", vec![HIDDEN, INTERMEDIATE]),
            ("output.LayerNorm", vec![HIDDEN]),
        ];
        for (part, shape) in parts {
            tensors.extend(with_bias(format!("encoder.layer.{layer}.{part}"), shape));
        }
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        let center = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        for idx in 0..shape.iter().product::<usize>() as u64 {
            let bits = (idx + start as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let value = center + (bits as f32 / (1_u64 << 23) as f32 - 1.0) * 0.05;
            data.extend(value.to_le_bytes());
        }
        let offsets = [start, data.len()];
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        header.insert(name, entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}
