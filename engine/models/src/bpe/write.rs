//! A tokenizer as the `tokenizer.json` of Hugging Face, the same bytes each time.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value, json};

use super::alphabet::spelled;
use super::{Bpe, Merge, Parts, Split};

#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<Value>,
    normalizer: (),
    pre_tokenizer: Value,
    post_processor: Option<Value>,
    decoder: Value,
    model: Model<'a>,
}

#[derive(Serialize)]
struct Model<'a> {
    r#type: &'static str,
    dropout: (),
    unk_token: (),
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Vocabulary<'a>,
    merges: Vec<[&'a str; 2]>,
}

/// Spellings in the order of their ids.
struct Vocabulary<'a>(&'a [String]);

impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, id) in self.0.iter().zip(0_u32..) {
            map.serialize_entry(token, &id)?;
        }
        map.end()
    }
}

pub(super) fn to_json(tokenizer: &Bpe) -> String {
    let Parts { split, tokens, merges, ignores_merges, added, before, behind } = &tokenizer.parts;
    let mut spellings: Vec<String> = tokens.iter().map(|token| spelled(token)).collect();
    for token in added {
        if let Some(spelling) = spellings.get_mut(token.id as usize) {
            spelling.clone_from(&token.content);
        }
    }
    let spelling = |id: &u32| spellings[*id as usize].as_str();
    let pair = |Merge { left, right, .. }: &Merge| [spelling(left), spelling(right)];
    let added_token = |token: &super::AddedToken| {
        json!({
            "id": token.id, "content": token.content, "single_word": false, "lstrip": token.lstrip,
            "rstrip": false, "normalized": token.normalized, "special": token.special,
        })
    };
    let file = File {
        version: "1.0",
        truncation: (),
        padding: (),
        added_tokens: added.iter().map(added_token).collect(),
        normalizer: (),
        pre_tokenizer: pre_tokenizer(*split),
        post_processor: template(tokenizer, before, behind),
        decoder: byte_level(true),
        model: Model {
            r#type: "BPE",
            dropout: (),
            unk_token: (),
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: *ignores_merges,
            vocab: Vocabulary(&spellings),
            merges: merges.iter().map(pair).collect(),
        },
    };
    serde_json::to_string(&file).expect("invariant: keys are strings and nothing else can fail")
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn pre_tokenizer(split: Split) -> Value {
    match split {
        Split::Gpt2 => byte_level(true),
        _ => {
            let pattern = json!({"Regex": split.pattern()});
            let step = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
            json!({"type": "Sequence", "pretokenizers": [step, byte_level(false)]})
        }
    }
}

/// The special tokens around a text.
fn template(tokenizer: &Bpe, before: &[u32], behind: &[u32]) -> Option<Value> {
    if before.is_empty() && behind.is_empty() {
        return None;
    }
    let text = |id: u32| {
        let bytes = tokenizer.bytes_of(id).unwrap_or_default();
        let added = tokenizer.parts.added.iter().find(|token| token.id == id);
        added.map_or_else(|| spelled(bytes), |token| token.content.clone())
    };
    let special = |id: &u32| json!({"SpecialToken": {"id": text(*id), "type_id": 0}});
    let sequence = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let sides = [before, behind].map(|ids| ids.iter().map(special).collect::<Vec<Value>>());
    let single = [&sides[0][..], &[sequence("A", 0)], &sides[1]].concat();
    let pair = [&single[..], &[sequence("B", 1)]].concat();
    let entries = before.iter().chain(behind).map(|id| {
        let token = text(*id);
        (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}))
    });
    let special_tokens: serde_json::Map<String, Value> = entries.collect();
    Some(
        json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens}),
    )
}
