//! The tokenizer of BERT models: which pieces of a vocabulary is a text made of?
//!
//! ```text
//!  text ─ special tokens ─ clean, lower case, no accents ─ words: blanks, signs, ideographs ─ longest pieces first ─▶ ids
//! ```
//! One pass over the text; a word is put together in a buffer and looked up in the tree of [`vocabulary`]. After the
//! tokenizer of Devlin et al. (2019), with the ids of Hugging Face's `BertNormalizer`, `BertPreTokenizer` and `WordPiece`.
//! Where we differ: marks that are not stripped keep the order in which they stand, where a decomposed text would sort them;
//! that takes two of some twenty musical and tone signs in the wrong order.

mod characters;
pub(crate) mod file;
mod vocabulary;

use std::fmt;

use characters::{IDEOGRAPH, MARK, PUNCTUATION, REMOVED, SPACE, classes};
pub use file::{TOKENIZER_BYTES_MAX, TOKENS_MAX};
use unicode_normalization::char::decompose_canonical;
use vocabulary::{Vocabulary, WORD_INSIDE, WORD_START};

/// Longest word in characters; a longer one is unknown.
pub const WORD_CHARS_MAX: usize = 100;

/// Why a tokenizer was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordPieceError {
    /// The file is longer than [`TOKENIZER_BYTES_MAX`].
    #[error(
        "tokenizer of {found} bytes found, expected at most {TOKENIZER_BYTES_MAX}; it is none of a BERT model"
    )]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// It is not JSON, or has fields that are not known here.
    #[error(
        "tokenizer.json has another form than a BERT tokenizer's; take the file that belongs to the model"
    )]
    Json {
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A part is of another kind.
    #[error(
        "`{part}` is `{found}` in tokenizer.json, expected `{expected}`; choose a model with a BERT tokenizer"
    )]
    Part {
        /// The part.
        part: &'static str,
        /// Its kind.
        found: String,
        /// The kind that is known here.
        expected: &'static str,
    },
    /// A setting has a value that would change the ids, and is not known here.
    #[error(
        "`{field}` is {found} in tokenizer.json, expected {expected}; choose a model with a BERT tokenizer"
    )]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is known here.
        expected: &'static str,
    },
    /// `vocab.txt` is not UTF-8.
    #[error("vocab.txt is not UTF-8 at byte {offset}; fetch it again")]
    Encoding {
        /// Where.
        offset: usize,
    },
    /// A vocabulary for text with capitals, without the settings that go with it.
    #[error(
        "vocab.txt has the word `{found}` with capitals; add the tokenizer.json, which says how the model reads them"
    )]
    Cased {
        /// The first such word.
        found: String,
    },
    /// There are no tokens, or too many.
    #[error(
        "vocabulary of {found} tokens found, expected 1 to {TOKENS_MAX}; take the file that belongs to the model"
    )]
    TokenCount {
        /// Their number.
        found: usize,
    },
    /// The tokens are too long in all.
    #[error(
        "vocabulary of {found} bytes found, expected at most {max}; take the file that belongs to the model"
    )]
    VocabularyTooLong {
        /// Their bytes.
        found: usize,
        /// The limit.
        max: usize,
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
    /// Two tokens have one id, or one token two.
    #[error(
        "token `{token}` has id {id}, which does not fit the rest of the vocabulary; fetch the file again"
    )]
    Id {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
    },
    /// A special token is not in the vocabulary.
    #[error("token `{token}` is not in the vocabulary; take the file that belongs to the model")]
    SpecialMissing {
        /// The token.
        token: String,
    },
}

/// A tokenizer that is ready.
pub struct WordPiece {
    vocabulary: Vocabulary,
    settings: Settings,
    /// Tokens that are found in the text as it stands, with their ids: the longest first.
    special: Vec<(String, u32)>,
    /// Which bytes a special token begins with.
    special_starts: Box<[bool; 256]>,
    /// What each ASCII character is.
    ascii: [u8; 128],
    cls: u32,
    sep: u32,
    unknown: u32,
    largest_id: u32,
    /// Ids of the pieces that words are made of, ascending.
    word_ids: Vec<u32>,
    identity: [u8; 32],
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    lower_case: bool,
    strip_accents: bool,
    split_ideographs: bool,
}

