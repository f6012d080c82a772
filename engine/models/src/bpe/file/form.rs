//! The form of a `tokenizer.json`: the kinds of its parts, and the fields of each.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer};

use crate::bpe::{BpeError, Split};
use crate::wordpiece::file::{AddedToken, Padding, Tokens, Truncation};

/// Most merges: as many as tokens.
pub const MERGES_MAX: usize = 1 << 20;

/// A first look: the kinds of the parts.
#[derive(Deserialize)]
pub(super) struct Kinds {
    model: Kind,
    normalizer: Option<Kind>,
    pre_tokenizer: Option<Kind>,
    post_processor: Option<Kind>,
    decoder: Option<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    name: Option<String>,
    /// Steps of a sequence.
    #[serde(alias = "processors")]
    pretokenizers: Option<Vec<Kind>>,
}

impl Kind {
    /// Its name, with those of its steps.
    fn names(kind: Option<&Self>) -> String {
        let Some(kind) = kind else { return "null".to_owned() };
        let name = kind.name.as_deref().unwrap_or("null").to_owned();
        match &kind.pretokenizers {
            None => name,
            Some(steps) => {
                let steps: Vec<&str> =
                    steps.iter().map(|step| step.name.as_deref().unwrap_or("null")).take(8).collect();
                format!("{name} of {}", steps.join(", "))
            }
        }
    }
}

impl Kinds {
    pub(super) fn checked(&self) -> Result<(), BpeError> {
        let names = |kind: &Option<Kind>| Kind::names(kind.as_ref());
        // Files of the first versions name no kind of model; the fields tell it.
        let model = self.model.name.clone().unwrap_or_else(|| "BPE".to_owned());
        let parts: [(_, _, &[&str], _); 5] = [
            ("model", model, &["BPE"], "`BPE`"),
            ("normalizer", names(&self.normalizer), &["null"], "null"),
            (
                "pre_tokenizer",
                names(&self.pre_tokenizer),
                &["ByteLevel", "Sequence of Split, ByteLevel"],
                "`ByteLevel` or a `Sequence` of `Split` and `ByteLevel`",
            ),
            (
                "post_processor",
                names(&self.post_processor),
                &[
                    "null",
                    "ByteLevel",
                    "RobertaProcessing",
                    "TemplateProcessing",
                    "Sequence of ByteLevel, TemplateProcessing",
                ],
                "`ByteLevel`, `RobertaProcessing` or `TemplateProcessing`",
            ),
            ("decoder", names(&self.decoder), &["ByteLevel"], "`ByteLevel`"),
        ];
        for (part, found, known, expected) in parts {
            if !known.contains(&found.as_str()) {
                return Err(BpeError::Part { part, found, expected });
            }
        }
        Ok(())
    }
}

/// The file, each field known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "truncation")]
    _truncation: Option<Truncation>,
    #[serde(rename = "padding")]
    _padding: Option<Padding>,
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(rename = "normalizer")]
    _normalizer: Option<IgnoredAny>,
    pub(super) pre_tokenizer: PreTokenizer,
    pub(super) post_processor: Option<PostProcessor>,
    #[serde(rename = "decoder")]
    _decoder: ByteLevel,
    pub(super) model: Model,
}

/// Bytes to characters, and as a first step the expression of GPT-2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByteLevel {
    #[serde(rename = "type")]
    _kind: String,
    add_prefix_space: bool,
    /// Offsets are not given here.
    #[serde(rename = "trim_offsets")]
    _trim_offsets: Option<bool>,
    use_regex: Option<bool>,
}

