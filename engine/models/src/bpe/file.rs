//! What of a `tokenizer.json` is known here, and the checks that make a tokenizer of it.
//!
//! Kinds are looked at first, so that another tokenizer is refused by its name; then every field is read into a type that
//! knows no others ([`form`]); then vocabulary, merges and added tokens are held against each other.

mod form;

use std::collections::{HashMap, HashSet};

pub use form::MERGES_MAX;
use form::{File, Kinds, MergeLine, MergeLines, Model, PostProcessor, TemplatePiece};

use super::added::AddedToken;
use super::alphabet::{bytes_of, spelled};
use super::{BpeError, Merge, Parts};
use crate::wordpiece::file::AddedToken as AddedTokenForm;
pub use crate::wordpiece::{TOKENIZER_BYTES_MAX, TOKENS_MAX};

/// Most added tokens, looked for one after the other; the known models have up to 300.
const ADDED_TOKENS_MAX: usize = 1 << 10;

pub(super) fn parts(bytes: &[u8]) -> Result<Parts, BpeError> {
    if bytes.len() > TOKENIZER_BYTES_MAX {
        return Err(BpeError::TooLong { found: bytes.len() });
    }
    let json = |source| BpeError::Json { source };
    serde_json::from_slice::<Kinds>(bytes).map_err(json)?.checked()?;
    let file: File = serde_json::from_slice(bytes).map_err(json)?;
    let split = file.pre_tokenizer.split()?;
    check_options(&file.model)?;
    let vocabulary = Vocabulary::new(&file.model.vocab.0)?;
    let added = added_tokens(file.added_tokens, &vocabulary)?;
    let tokens = vocabulary.bytes(&added)?;
    let merges = merges(&file.model.merges, &vocabulary)?;
    let id_of = |token: &str| {
        let added = || added.iter().find(|added| added.content == token).map(|added| added.id);
        let id = vocabulary.ids.get(token).copied().or_else(added);
        id.ok_or_else(|| BpeError::SpecialMissing { token: token.to_owned() })
    };
    let (before, behind) = ends(file.post_processor.as_ref(), id_of)?;
    let ignores_merges = file.model.ignore_merges.unwrap_or(false);
    Ok(Parts { split, tokens, merges, ignores_merges, added, before, behind })
}

/// Unknown tokens cannot occur where each byte is a token, so what is done with them is not looked at.
fn check_options(model: &Model) -> Result<(), BpeError> {
    let refused = |field, found: String, expected| Err(BpeError::Setting { field, found, expected });
    if let Some(dropout) = model.dropout {
        return refused("dropout", dropout.to_string(), "null");
    }
    if model.byte_fallback == Some(true) {
        return refused("byte_fallback", "true".to_owned(), "false");
    }
    let affixes = [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (field, affix) in affixes {
        if let Some(affix) = affix.as_ref().filter(|affix| !affix.is_empty()) {
            return refused(field, format!("`{affix}`"), "null");
        }
    }
    Ok(())
}

/// Tokens in the order of their ids, which have no gap.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    ids: HashMap<&'a str, u32>,
}

impl<'a> Vocabulary<'a> {
    fn new(found: &'a [(String, u32)]) -> Result<Self, BpeError> {
        if !(256..=TOKENS_MAX).contains(&found.len()) {
            return Err(BpeError::TokenCount { found: found.len() });
        }
        let (mut tokens, mut ids) = (vec![""; found.len()], HashMap::with_capacity(found.len()));
        for (token, id) in found {
            if token.is_empty() {
                return Err(BpeError::EmptyToken { id: *id });
            }
            match tokens.get_mut(*id as usize) {
                Some(place) if place.is_empty() => *place = token,
                _ => return Err(BpeError::Id { token: token.clone(), id: *id }),
            }
            if ids.insert(token.as_str(), *id).is_some() {
                return Err(BpeError::TokenTwice { token: token.clone() });
            }
        }
        Ok(Self { tokens, ids })
    }

    /// The bytes of each token. One that spells none is an added token, which is found by its text.
    fn bytes(&self, added: &[AddedToken]) -> Result<Vec<Vec<u8>>, BpeError> {
        let added: HashSet<&str> = added.iter().map(|token| token.content.as_str()).collect();
        let bytes = |token: &&str| match bytes_of(token) {
            Some(bytes) if !added.contains(token) || bytes == token.as_bytes() => Ok(bytes),
            None if added.contains(token) => Ok(token.as_bytes().to_vec()),
            _ => Err(BpeError::Spelling { token: (*token).to_owned() }),
        };
        let tokens: Vec<Vec<u8>> = self.tokens.iter().map(bytes).collect::<Result<_, _>>()?;
        let is_missing = |byte: &u8| !self.ids.contains_key(spelled(&[*byte]).as_str());
        match (0..=255).find(is_missing) {
            Some(byte) => Err(BpeError::ByteMissing { byte }),
            None => Ok(tokens),
        }
    }
}

