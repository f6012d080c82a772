//! The two forms in which a tokenizer is stored, and what of them is known here.
//!
//! Kinds are looked at first, so that another tokenizer is refused by its name; then every field is read into a type that
//! knows no others.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::vocabulary::CONTINUING;
use super::{Settings, WORD_CHARS_MAX, WordPiece, WordPieceError};

/// Longest file. A vocabulary of a million tokens takes 30 MB.
pub const TOKENIZER_BYTES_MAX: usize = 64 << 20;
/// Most tokens; the known vocabularies have 30 to 250 thousand.
pub const TOKENS_MAX: usize = 1 << 20;
/// Most tokens that are looked for in the text as it stands, one after the other; the known models have 5.
const ADDED_TOKENS_MAX: usize = 1 << 10;

pub(super) fn from_vocabulary(bytes: &[u8]) -> Result<WordPiece, WordPieceError> {
    assert_length(bytes)?;
    let text = std::str::from_utf8(bytes)
        .map_err(|error| WordPieceError::Encoding { offset: error.valid_up_to() })?;
    let tokens: Vec<(String, u32)> = text.lines().map(|line| line.trim_end().to_owned()).zip(0..).collect();
    let is_cased = |token: &str| !token.starts_with('[') && token.to_lowercase() != token;
    if let Some((found, _)) = tokens.iter().find(|(token, _)| is_cased(token)) {
        return Err(WordPieceError::Cased { found: found.clone() });
    }
    let ids = checked(&tokens)?;
    let id_of = |token: &str| {
        ids.get(token).copied().ok_or_else(|| WordPieceError::SpecialMissing { token: token.to_owned() })
    };
    let [unknown, cls, sep] = ["[UNK]", "[CLS]", "[SEP]"].map(id_of);
    let (unknown, cls, sep) = (unknown?, cls?, sep?);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let special = special.iter().filter_map(|token| Some(((*token).to_owned(), *ids.get(token)?))).collect();
    let settings = Settings { lower_case: true, strip_accents: true, split_ideographs: true };
    WordPiece::new(&tokens, settings, special, [cls, sep, unknown])
}

pub(super) fn from_json(bytes: &[u8]) -> Result<WordPiece, WordPieceError> {
    assert_length(bytes)?;
    let json = |source| WordPieceError::Json { source };
    serde_json::from_slice::<Kinds>(bytes).map_err(json)?.checked()?;
    let file: File = serde_json::from_slice(bytes).map_err(json)?;
    file.model.checked()?;
    let tokens = &file.model.vocab.0;
    let ids = checked(tokens)?;
    let special = special_tokens(&file.added_tokens, tokens, &ids)?;
    let id_of = |token: &str| {
        let added = || special.iter().find(|(special, _)| special == token).map(|(_, id)| *id);
        let id = ids.get(token).copied().or_else(added);
        id.ok_or_else(|| WordPieceError::SpecialMissing { token: token.to_owned() })
    };
    let unknown = match ids.get(file.model.unk_token.as_str()) {
        Some(id) => *id,
        None => return Err(WordPieceError::SpecialMissing { token: file.model.unk_token.clone() }),
    };
    let [cls, sep] = file.post_processor.ends()?;
    for (token, id) in [&cls, &sep] {
        if id_of(token)? != *id {
            return Err(WordPieceError::Id { token: token.clone(), id: *id });
        }
    }
    WordPiece::new(tokens, file.normalizer.settings()?, special, [cls.1, sep.1, unknown])
}

fn assert_length(bytes: &[u8]) -> Result<(), WordPieceError> {
    match bytes.len() > TOKENIZER_BYTES_MAX {
        true => Err(WordPieceError::TooLong { found: bytes.len() }),
        false => Ok(()),
    }
}

