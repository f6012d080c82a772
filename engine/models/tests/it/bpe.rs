//! Byte-level tokenizers against ids of another program and against plain loops, and what they refuse.

use std::collections::HashMap;

use promptc_models::bpe::{Bpe, BpeError, BpeScratch, BpeTraining, Split};
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

use super::bert::oracle;

const TINY: [(&str, Split); 4] = [
    ("gpt2", Split::Gpt2),
    ("gpt2-digits", Split::Gpt2Digits),
    ("llama3", Split::Llama3),
    ("qwen2", Split::Qwen2),
];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(oracle(&format!("bpe-tiny/{name}.json"))).unwrap()
}

fn tiny(name: &str) -> Bpe {
    Bpe::from_json(&file(name)).unwrap()
}

fn ids(tokenizer: &Bpe, text: impl AsRef<[u8]>) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut BpeScratch::default(), &mut ids);
    ids
}

fn sentences() -> Vec<String> {
    let file: Value = serde_json::from_slice(&file("ids")).unwrap();
    serde_json::from_value(file["sentences"].clone()).unwrap()
}

/// A tiny tokenizer's file, changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Bpe, BpeError> {
    let mut file: Value = serde_json::from_slice(&file(name)).unwrap();
    change(&mut file);
    Bpe::from_json(file.to_string().as_bytes())
}

#[test]
fn ids_are_those_of_the_script() {
    let found: Value = serde_json::from_slice(&file("ids")).unwrap();
    for (name, split) in TINY {
        let tokenizer = tiny(name);
        assert_eq!(tokenizer.split(), split);
        let wanted: Vec<[Vec<u32>; 2]> = serde_json::from_value(found[name].clone()).unwrap();
        let (before, behind) = tokenizer.ends();
        let mut scratch = BpeScratch::default();
        for (text, [plain, whole]) in sentences().iter().zip(&wanted) {
            assert_eq!(ids(&tokenizer, text), *plain, "{name}: {text:?}");
            assert_eq!([before, plain, behind].concat(), *whole, "{name}: {text:?}");
            assert_eq!(tokenizer.count(text, &mut scratch), plain.len());
        }
    }
}

