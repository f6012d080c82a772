//! Sentence encoders of the BERT family: which vector stands for a text, by a trained model?
//!
//! ```text
//!  config.json ─▶ BertConfig ──┐
//!  model.safetensors ─▶ Weights ┼─▶ Bert        texts ─ WordPiece ─▶ ids ─ groups of sequences ─ forward ─ pool ─ L2 ─▶ vectors
//!  tokenizer.json ─▶ WordPiece ─┘
//! ```
//! The files of a folder are handed in as bytes, checked whole, and packed once. Nothing in them is executed. What the model
//! cannot be used for exactly as it was trained is an error that names it, never an approximation. One thread computes; a
//! vector's bits depend on the text, the model and the kernels' level, not on the batch or on who else computes.
//!
//! # Decisions
//! *No padding, no sorting.* Sequences of a group stand one behind the other; the kernels see rows, attention sees a
//! sequence. So no token is computed in vain whatever the lengths are, and the order of the texts does not matter.

mod config;
mod forward;
mod sentence;
mod tokens;
mod weights;

use std::fmt;
use std::ops::Range;

use promptc_kernels::Kernels;

use crate::safetensors::SafetensorsError;
use crate::wordpiece::{WordPiece, WordPieceError};
pub use config::{BertConfig, CONFIG_BYTES_MAX, ConfigError};
use forward::{Activations, Forward};
pub use sentence::{SENTENCE_BYTES_MAX, SentenceError, SentenceFiles, SentenceSettings};
use weights::Weights;

/// Tokens that are computed at once, if more than one text has room in them: their activations stay in the third cache.
const GROUP_TOKENS: usize = 512;
/// The same with layers of 8 bits, whose weights come from the caches: the activations then stay in the second one.
const GROUP_TOKENS_CODED: usize = 128;

/// The files of a model folder.
#[derive(Debug, Clone, Copy)]
pub struct BertFiles<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `model.safetensors`, with F32, F16 or BF16. The matrices of the layers may be I8, `X.weight` with a `X.weight_scale` for each of its
    /// rows; what is multiplied with them is rounded to 8 bits as well, and so is what an attention multiplies. The vectors of tokens may
    /// be U8 with two codes of 4 bits a byte, the first in the low half, and a `weight_scale` `[vocabulary, groups]`: a number is
    /// `(code - 8) * scale`.
    pub weights: &'a [u8],
    /// The tokenizer, in one of its two forms.
    pub tokenizer: TokenizerFile<'a>,
}

/// How the tokenizer is given.
#[derive(Debug, Clone, Copy)]
pub enum TokenizerFile<'a> {
    /// `tokenizer.json`.
    Json(&'a [u8]),
    /// `vocab.txt`: the words alone, for a tokenizer with BERT's own settings for uncased text.
    Vocabulary(&'a [u8]),
}

/// How a sequence becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of its tokens, `[CLS]` and `[SEP]` included.
    Mean,
    /// The vector of `[CLS]`.
    Cls,
}

/// What a caller chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BertOptions {
    /// Longest sequence in tokens, with `[CLS]` and `[SEP]`; `None` is as many as the model has positions, [`SentenceSettings`] may say
    /// fewer.
    pub max_tokens: Option<usize>,
    /// How a sequence becomes one vector.
    pub pooling: Pooling,
    /// Scale to length 1.
    pub normalize: bool,
}

/// Why a model was refused, or a text has no vector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BertError {
    /// The configuration.
    #[error("config.json of the model is refused")]
    Config(#[from] ConfigError),
    /// The weights.
    #[error("model.safetensors of the model is refused")]
    Weights(#[from] SafetensorsError),
    /// The tokenizer.
    #[error("tokenizer of the model is refused")]
    Tokenizer(#[from] WordPieceError),
    /// A tensor that a BERT encoder does not have.
    #[error(
        "tensor `{name}` is none of a BERT encoder's; the file holds another architecture, choose a BERT model"
    )]
    TensorUnexpected {
        /// Its name.
        name: String,
    },
    /// The tokenizer gives ids that have no row.
    #[error(
        "tokenizer has ids up to {largest}, the weights have {rows} rows of tokens; take the tokenizer of this model"
    )]
    Vocabulary {
        /// The largest id.
        largest: u32,
        /// `vocab_size` of the configuration.
        rows: usize,
    },
    /// The scales of coded vectors of tokens do not divide them evenly.
    #[error(
        "vectors of tokens of {width} numbers have {groups} scales each, expected a number that divides them into even parts"
    )]
    TokenGroups {
        /// Scales of a row.
        groups: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// The longest sequence is shorter than `[CLS]`, one token and `[SEP]`, or longer than the model has positions.
    #[error("`max_tokens` is {found}, expected 3 to {positions}, the positions of the model")]
    MaxTokens {
        /// What was asked for.
        found: usize,
        /// The model's positions.
        positions: usize,
    },
    /// Weights are finite but so large that a vector is not.
    #[error("vector of text {text_idx} is not finite; the weights of the model are damaged, fetch it again")]
    NotFinite {
        /// Which text of the call.
        text_idx: usize,
    },
}