impl fmt::Debug for WordPiece {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WordPiece").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl WordPiece {
    /// Reads a `tokenizer.json`. Its settings of truncation and padding are checked and not used: who encodes states a
    /// length, and nothing is padded. Cost: about 10 ms for 30,000 tokens.
    ///
    /// # Errors
    /// If a part of it is none of a BERT tokenizer, or would change the ids in a way that is not known here.
    pub fn from_json(bytes: &[u8]) -> Result<Self, WordPieceError> {
        file::from_json(bytes)
    }

    /// Reads a `vocab.txt`: a token per line, its number is its id. Read as BERT's uncased models do: lower case, accents
    /// stripped, ideographs split.
    ///
    /// # Errors
    /// If a token stands twice, one of `[UNK]`, `[CLS]`, `[SEP]` is missing, or a word has capitals.
    pub fn from_vocabulary(bytes: &[u8]) -> Result<Self, WordPieceError> {
        file::from_vocabulary(bytes)
    }

    /// The tokens are checked: unique, with unique ids, and those of the parameters among them.
    fn new(
        pieces: &[(String, u32)],
        settings: Settings,
        mut special: Vec<(String, u32)>,
        [cls, sep, unknown]: [u32; 3],
    ) -> Result<Self, WordPieceError> {
        special.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        let mut special_starts = Box::new([false; 256]);
        for (token, _) in &special {
            special_starts[usize::from(token.as_bytes()[0])] = true;
        }
        let largest_id = pieces.iter().chain(&special).map(|(_, id)| *id).max().unwrap_or(0);
        let vocabulary = Vocabulary::new(pieces)?;
        let ascii = std::array::from_fn(|code| classes(char::from(code as u8)));
        let identity = identity(pieces, settings, &special, [cls, sep, unknown]);
        let is_special = |id: u32| id == unknown || special.iter().any(|(_, of_token)| *of_token == id);
        let of_words = pieces.iter().filter(|(piece, id)| is_of_word(piece) && !is_special(*id));
        let mut word_ids: Vec<u32> = of_words.map(|(_, id)| *id).collect();
        word_ids.sort_unstable();
        Ok(Self {
            vocabulary,
            settings,
            special,
            special_starts,
            ascii,
            cls,
            sep,
            unknown,
            largest_id,
            word_ids,
            identity,
        })
    }

    /// Hash of the pieces with their ids and of the settings: tokenizers that agree in it give equal ids. The form of the
    /// file, and the order in which it lists them, is not part of it.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Whether capitals and small letters are one.
    pub fn is_lower_case(&self) -> bool {
        self.settings.lower_case
    }

    /// The largest id that a text can have.
    pub fn largest_id(&self) -> u32 {
        self.largest_id
    }

    /// Ids of the pieces that words are made of, ascending: without the special ones and the unknown word, and without those
    /// that no word has, because a sign within them ends a word (`[unused7]`).
    pub fn word_ids(&self) -> &[u32] {
        &self.word_ids
    }

    /// Ids of `[CLS]`, `[SEP]` and the unknown word.
    pub fn special_ids(&self) -> [u32; 3] {
        [self.cls, self.sep, self.unknown]
    }

    /// Appends `[CLS]`, the pieces of `text` and `[SEP]` to `ids`, at most `max_tokens` in all. The number of pieces that
    /// were left out at the end is returned. Cost: as [`Self::pieces`].
    ///
    /// # Panics
    /// If `max_tokens` is less than 2.
    pub fn encode(&self, text: &str, max_tokens: usize, ids: &mut Vec<u32>) -> usize {
        assert!(max_tokens >= 2, "there is room for [CLS] and [SEP]");
        let start = ids.len();
        ids.push(self.cls);
        self.pieces(text, ids);
        let cut = (ids.len() - start).saturating_sub(max_tokens - 1);
        ids.truncate(ids.len() - cut);
        ids.push(self.sep);
        cut
    }

    /// Appends the pieces of `text` to `ids`. A special token that stands in the text as such has its id. Cost: one pass,
    /// about 35 ns a piece (a novel in 8 ns a byte), and one allocation a text.
    pub fn pieces(&self, text: &str, ids: &mut Vec<u32>) {
        let mut words = Words { tokenizer: self, word: String::with_capacity(64), ids };
        let mut start = 0;
        while let Some((token_start, token_end, id)) = self.special_from(text, start) {
            words.read(&text[start..token_start]);
            words.ids.push(id);
            start = token_end;
        }
        words.read(&text[start..]);
    }