#[test]
fn ids_are_those_of_hugging_face_on_many_texts() {
    let (Ok(tokenizer), Ok(ids)) = (std::env::var("PROMPTC_TEST_BPE"), std::env::var("PROMPTC_TEST_BPE_IDS"))
    else {
        println!(
            "skipped: PROMPTC_TEST_BPE and PROMPTC_TEST_BPE_IDS name no tokenizer and no ids of oracle/bpe.py"
        );
        return;
    };
    let tokenizer = Bpe::from_json(&std::fs::read(tokenizer).unwrap()).unwrap();
    let file = std::fs::read(ids).unwrap();
    let mut rest = file.as_slice();
    let number = |rest: &mut &[u8]| {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        *rest = behind;
        Some(u32::from_le_bytes(*number))
    };
    let (mut text_count, mut byte_count, mut complaints) = (0, 0, Vec::new());
    let (mut scratch, mut found) = (BpeScratch::default(), Vec::new());
    while let Some(len) = number(&mut rest) {
        let (text, behind) = rest.split_at(len as usize);
        rest = behind;
        let count = number(&mut rest).unwrap();
        let wanted: Vec<u32> = (0..count).map(|_| number(&mut rest).unwrap()).collect();
        found.clear();
        tokenizer.encode(text, &mut scratch, &mut found);
        if found != wanted {
            let differs = found.iter().zip(&wanted).position(|(one, other)| one != other).unwrap_or(0);
            let text = tokenizer.decode(&wanted[differs.saturating_sub(3)..]).unwrap();
            complaints.push(String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned());
        }
        (text_count, byte_count) = (text_count + 1, byte_count + text.len());
    }
    println!("{text_count} texts of {byte_count} bytes, {} differ", complaints.len());
    complaints.truncate(20);
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn a_file_that_is_written_is_read_with_the_same_ids() {
    for (name, _) in TINY {
        let tokenizer = tiny(name);
        let again = Bpe::from_json(tokenizer.to_json().as_bytes()).unwrap();
        assert_eq!((again.identity(), again.ends()), (tokenizer.identity(), tokenizer.ends()));
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!(ids(&again, sentences().concat()), ids(&tokenizer, sentences().concat()));
    }
}

#[test]
fn added_tokens_are_text_where_they_are_not_asked_for() {
    let (tokenizer, mut scratch) = (tiny("gpt2"), BpeScratch::default());
    let end = tokenizer.added_id("<|end|>").unwrap();
    let mut found = Vec::new();
    tokenizer.encode_plain("a<|end|>", &mut scratch, &mut found);
    assert!(!found.contains(&end));
    assert_eq!(tokenizer.decode(&found).unwrap(), b"a<|end|>");
    assert_eq!(tokenizer.bytes_of(end).unwrap(), b"<|end|>");
    assert_eq!(*ids(&tokenizer, "a<|end|>").last().unwrap(), end);
    let count = tokenizer.token_count();
    assert_eq!((tokenizer.bytes_of(count as u32), tokenizer.added_id("<|enD|>")), (None, None));
    assert!(matches!(tokenizer.decode(&[count as u32]), Err(BpeError::UnknownId { .. })));
}

#[test]
fn a_cache_that_overflows_changes_no_ids() {
    let (tokenizer, other) = (tiny("gpt2"), tiny("qwen2"));
    let mut scratch = BpeScratch::default();
    let number = |idx: u32| format!(" w{}", idx.wrapping_mul(2_654_435_761));
    for idx in 0..150_000 {
        let (text, mut found) = (number(idx % 80_000), Vec::new());
        tokenizer.encode(&text, &mut scratch, &mut found);
        if idx % 1000 == 0 {
            assert_eq!(found, ids(&tokenizer, &text));
            found.clear();
            other.encode(&text, &mut scratch, &mut found);
            assert_eq!(found, ids(&other, &text));
        }
    }
}

fn train<T: AsRef<[u8]>>(texts: &[T], token_count: usize, split: Split) -> Bpe {
    Bpe::train(texts, &BpeTraining { token_count, split, special: vec!["<|end|>".to_owned()] }).unwrap()
}

fn learned(tokenizer: &Bpe) -> Vec<&str> {
    let behind = 256..tokenizer.token_count() as u32 - 1;
    behind.map(|id| std::str::from_utf8(tokenizer.bytes_of(id).unwrap()).unwrap()).collect()
}

#[test]
fn the_most_frequent_pair_is_learned_first_and_then_the_smaller() {
    // l+o and o+w stand four times, then " "+low three times, then " low"+e and e+r twice.
    let tokenizer = train(&["low low lower lower"], 1000, Split::Gpt2);
    assert_eq!(learned(&tokenizer), ["lo", "low", " low", " lowe", " lower"]);
    assert_eq!(learned(&train(&["low low lower lower"], 259, Split::Gpt2)), ["lo", "low"]);
    // A pair that stands once is not learned; one that overlaps itself is merged from the left.
    assert!(learned(&train(&["abcdef"], 1000, Split::Gpt2)).is_empty());
    let tokenizer = train(&["aaaaa"], 1000, Split::Gpt2);
    assert_eq!((learned(&tokenizer), ids(&tokenizer, "aaaaa")), (vec!["aa"], vec![256, 256, 97]));
    let end = tokenizer.added_id("<|end|>").unwrap();
    assert_eq!((end, ids(&tokenizer, "aa<|end|>\u{1}")), (257, vec![256, 257, 1]));
}

#[test]
fn the_order_of_texts_does_not_change_what_is_learned() {
    let mut texts = sentences();
    let wanted = train(&texts, 500, Split::Gpt2Digits).to_json();
    texts.reverse();
    assert_eq!(train(&texts, 500, Split::Gpt2Digits).to_json(), wanted);
    let again = Bpe::from_json(wanted.as_bytes()).unwrap();
    assert_eq!(again.to_json(), wanted);
    assert_eq!(again.token_count(), 324);
}

#[test]
fn a_vocabulary_without_room_is_refused() {
    let train = |token_count, special: &[&str]| {
        let special = special.iter().map(|token| (*token).to_owned()).collect();
        Bpe::train(["text"], &BpeTraining { token_count, split: Split::Gpt2, special }).map(drop)
    };
    assert!(matches!(train(256, &["<|end|>"]), Err(BpeError::TokenCount { found: 256 })));
    assert!(matches!(train((1 << 20) + 1, &[]), Err(BpeError::TokenCount { .. })));
    assert!(matches!(train(300, &[""]), Err(BpeError::EmptyToken { .. })));
    assert!(matches!(train(300, &["x", "x"]), Err(BpeError::TokenTwice { .. })));
    assert!(train(256, &[]).is_ok());
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    type Change = fn(&mut Value);
    let whole = |cases: &[(Change, &str)], name: &str| {
        for (idx, (change, wanted)) in cases.iter().enumerate() {
            let error = changed(name, change).expect_err(wanted);
            assert!(error.to_string().contains(wanted), "{name} {idx}: {error}");
        }
    };
    whole(
        &[
            (|file| file["model"]["type"] = json!("Unigram"), "`model` is `Unigram`"),
            (|file| file["normalizer"] = json!({"type": "NFC"}), "`normalizer` is `NFC`"),
            (|file| file["pre_tokenizer"] = Value::Null, "`pre_tokenizer` is `null`"),
            (|file| file["pre_tokenizer"]["type"] = json!("Metaspace"), "`pre_tokenizer` is `Metaspace`"),
            (|file| file["post_processor"]["type"] = json!("BertProcessing"), "is `BertProcessing`"),
            (|file| file["decoder"]["type"] = json!("BPEDecoder"), "`decoder` is `BPEDecoder`"),
            (|file| file["decoder"] = Value::Null, "`decoder` is `null`"),
            (|file| file["pre_tokenizer"]["add_prefix_space"] = json!(true), "`add_prefix_space` is `true`"),
            (|file| file["pre_tokenizer"]["use_regex"] = json!(false), "`use_regex` is `false`"),
            (|file| file["model"]["dropout"] = json!(0.1), "`dropout` is 0.1"),
            (|file| file["model"]["byte_fallback"] = json!(true), "`byte_fallback` is true"),
            (|file| file["model"]["continuing_subword_prefix"] = json!("##"), "prefix` is `##`"),
            (|file| file["model"]["end_of_word_suffix"] = json!("</w>"), "suffix` is `</w>`"),
            (|file| file["added_tokens"][0]["rstrip"] = json!(true), "`added_tokens` is `<|end|>`"),
            (|file| file["added_tokens"][0]["single_word"] = json!(true), "`added_tokens` is `<|end|>`"),
            (|file| file["added_tokens"][0]["content"] = json!(""), "token 0 of the vocabulary is empty"),
            (|file| file["added_tokens"][1]["id"] = json!(999), "`<|endless|>` has id 999"),
            (|file| file["added_tokens"][1]["content"] = json!("<|end|>"), "`<|end|>` has id"),
            (|file| file["added_tokens"][0]["content"] = json!("Ġ"), "`Ġ` has id 0"),
            (|file| file["added_tokens"] = vec![file["added_tokens"][0].clone(); 2].into(), "stands twice"),
            (|file| file["added_tokens"] = vec![file["added_tokens"][0].clone(); 1025].into(), "1025 tokens"),
            (|file| file["post_processor"]["cls"] = json!(["<|end|>", 7]), "`<|end|>` has id 7"),
            (|file| file["post_processor"]["sep"] = json!(["</s>", 7]), "`</s>` is not in the vocabulary"),
            (|file| file["model"]["vocab"] = json!({}), "vocabulary of 0 tokens"),
            (|file| file["model"]["vocab"]["Ġcache"] = json!(0), "has id 0"),
            (|file| file["model"]["vocab"]["Ġcache"] = json!(100_000), "has id 100000"),
            (|file| file["model"]["vocab"][""] = json!(420), "token 420 of the vocabulary is empty"),
            (
                |file| {
                    let id = file["model"]["vocab"].as_object_mut().unwrap().remove("Ġcache").unwrap();
                    file["model"]["vocab"]["東"] = id;
                },
                "`東` has a character that stands for no byte",
            ),
            (|file| file["model"]["merges"][3] = json!(["t", "zzz"]), "merge 3 names the token `zzz`"),
            (|file| file["model"]["merges"][3] = json!(["!", "\""]), "merge 3 names the token `!\"`"),
            (|file| file["model"]["merges"][3] = file["model"]["merges"][0].clone(), "merge 3 of"),
            (|file| file["model"]["merges"][3] = json!("t h e"), "merge 3 is `t h e`"),
            (|file| file["model"]["merges"][3] = json!("the"), "merge 3 is `the`"),
            (|file| file["model"]["merges"][3] = json!(7), "another form"),
            (|file| file["model"]["merges"][3] = json!(["t"]), "another form"),
            (|file| file["model"]["merges"][3] = json!(["t", "h", "e"]), "another form"),
            (|file| file["model"]["vocab"]["x"] = json!("y"), "another form"),
            (|file| file["model"]["more"] = json!(1), "another form"),
        ],
        "gpt2",
    );
    whole(
        &[
            (|file| file["pre_tokenizer"]["pretokenizers"] = json!([]), "`pre_tokenizer` is `Sequence of `"),
            (
                |file| file["pre_tokenizer"]["pretokenizers"][0]["type"] = json!("Digits"),
                "is `Sequence of Digits, ByteLevel`",
            ),
            (
                |file| file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a+)+$"),
                "`pattern` is `(a+)+$`",
            ),
            (
                |file| file["pre_tokenizer"]["pretokenizers"][0]["pattern"] = json!({"String": " "}),
                "`pattern` is ` `",
            ),
            (
                |file| file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed"),
                "`behavior` is `Removed`",
            ),
            (|file| file["pre_tokenizer"]["pretokenizers"][0]["invert"] = json!(true), "`invert` is `true`"),
            (|file| file["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = json!(true), "`use_regex` is"),
            (
                |file| file["post_processor"]["processors"][1]["single"] = json!([]),
                "`post_processor` is a template",
            ),
            (
                |file| file["post_processor"]["processors"][1]["special_tokens"] = json!({}),
                "`<|end|>` is not in the vocabulary",
            ),
        ],
        "llama3",
    );
}

#[test]
fn damaged_files_are_refused() {
    let whole = file("gpt2");
    for len in (0..whole.len()).step_by(37) {
        assert!(Bpe::from_json(&whole[..len]).is_err(), "{len}");
    }
    let text = String::from_utf8(whole).unwrap();
    let twice = text.replacen("\"Ġthe\":", "\"Ġ\":", 1);
    assert!(matches!(
        Bpe::from_json(twice.as_bytes()),
        Err(BpeError::TokenTwice { .. } | BpeError::Id { .. })
    ));
    let missing = text.replacen("\"Ń\":", "\"zzzz\":", 1);
    assert!(matches!(Bpe::from_json(missing.as_bytes()), Err(BpeError::ByteMissing { byte: 0xad })));
    let deep = [b"{\"model\":".as_slice(), &b"[".repeat(10_000)].concat();
    assert!(matches!(Bpe::from_json(&deep), Err(BpeError::Json { .. })));
    assert!(matches!(Bpe::from_json(&vec![b' '; (64 << 20) + 1]), Err(BpeError::TooLong { .. })));
}

#[test]
fn older_forms_of_a_file_are_read() {
    let older = changed("gpt2", |file| {
        let merges = file["model"]["merges"].as_array().unwrap();
        let lines =
            merges.iter().map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        let lines: Vec<String> = std::iter::once("#version: 0.2".to_owned()).chain(lines).collect();
        file["model"]["merges"] = json!(lines);
        file["model"]["continuing_subword_prefix"] = json!("");
        let model = file["model"].as_object_mut().unwrap();
        model.retain(|key, _| !["type", "byte_fallback", "ignore_merges"].contains(&key.as_str()));
        file["pre_tokenizer"].as_object_mut().unwrap().remove("use_regex");
    });
    assert_eq!(older.unwrap().identity(), tiny("gpt2").identity());
}

/// The expression, piece by piece: all but its look-ahead by the library.
fn reference_pieces(split: Split, text: &str) -> Vec<&str> {
    let first = split.pattern().strip_suffix(r"|\s+(?!\S)|\s+").unwrap();
    let (first, blanks) = (Regex::new(&format!("^(?:{first})")).unwrap(), Regex::new(r"^\s+").unwrap());
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let len = first.find(rest).map_or_else(
            || {
                let run = blanks.find(rest).unwrap().as_str();
                let last = run.chars().next_back().unwrap().len_utf8();
                if run.len() == rest.len() || run.len() == last { run.len() } else { run.len() - last }
            },
            |found| found.len(),
        );
        let (piece, behind) = rest.split_at(len);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The pair of lowest rank is merged, the leftmost of equal ones, until none has a rank.
fn reference_merge(piece: &[u8], ranks: &HashMap<(Vec<u8>, Vec<u8>), usize>) -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = piece.iter().map(|byte| vec![*byte]).collect();
    loop {
        let pairs = tokens.windows(2).enumerate();
        let ranked =
            pairs.filter_map(|(at, pair)| Some((*ranks.get(&(pair[0].clone(), pair[1].clone()))?, at)));
        let Some((_, at)) = ranked.min() else { return tokens };
        let right = tokens.remove(at + 1);
        tokens[at].extend(right);
    }
}

/// The merges of a trained tokenizer, whose file names its tokens by the bytes' characters.
fn ranks(tokenizer: &Bpe) -> HashMap<(Vec<u8>, Vec<u8>), usize> {
    let file: Value = serde_json::from_str(&tokenizer.to_json()).unwrap();
    let bytes = |token: &Value| {
        let id = file["model"]["vocab"][token.as_str().unwrap()].as_u64().unwrap();
        tokenizer.bytes_of(id as u32).unwrap().to_vec()
    };
    let merges = file["model"]["merges"].as_array().unwrap();
    merges.iter().zip(0..).map(|(pair, rank)| ((bytes(&pair[0]), bytes(&pair[1])), rank)).collect()
}

/// Characters that every version of Unicode sees alike, and around which the expressions turn.
const CHARACTERS: &str =
    r"(?s)['srtvmldeSRTVMLDEaz ſ\n\r\t .!<|0-9éд東٣Ⅷ½\x{301}🙂\x{a0}\x{3000}\x{85}\x{200b}_-]{0,60}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_are_those_of_the_expression(text in CHARACTERS) {
        for (_, split) in TINY {
            let found: Vec<&[u8]> = split.pieces(text.as_bytes()).collect();
            let wanted: Vec<&[u8]> = reference_pieces(split, &text).into_iter().map(str::as_bytes).collect();
            prop_assert_eq!(found, wanted, "{:?}", split);
        }
    }

    #[test]
    fn ids_are_those_of_the_plain_loop(texts in prop::collection::vec("[abcd]{1,300}", 1..4), room in 0_usize..60) {
        let tokenizer = train(&texts, 257 + room, Split::Gpt2);
        let ranks = ranks(&tokenizer);
        for text in &texts {
            let mut found = Vec::new();
            tokenizer.encode_plain(text, &mut BpeScratch::default(), &mut found);
            let found: Vec<Vec<u8>> = found.iter().map(|id| tokenizer.bytes_of(*id).unwrap().to_vec()).collect();
            prop_assert_eq!(&found, &reference_merge(text.as_bytes(), &ranks));
        }
    }

    #[test]
    fn every_byte_string_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..300), text in CHARACTERS) {
        let bytes = [&bytes, text.as_bytes(), &bytes].concat();
        for (name, split) in TINY {
            let (tokenizer, mut scratch) = (tiny(name), BpeScratch::default());
            let mut found = Vec::new();
            tokenizer.encode_plain(&bytes, &mut scratch, &mut found);
            prop_assert_eq!(tokenizer.decode(&found).unwrap(), bytes.clone());
            let mut again = Vec::new();
            tokenizer.encode_plain(&bytes, &mut scratch, &mut again);
            prop_assert_eq!(again, found);
            prop_assert!(split.pieces(&bytes).all(|piece| !piece.is_empty()));
        }
    }
}