/// What happened to the texts of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BertCounts {
    /// Tokens that were computed, `[CLS]` and `[SEP]` included.
    pub tokens: usize,
    /// Texts that were longer than the longest sequence: the vector stands for their beginning.
    pub texts_cut: usize,
    /// Tokens that were left out with them.
    pub tokens_cut: usize,
}

/// An encoder that is ready: weights packed, tokenizer indexed.
pub struct Bert {
    config: BertConfig,
    options: BertOptions,
    max_tokens: usize,
    tokenizer: WordPiece,
    weights: Weights,
    kernels: Kernels,
    identity: [u8; 32],
}

impl fmt::Debug for Bert {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Bert");
        out.field("config", &self.config).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Memory of one thread between calls; any model may use it. It grows with the largest group: about 20 MB for 512 tokens
/// of width 384, and for a longer single text as much more.
#[derive(Default)]
pub struct BertScratch {
    ids: Vec<u32>,
    /// Of each text, in `ids`.
    sequences: Vec<Range<usize>>,
    activations: Activations,
}

impl Bert {
    /// Checks the files and packs the weights; the bytes are not needed afterwards. Cost: for 23 million weights about
    /// 0.06 s, of which a hash of the files takes a fifth.
    ///
    /// # Errors
    /// If a file is damaged, describes another architecture than a BERT encoder, or does not belong to the others.
    pub fn load(files: &BertFiles<'_>, options: BertOptions) -> Result<Self, BertError> {
        Self::load_at(files, options, Kernels::best())
    }

    /// As [`Self::load`], computed at the level of these kernels.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_at(files: &BertFiles<'_>, options: BertOptions, kernels: Kernels) -> Result<Self, BertError> {
        let config = BertConfig::parse(files.config)?;
        let max_tokens = options.max_tokens.unwrap_or(config.positions);
        if !(3..=config.positions).contains(&max_tokens) {
            return Err(BertError::MaxTokens { found: max_tokens, positions: config.positions });
        }
        let tokenizer = match files.tokenizer {
            TokenizerFile::Json(bytes) => WordPiece::from_json(bytes)?,
            TokenizerFile::Vocabulary(bytes) => WordPiece::from_vocabulary(bytes)?,
        };
        let largest = tokenizer.largest_id();
        if largest as usize >= config.vocabulary {
            return Err(BertError::Vocabulary { largest, rows: config.vocabulary });
        }
        let weights = Weights::load(files.weights, &config)?;
        let identity = identity(files, options, max_tokens);
        Ok(Self { config, options, max_tokens, tokenizer, weights, kernels, identity })
    }