fn merges(lines: &MergeLines, vocabulary: &Vocabulary) -> Result<Vec<Merge>, BpeError> {
    let lines = match lines {
        MergeLines::TooMany => return Err(BpeError::MergeCount { found: MERGES_MAX + 1 }),
        MergeLines::Read(lines) => lines,
    };
    let (mut merges, mut seen) = (Vec::with_capacity(lines.len()), HashSet::new());
    for (rank, line) in lines.iter().enumerate() {
        let (left, right) = match line {
            MergeLine::Pair(left, right) => (left.as_str(), right.as_str()),
            // The version of the list, which older files have as its first line.
            MergeLine::Text(text) if text.starts_with("#version") => continue,
            MergeLine::Text(text) => match text.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => (left, right),
                _ => return Err(BpeError::MergeForm { rank, found: text.clone() }),
            },
        };
        let id_of = |token: &str| {
            let unknown = || BpeError::MergeUnknown { rank, token: token.to_owned() };
            vocabulary.ids.get(token).copied().ok_or_else(unknown)
        };
        let merge =
            Merge { left: id_of(left)?, right: id_of(right)?, merged: id_of(&[left, right].concat())? };
        if !seen.insert((merge.left, merge.right)) {
            let (left, right) = (left.to_owned(), right.to_owned());
            return Err(BpeError::MergeTwice { rank, left, right });
        }
        merges.push(merge);
    }
    Ok(merges)
}

/// The tokens that are found in a text as it stands.
fn added_tokens(found: Vec<AddedTokenForm>, vocabulary: &Vocabulary) -> Result<Vec<AddedToken>, BpeError> {
    if found.len() > ADDED_TOKENS_MAX {
        let found = format!("{} tokens", found.len());
        return Err(BpeError::Setting { field: "added_tokens", found, expected: "at most 1024" });
    }
    let (mut added, mut seen) = (Vec::new(), HashSet::new());
    let mut next_id = vocabulary.tokens.len() as u32;
    for token in found {
        let AddedTokenForm { id, content, single_word, lstrip, rstrip, normalized, special } = token;
        if single_word || rstrip {
            let expected = "a token that is found within words and leaves the blanks behind it";
            return Err(BpeError::Setting { field: "added_tokens", found: format!("`{content}`"), expected });
        }
        if content.is_empty() {
            return Err(BpeError::EmptyToken { id });
        }
        // One that is not in the vocabulary has the first free id, whatever the file says.
        let own_id = vocabulary.ids.get(content.as_str()).copied().unwrap_or_else(|| {
            next_id += 1;
            next_id - 1
        });
        if own_id != id {
            return Err(BpeError::Id { token: content, id });
        }
        if !seen.insert(content.clone()) {
            return Err(BpeError::TokenTwice { token: content });
        }
        added.push(AddedToken { content, id, lstrip, normalized, special });
    }
    Ok(added)
}

/// Ids before and behind a text.
fn ends(
    processor: Option<&PostProcessor>,
    id_of: impl Fn(&str) -> Result<u32, BpeError>,
) -> Result<(Vec<u32>, Vec<u32>), BpeError> {
    let known = |token: &str, id: u32| match id_of(token)? == id {
        true => Ok(id),
        false => Err(BpeError::Id { token: token.to_owned(), id }),
    };
    let other = |found: &str| BpeError::Setting {
        field: "post_processor",
        found: found.to_owned(),
        expected: "special tokens, the text once, and special tokens",
    };
    let (single, special_tokens) = match processor {
        None | Some(PostProcessor::ByteLevel { .. }) => return Ok((Vec::new(), Vec::new())),
        Some(PostProcessor::RobertaProcessing { sep, cls, .. }) => {
            return Ok((vec![known(&cls.0, cls.1)?], vec![known(&sep.0, sep.1)?]));
        }
        Some(PostProcessor::Sequence { processors }) => match processors.as_slice() {
            [PostProcessor::ByteLevel { .. }, last @ PostProcessor::TemplateProcessing { .. }] => {
                return ends(Some(last), id_of);
            }
            _ => return Err(other("another sequence")),
        },
        Some(PostProcessor::TemplateProcessing { single, special_tokens, .. }) => (single, special_tokens),
    };
    let (mut sides, mut text_count) = ([Vec::new(), Vec::new()], 0);
    for piece in single {
        let token = match piece {
            TemplatePiece::Sequence { id, .. } if id == "A" && text_count == 0 => {
                text_count += 1;
                continue;
            }
            TemplatePiece::Sequence { id, .. } => return Err(other(id)),
            TemplatePiece::SpecialToken { id, .. } => id,
        };
        let missing = || BpeError::SpecialMissing { token: token.clone() };
        let special = special_tokens.get(token).ok_or_else(missing)?;
        if special.ids.len() != special.tokens.len() {
            return Err(other(token));
        }
        for (token, id) in special.tokens.iter().zip(&special.ids) {
            sides[text_count].push(known(token, *id)?);
        }
    }
    match text_count {
        1 => Ok(sides.into()),
        _ => Err(other("a template without the text")),
    }
}
