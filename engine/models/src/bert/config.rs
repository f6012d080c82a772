//! `config.json`: which shape does the encoder have, and is it one that is computed here?
//!
//! Only BERT is: absolute positions, GELU with `erf`, no decoder. Another architecture is refused by its name, since its
//! weights may have the same names and mean something else. Fields of training (dropout, initialisation) are not looked at.

use serde::Deserialize;

/// Longest configuration; the real ones have less than 1 kB.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Largest values of each size, far above the known models (1024, 24, 16, 4096, 512), so that what is allocated is bounded.
const BOUNDS: [(&str, u64); 7] = [
    ("vocab_size", 1 << 22),
    ("hidden_size", 1 << 13),
    ("num_hidden_layers", 1 << 7),
    ("num_attention_heads", 1 << 8),
    ("intermediate_size", 1 << 16),
    ("max_position_embeddings", 1 << 16),
    ("type_vocab_size", 1 << 10),
];

/// Largest constant below a variance; the known ones are 1e-12 to 1e-5.
const EPSILON_MAX: f64 = 0.01;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is longer than [`CONFIG_BYTES_MAX`].
    #[error(
        "config.json of {found} bytes found, expected at most {CONFIG_BYTES_MAX}; it is no configuration of a model"
    )]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// It is not JSON, or a field is missing or of another type.
    #[error(
        "config.json is not the configuration of a BERT model; take the file that belongs to the weights"
    )]
    Json {
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// Another architecture, or a variant that is not computed here.
    #[error("`{field}` is `{found}` in config.json, expected `{expected}`; choose a BERT model")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// The only value that is computed.
        expected: &'static str,
    },
    /// A size is 0 or too large.
    #[error(
        "`{field}` is {found} in config.json, expected 1 to {max}; take the file that belongs to the weights"
    )]
    Size {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The largest one.
        max: u64,
    },
    /// The heads do not divide the width.
    #[error(
        "`hidden_size` {hidden} is no multiple of `num_attention_heads` {heads} in config.json; take the file that belongs to the weights"
    )]
    Heads {
        /// The width.
        hidden: usize,
        /// The number of heads.
        heads: usize,
    },
    /// The constant of the layer norm is not positive, or too large.
    #[error(
        "`layer_norm_eps` is {found} in config.json, expected more than 0, at most {EPSILON_MAX}; take the file that belongs to the weights"
    )]
    Epsilon {
        /// Its value.
        found: f64,
    },
}

/// Sizes of an encoder; all are at least 1, and `heads` divides `hidden`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BertConfig {
    /// Rows of the table of tokens.
    pub vocabulary: usize,
    /// Width of a token's vector, and of the result.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width between the two parts of a feed-forward step.
    pub intermediate: usize,
    /// Number of positions: the longest sequence.
    pub positions: usize,
    /// Number of kinds of segments; the first is used.
    pub types: usize,
    /// Constant below the variance of a layer norm.
    pub epsilon: f32,
}

/// The fields that count, as they stand.
#[derive(Deserialize)]
struct Fields {
    model_type: String,
    hidden_act: String,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    add_cross_attention: Option<bool>,
    vocab_size: u64,
    hidden_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
    intermediate_size: u64,
    max_position_embeddings: u64,
    type_vocab_size: u64,
    layer_norm_eps: f64,
}

impl BertConfig {
    /// Reads and checks a `config.json`. Cost: microseconds.
    ///
    /// # Errors
    /// If it is no configuration of a BERT encoder, or a size is out of bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong { found: bytes.len() });
        }
        let model: ModelType =
            serde_json::from_slice(bytes).map_err(|source| ConfigError::Json { source })?;
        // Before the other fields: another architecture has other fields.
        expect("model_type", &model.model_type, "bert")?;
        let fields: Fields = serde_json::from_slice(bytes).map_err(|source| ConfigError::Json { source })?;
        expect("model_type", &fields.model_type, "bert")?;
        expect("hidden_act", &fields.hidden_act, "gelu")?;
        expect(
            "position_embedding_type",
            fields.position_embedding_type.as_deref().unwrap_or("absolute"),
            "absolute",
        )?;
        let name = |value: Option<bool>| if value == Some(true) { "true" } else { "false" };
        expect("is_decoder", name(fields.is_decoder), "false")?;
        expect("add_cross_attention", name(fields.add_cross_attention), "false")?;
        fields.checked()
    }
}

/// The field that tells architectures apart.
#[derive(Deserialize)]
struct ModelType {
    model_type: String,
}

impl Fields {
    fn checked(&self) -> Result<BertConfig, ConfigError> {
        let found = [
            self.vocab_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            self.type_vocab_size,
        ];
        for ((field, max), found) in BOUNDS.into_iter().zip(found) {
            if !(1..=max).contains(&found) {
                return Err(ConfigError::Size { field, found, max });
            }
        }
        let [vocabulary, hidden, layers, heads, intermediate, positions, types] =
            found.map(|size| size as usize);
        if !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Heads { hidden, heads });
        }
        let epsilon = self.layer_norm_eps;
        // As `f32` it must not vanish either.
        if !(epsilon <= EPSILON_MAX && epsilon as f32 > 0.0) {
            return Err(ConfigError::Epsilon { found: epsilon });
        }
        let epsilon = epsilon as f32;
        Ok(BertConfig { vocabulary, hidden, layers, heads, intermediate, positions, types, epsilon })
    }
}

fn expect(field: &'static str, found: &str, expected: &'static str) -> Result<(), ConfigError> {
    match found == expected {
        true => Ok(()),
        false => Err(ConfigError::Unsupported { field, found: found.to_owned(), expected }),
    }
}