    /// Sizes of the encoder.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.config.hidden
    }

    /// What it was loaded with.
    pub fn options(&self) -> BertOptions {
        self.options
    }

    /// Longest sequence in tokens, with `[CLS]` and `[SEP]`.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// Memory of the weights in bytes.
    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Hash of the files and of the options: encoders that agree in it stand for one space. The level of the kernels is not
    /// part of it; it moves vectors by some 1e-7, and by some 1e-3 where rows are rounded to 8 bits,
    /// since a number between two codes may go to either.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Writes the vectors of `texts` one after the other to `out`, `[texts, dim]`. An empty text has the vector of `[CLS]`
    /// `[SEP]`. Cost: 2 operations per weight outside the table of tokens and token, about 3.2 ms for a sentence of 33 tokens
    /// with 11 million such weights on one core with AVX-512; memory of `scratch` and of the ids of all texts.
    ///
    /// # Errors
    /// If a vector is not finite, which finite weights allow when they are huge; `out` is then partly written.
    ///
    /// # Panics
    /// If the length of `out` is not that of all vectors.
    pub fn embed(
        &self,
        texts: &[impl AsRef<str>],
        scratch: &mut BertScratch,
        out: &mut [f32],
    ) -> Result<BertCounts, BertError> {
        assert_eq!(out.len(), texts.len() * self.dim(), "one vector for each text");
        let BertScratch { ids, sequences, activations } = scratch;
        let counts = self.tokenize(texts, ids, sequences);
        self.embed_sequences(ids, sequences, activations, out)?;
        Ok(counts)
    }

    /// Writes the vectors of single pieces to `out`, as [`Self::embed`] does those of texts: each stands alone between `[CLS]`
    /// and `[SEP]`.
    ///
    /// # Panics
    /// If an id is none of the tokenizer's, or the length of `out` is not that of all vectors.
    pub(crate) fn embed_pieces(
        &self,
        pieces: &[u32],
        scratch: &mut BertScratch,
        out: &mut [f32],
    ) -> Result<(), BertError> {
        assert_eq!(out.len(), pieces.len() * self.dim(), "one vector for each piece");
        let [cls, sep, _] = self.tokenizer.special_ids();
        let BertScratch { ids, sequences, activations } = scratch;
        ids.clear();
        ids.extend(pieces.iter().flat_map(|piece| [cls, *piece, sep]));
        sequences.clear();
        sequences.extend((0..pieces.len()).map(|idx| idx * 3..idx * 3 + 3));
        self.embed_sequences(ids, sequences, activations, out)
    }

    /// The vectors of sequences that stand one behind the other in `ids`.
    fn embed_sequences(
        &self,
        ids: &[u32],
        sequences: &[Range<usize>],
        activations: &mut Activations,
        out: &mut [f32],
    ) -> Result<(), BertError> {
        let group_tokens = if self.weights.has_codes() { GROUP_TOKENS_CODED } else { GROUP_TOKENS };
        let mut first = 0;
        while first < sequences.len() {
            let end = group_end(sequences, first, group_tokens);
            let start = sequences[first].start;
            let group: Vec<Range<usize>> = sequences[first..end]
                .iter()
                .map(|sequence| sequence.start - start..sequence.end - start)
                .collect();
            let ids = &ids[start..sequences[end - 1].end];
            let forward = Forward { kernels: &self.kernels, config: &self.config, weights: &self.weights };
            forward.run(ids, &group, activations);
            for (idx, sequence) in group.iter().enumerate() {
                let vector = &mut out[(first + idx) * self.dim()..][..self.dim()];
                activations.pool(sequence, self.options.pooling, vector);
                self.finish(first + idx, vector)?;
            }
            first = end;
        }
        Ok(())
    }

    /// Ids of all texts, cut to the longest sequence.
    fn tokenize(
        &self,
        texts: &[impl AsRef<str>],
        ids: &mut Vec<u32>,
        sequences: &mut Vec<Range<usize>>,
    ) -> BertCounts {
        ids.clear();
        sequences.clear();
        let mut counts = BertCounts::default();
        for text in texts {
            let start = ids.len();
            let cut = self.tokenizer.encode(text.as_ref(), self.max_tokens, ids);
            sequences.push(start..ids.len());
            counts.tokens_cut += cut;
            counts.texts_cut += usize::from(cut > 0);
        }
        counts.tokens = ids.len();
        counts
    }

    fn finish(&self, text_idx: usize, vector: &mut [f32]) -> Result<(), BertError> {
        if self.options.normalize {
            crate::embed::normalize(vector);
        }
        match vector.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(BertError::NotFinite { text_idx }),
        }
    }
}

/// End of the group that begins with sequence `first`: at least one, and as many as `tokens` hold.
fn group_end(sequences: &[Range<usize>], first: usize, tokens: usize) -> usize {
    let limit = sequences[first].start + tokens;
    let fitting = sequences[first..].iter().take_while(|sequence| sequence.end <= limit).count();
    first + fitting.max(1)
}

/// Hash of everything that a vector depends on, but for the rounding of a level.
fn identity(files: &BertFiles<'_>, options: BertOptions, max_tokens: usize) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("promptc bert embedder 2");
    let (kind, tokenizer) = match files.tokenizer {
        TokenizerFile::Json(bytes) => (0, bytes),
        TokenizerFile::Vocabulary(bytes) => (1, bytes),
    };
    for bytes in [files.config, files.weights, tokenizer] {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    let pooling = u8::from(options.pooling == Pooling::Cls);
    hasher.update(&[kind, pooling, u8::from(options.normalize)]);
    hasher.update(&(max_tokens as u64).to_le_bytes());
    *hasher.finalize().as_bytes()
}