/// Its kind was looked at: one step, or two.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PreTokenizer {
    ByteLevel(ByteLevel),
    Sequence(PreTokenizerSteps),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreTokenizerSteps {
    #[serde(rename = "type")]
    _kind: String,
    pretokenizers: (SplitStep, ByteLevel),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitStep {
    #[serde(rename = "type")]
    _kind: String,
    pattern: Pattern,
    behavior: String,
    invert: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Pattern {
    Regex(String),
    String(String),
}

impl PreTokenizer {
    pub(super) fn split(&self) -> Result<Split, BpeError> {
        let refused = |field, found: &str, expected| {
            Err(BpeError::Setting { field, found: format!("`{found}`"), expected })
        };
        let (step, byte_level) = match self {
            Self::ByteLevel(byte_level) => (None, byte_level),
            Self::Sequence(steps) => (Some(&steps.pretokenizers.0), &steps.pretokenizers.1),
        };
        if byte_level.add_prefix_space {
            return refused("add_prefix_space", "true", "false");
        }
        match (step, byte_level.use_regex.unwrap_or(true)) {
            (None, true) => Ok(Split::Gpt2),
            (None, false) => refused("use_regex", "false", "true, where nothing else cuts the text"),
            (Some(_), true) => refused("use_regex", "true", "false, where an expression cuts the text"),
            (Some(step), false) => {
                if step.behavior != "Isolated" {
                    return refused("behavior", &step.behavior, "`Isolated`");
                }
                if step.invert {
                    return refused("invert", "true", "false");
                }
                let expected = "an expression of GPT-2, Llama 3 or Qwen2";
                match &step.pattern {
                    Pattern::String(text) => refused("pattern", text, expected),
                    Pattern::Regex(text) => {
                        Split::from_pattern(text).map_or_else(|| refused("pattern", text, expected), Ok)
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub(super) enum PostProcessor {
    /// Offsets alone.
    ByteLevel {
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: Option<bool>,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<bool>,
        #[serde(rename = "use_regex")]
        _use_regex: Option<bool>,
    },
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
        #[serde(rename = "trim_offsets")]
        _trim_offsets: Option<bool>,
        #[serde(rename = "add_prefix_space")]
        _add_prefix_space: Option<bool>,
    },
    TemplateProcessing {
        single: Vec<TemplatePiece>,
        #[serde(rename = "pair")]
        _pair: IgnoredAny,
        special_tokens: HashMap<String, SpecialToken>,
    },
    Sequence {
        processors: Vec<PostProcessor>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum TemplatePiece {
    SpecialToken {
        id: String,
        #[serde(rename = "type_id")]
        _type_id: u32,
    },
    Sequence {
        id: String,
        #[serde(rename = "type_id")]
        _type_id: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecialToken {
    #[serde(rename = "id")]
    _id: String,
    pub(super) ids: Vec<u32>,
    pub(super) tokens: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    #[serde(rename = "type")]
    _kind: Option<String>,
    pub(super) dropout: Option<f64>,
    #[serde(rename = "unk_token")]
    _unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) vocab: Tokens,
    pub(super) merges: MergeLines,
}

/// Merges as they stand.
pub(super) enum MergeLines {
    Read(Vec<MergeLine>),
    /// More than [`MERGES_MAX`]; they were not kept.
    TooMany,
}

/// A merge in one of its two forms.
pub(super) enum MergeLine {
    Text(String),
    Pair(String, String),
}

impl<'de> Deserialize<'de> for MergeLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LineVisitor;
        impl<'de> Visitor<'de> for LineVisitor {
            type Value = MergeLine;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("two tokens, as a list or with a blank between them")
            }

            fn visit_str<E>(self, text: &str) -> Result<MergeLine, E> {
                Ok(MergeLine::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<MergeLine, A::Error> {
                let pair = <(String, String)>::deserialize(SeqAccessDeserializer::new(list));
                pair.map(|(left, right)| MergeLine::Pair(left, right))
            }
        }
        deserializer.deserialize_any(LineVisitor)
    }
}

impl<'de> Deserialize<'de> for MergeLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinesVisitor;
        impl<'de> Visitor<'de> for LinesVisitor {
            type Value = MergeLines;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MergeLines, A::Error> {
                let mut lines = Vec::new();
                while lines.len() < MERGES_MAX {
                    match list.next_element()? {
                        Some(line) => lines.push(line),
                        None => return Ok(MergeLines::Read(lines)),
                    }
                }
                let mut is_more = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    is_more = true;
                }
                Ok(if is_more { MergeLines::TooMany } else { MergeLines::Read(lines) })
            }
        }
        deserializer.deserialize_seq(LinesVisitor)
    }
}