/// Checks a vocabulary: not empty, tokens and ids unique, ids in range. Returns it as a table.
fn checked(tokens: &[(String, u32)]) -> Result<HashMap<&str, u32>, WordPieceError> {
    if !(1..=TOKENS_MAX).contains(&tokens.len()) {
        return Err(WordPieceError::TokenCount { found: tokens.len() });
    }
    let (mut ids, mut seen) = (HashMap::new(), HashSet::new());
    for (token, id) in tokens {
        if token.is_empty() {
            return Err(WordPieceError::EmptyToken { id: *id });
        }
        if *id as usize >= TOKENS_MAX || !seen.insert(*id) {
            return Err(WordPieceError::Id { token: token.clone(), id: *id });
        }
        if ids.insert(token.as_str(), *id).is_some() {
            return Err(WordPieceError::TokenTwice { token: token.clone() });
        }
    }
    Ok(ids)
}

/// The tokens that are found in a text as it stands.
fn special_tokens(
    added: &[AddedToken],
    tokens: &[(String, u32)],
    ids: &HashMap<&str, u32>,
) -> Result<Vec<(String, u32)>, WordPieceError> {
    if added.len() > ADDED_TOKENS_MAX {
        let found = format!("{} tokens", added.len());
        return Err(WordPieceError::Setting { field: "added_tokens", found, expected: "at most 1024" });
    }
    let mut by_id: HashMap<u32, &str> = tokens.iter().map(|(token, id)| (*id, token.as_str())).collect();
    let mut special: Vec<(String, u32)> = Vec::new();
    for token in added {
        let AddedToken { id, content, single_word, lstrip, rstrip, normalized, special: is_special } = token;
        if *single_word || *lstrip || *rstrip || *normalized || !*is_special {
            let expected = "a special token that is found as it stands, blanks and parts of words included";
            return Err(WordPieceError::Setting { field: "added_tokens", found: content.clone(), expected });
        }
        if content.is_empty() {
            return Err(WordPieceError::EmptyToken { id: *id });
        }
        let is_other = ids.get(content.as_str()).is_some_and(|known| known != id)
            || by_id.insert(*id, content).is_some_and(|known| known != content);
        if is_other || *id as usize >= TOKENS_MAX {
            return Err(WordPieceError::Id { token: content.clone(), id: *id });
        }
        if special.iter().any(|(known, _)| known == content) {
            return Err(WordPieceError::TokenTwice { token: content.clone() });
        }
        special.push((content.clone(), *id));
    }
    Ok(special)
}

/// A first look: the kinds of the parts.
#[derive(Deserialize)]
struct Kinds {
    model: Kind,
    normalizer: Option<Kind>,
    pre_tokenizer: Option<Kind>,
    post_processor: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    name: Option<String>,
}

impl Kinds {
    fn checked(&self) -> Result<(), WordPieceError> {
        let name = |kind: &Option<Kind>| {
            let name = kind.as_ref().and_then(|kind| kind.name.clone());
            name.unwrap_or_else(|| "null".to_owned())
        };
        // Files of the first versions name no kind of model; the fields tell it.
        let model = self.model.name.clone().unwrap_or_else(|| "WordPiece".to_owned());
        let parts = [
            ("model", model, "WordPiece"),
            ("normalizer", name(&self.normalizer), "BertNormalizer"),
            ("pre_tokenizer", name(&self.pre_tokenizer), "BertPreTokenizer"),
        ];
        for (part, found, expected) in parts {
            if found != expected {
                return Err(WordPieceError::Part { part, found, expected });
            }
        }
        let found = name(&self.post_processor);
        match ["TemplateProcessing", "BertProcessing"].contains(&found.as_str()) {
            true => Ok(()),
            false => {
                Err(WordPieceError::Part { part: "post_processor", found, expected: "TemplateProcessing" })
            }
        }
    }
}

/// The file, each field known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "truncation")]
    _truncation: Option<Truncation>,
    #[serde(rename = "padding")]
    _padding: Option<Padding>,
    added_tokens: Vec<AddedToken>,
    normalizer: Normalizer,
    #[serde(rename = "pre_tokenizer")]
    _pre_tokenizer: PreTokenizer,
    post_processor: PostProcessor,
    /// From ids to text: not used.
    #[serde(rename = "decoder")]
    _decoder: IgnoredAny,
    model: Model,
}