    /// The first special token at or behind `start`, the longest of those that begin there: its bytes and its id.
    fn special_from(&self, text: &str, start: usize) -> Option<(usize, usize, u32)> {
        let bytes = text.as_bytes();
        let mut at = start;
        loop {
            at += bytes[at..].iter().position(|byte| self.special_starts[usize::from(*byte)])?;
            let found = self.special.iter().find(|(token, _)| bytes[at..].starts_with(token.as_bytes()));
            if let Some((token, id)) = found {
                return Some((at, at + token.len(), *id));
            }
            at += 1;
        }
    }
}

/// Whether a word can have this piece: signs are words of their own.
fn is_of_word(piece: &str) -> bool {
    let bare = piece.strip_prefix(vocabulary::CONTINUING).filter(|rest| !rest.is_empty()).unwrap_or(piece);
    bare.chars().nth(1).is_none() || !bare.chars().any(|character| classes(character) & PUNCTUATION != 0)
}

/// Hash of everything that ids depend on.
fn identity(
    pieces: &[(String, u32)],
    settings: Settings,
    special: &[(String, u32)],
    roles: [u32; 3],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("promptc wordpiece tokenizer 1");
    let Settings { lower_case, strip_accents, split_ideographs } = settings;
    hasher.update(&[lower_case, strip_accents, split_ideographs].map(u8::from));
    hasher.update(roles.map(u32::to_le_bytes).as_flattened());
    for tokens in [pieces, special] {
        let mut tokens: Vec<&(String, u32)> = tokens.iter().collect();
        tokens.sort_unstable_by_key(|(_, id)| *id);
        let mut bytes = (tokens.len() as u64).to_le_bytes().to_vec();
        for (token, id) in tokens {
            bytes.extend(id.to_le_bytes());
            bytes.extend((token.len() as u64).to_le_bytes());
            bytes.extend(token.as_bytes());
        }
        hasher.update(&bytes);
    }
    *hasher.finalize().as_bytes()
}

/// The words of a text, on their way to ids.
struct Words<'a> {
    tokenizer: &'a WordPiece,
    /// The word so far.
    word: String,
    ids: &'a mut Vec<u32>,
}

impl Words<'_> {
    /// Reads a text without special tokens; words end with it.
    fn read(&mut self, text: &str) {
        let settings = self.tokenizer.settings;
        for character in text.chars() {
            if !character.is_ascii() {
                self.read_wide(character);
                continue;
            }
            match self.tokenizer.ascii[character as usize] {
                0 if settings.lower_case => self.word.push(character.to_ascii_lowercase()),
                0 => self.word.push(character),
                SPACE => self.end_word(),
                PUNCTUATION => self.single(character),
                _ => {}
            }
        }
        self.end_word();
    }

    /// A character beyond ASCII.
    fn read_wide(&mut self, character: char) {
        let (settings, classes) = (self.tokenizer.settings, classes(character));
        if classes & REMOVED != 0 {
            return;
        }
        if classes & SPACE != 0 {
            return self.end_word();
        }
        let is_word = classes & IDEOGRAPH != 0 && settings.split_ideographs;
        if is_word {
            self.end_word();
        }
        if settings.strip_accents {
            decompose_canonical(character, |part| self.read_part(part));
        } else {
            self.push_lower(character);
        }
        if is_word {
            self.end_word();
        }
    }

    /// A part of a character whose accents are stripped.
    fn read_part(&mut self, part: char) {
        if classes(part) & MARK == 0 {
            self.push_lower(part);
        }
    }

    fn push_lower(&mut self, character: char) {
        if !self.tokenizer.settings.lower_case {
            return self.push(character);
        }
        for character in character.to_lowercase() {
            self.push(character);
        }
    }

    fn push(&mut self, character: char) {
        match classes(character) & PUNCTUATION == 0 {
            true => self.word.push(character),
            false => self.single(character),
        }
    }

    /// A character that is a word of its own.
    fn single(&mut self, character: char) {
        self.end_word();
        self.word.push(character);
        self.end_word();
    }

    /// The pieces of the word, the longest that fits first; one that has a rest without a piece is unknown as a whole.
    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let start = self.ids.len();
        let (mut root, mut rest) = (WORD_START, self.word.as_bytes());
        let is_long = rest.len() > WORD_CHARS_MAX && self.word.chars().count() > WORD_CHARS_MAX;
        while !rest.is_empty() && !is_long {
            let Some((id, len)) = self.tokenizer.vocabulary.longest(root, rest) else { break };
            self.ids.push(id);
            (root, rest) = (WORD_INSIDE, &rest[len..]);
        }
        if !rest.is_empty() {
            self.ids.truncate(start);
            self.ids.push(self.tokenizer.unknown);
        }
        self.word.clear();
    }
}
