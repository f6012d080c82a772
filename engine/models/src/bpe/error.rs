//! Why a byte-level tokenizer was refused.

use super::file::{MERGES_MAX, TOKENIZER_BYTES_MAX, TOKENS_MAX};

/// Why a tokenizer was refused, or could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpeError {
    /// The file is longer than [`TOKENIZER_BYTES_MAX`].
    #[error(
        "tokenizer of {found} bytes found, expected at most {TOKENIZER_BYTES_MAX}; take the file that belongs to the model"
    )]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// It is not JSON, or has fields that are not known here.
    #[error(
        "tokenizer.json has another form than a byte-level BPE tokenizer's; take the file that belongs to the model"
    )]
    Json {
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A part is of another kind.
    #[error(
        "`{part}` is `{found}` in tokenizer.json, expected {expected}; choose a model with a byte-level BPE tokenizer"
    )]
    Part {
        /// The part.
        part: &'static str,
        /// Its kind.
        found: String,
        /// The kinds that are known here.
        expected: &'static str,
    },
    /// A setting has a value that would change the ids, and is not known here.
    #[error(
        "`{field}` is {found} in tokenizer.json, expected {expected}; choose a model with a byte-level BPE tokenizer"
    )]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is known here.
        expected: &'static str,
    },
    /// There are no tokens, or too many; or no vocabulary of this size can be trained.
    #[error("vocabulary of {found} tokens found, expected 256 to {TOKENS_MAX}; each byte is a token")]
    TokenCount {
        /// Their number.
        found: usize,
    },
    /// There are too many merges.
    #[error("{found} merges found, expected at most {MERGES_MAX}; take the file that belongs to the model")]
    MergeCount {
        /// Their number, as far as they were counted.
        found: usize,
    },
    /// A token is empty.
    #[error("token {id} of the vocabulary is empty; fetch the file again")]
    EmptyToken {
        /// Its id.
        id: u32,
    },
    /// A token stands twice.
    #[error("token `{token}` stands twice in the vocabulary; fetch the file again")]
    TokenTwice {
        /// The token.
        token: String,
    },
    /// Two tokens have one id, one token two, or an id leaves a gap.
    #[error(
        "token `{token}` has id {id}, which does not fit the rest of the vocabulary; fetch the file again"
    )]
    Id {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
    },
    /// A token of the vocabulary spells no bytes.
    #[error(
        "token `{token}` has a character that stands for no byte; choose a model with a byte-level BPE tokenizer"
    )]
    Spelling {
        /// The token.
        token: String,
    },
    /// A byte is no token, so that not every text has ids.
    #[error("byte {byte} is no token of the vocabulary; choose a model with a byte-level BPE tokenizer")]
    ByteMissing {
        /// The first such byte.
        byte: u8,
    },
    /// A merge is not two tokens.
    #[error("merge {rank} is `{found}`, expected two tokens with a blank between them; fetch the file again")]
    MergeForm {
        /// Its place in the list.
        rank: usize,
        /// What stands there.
        found: String,
    },
    /// A merge names a token that is not in the vocabulary.
    #[error("merge {rank} names the token `{token}`, which is not in the vocabulary; fetch the file again")]
    MergeUnknown {
        /// Its place in the list.
        rank: usize,
        /// The token: one of the two, or what they become.
        token: String,
    },
    /// A pair is merged twice.
    #[error("merge {rank} of `{left}` and `{right}` stands twice; fetch the file again")]
    MergeTwice {
        /// The second place in the list.
        rank: usize,
        /// The left token.
        left: String,
        /// The right token.
        right: String,
    },
    /// A special token is not in the vocabulary.
    #[error("token `{token}` is not in the vocabulary; take the file that belongs to the model")]
    SpecialMissing {
        /// The token.
        token: String,
    },
    /// An id has no token.
    #[error("id {id} has no token, expected one below {token_count}; the ids are of another tokenizer")]
    UnknownId {
        /// The id.
        id: u32,
        /// Number of tokens.
        token_count: usize,
    },
}