/// Only its form is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are named so that others are refused")]
pub(crate) struct Truncation {
    #[serde(default)]
    direction: Option<String>,
    max_length: u64,
    strategy: String,
    stride: u64,
}

/// Only its form is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are named so that others are refused")]
pub(crate) struct Padding {
    strategy: IgnoredAny,
    direction: String,
    pad_to_multiple_of: Option<u64>,
    pad_id: u32,
    pad_type_id: u32,
    pad_token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    pub(crate) normalized: bool,
    pub(crate) special: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Normalizer {
    #[serde(rename = "type")]
    _kind: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

impl Normalizer {
    fn settings(&self) -> Result<Settings, WordPieceError> {
        if !self.clean_text {
            let (field, found) = ("clean_text", "false".to_owned());
            return Err(WordPieceError::Setting { field, found, expected: "true" });
        }
        Ok(Settings {
            lower_case: self.lowercase,
            strip_accents: self.strip_accents.unwrap_or(self.lowercase),
            split_ideographs: self.handle_chinese_chars,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreTokenizer {
    #[serde(rename = "type")]
    _kind: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PostProcessor {
    TemplateProcessing {
        single: Vec<Piece>,
        #[serde(rename = "pair")]
        _pair: IgnoredAny,
        special_tokens: HashMap<String, SpecialToken>,
    },
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Piece {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: String, type_id: u32 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecialToken {
    #[serde(rename = "id")]
    _id: String,
    ids: Vec<u32>,
    #[serde(rename = "tokens")]
    _tokens: Vec<String>,
}

impl PostProcessor {
    /// What stands before and behind a text.
    fn ends(&self) -> Result<[(String, u32); 2], WordPieceError> {
        let (single, special_tokens) = match self {
            Self::BertProcessing { sep, cls } => return Ok([cls.clone(), sep.clone()]),
            Self::TemplateProcessing { single, _pair: _, special_tokens } => (single, special_tokens),
        };
        let other = |found: &str| WordPieceError::Setting {
            field: "post_processor",
            found: found.to_owned(),
            expected: "a special token, the text and a special token, all of type 0",
        };
        let [
            Piece::SpecialToken { id: cls, type_id: 0 },
            Piece::Sequence { id, type_id: 0 },
            Piece::SpecialToken { id: sep, type_id: 0 },
        ] = single.as_slice()
        else {
            return Err(other("another template"));
        };
        if id != "A" {
            return Err(other(id));
        }
        let id_of = |token: &String| match special_tokens.get(token).map(|special| special.ids.as_slice()) {
            Some([id]) => Ok((token.clone(), *id)),
            _ => Err(WordPieceError::SpecialMissing { token: token.clone() }),
        };
        Ok([id_of(cls)?, id_of(sep)?])
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    #[serde(rename = "type")]
    _kind: Option<String>,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: u64,
    vocab: Tokens,
}

impl Model {
    fn checked(&self) -> Result<(), WordPieceError> {
        if self.continuing_subword_prefix != CONTINUING {
            let found = format!("`{}`", self.continuing_subword_prefix);
            return Err(WordPieceError::Setting {
                field: "continuing_subword_prefix",
                found,
                expected: "`##`",
            });
        }
        if self.max_input_chars_per_word != WORD_CHARS_MAX as u64 {
            let found = self.max_input_chars_per_word.to_string();
            return Err(WordPieceError::Setting {
                field: "max_input_chars_per_word",
                found,
                expected: "100",
            });
        }
        Ok(())
    }
}

/// Tokens with ids, as they stand: a token may repeat here.
pub(crate) struct Tokens(pub(crate) Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TokensVisitor;
        impl<'de> Visitor<'de> for TokensVisitor {
            type Value = Tokens;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table of tokens with ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = map.next_entry()? {
                    if tokens.len() == TOKENS_MAX {
                        return Err(A::Error::custom(format_args!("more than {TOKENS_MAX} tokens")));
                    }
                    tokens.push(token);
                }
                Ok(Tokens(tokens))
            }
        }
        deserializer.deserialize_map(TokensVisitor)
    }
}
