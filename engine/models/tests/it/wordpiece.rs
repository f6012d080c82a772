//! The BERT tokenizer against ids of another program, and what it refuses.

use promptc_models::wordpiece::{WORD_CHARS_MAX, WordPiece, WordPieceError};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bert::{Folder, oracle, sentences};

fn tiny() -> WordPiece {
    WordPiece::from_json(&Folder::tiny().tokenizer).unwrap()
}

fn pieces(tokenizer: &WordPiece, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.pieces(text, &mut ids);
    ids
}

/// The tiny tokenizer's file, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Result<WordPiece, WordPieceError> {
    let mut file: Value = serde_json::from_slice(&Folder::tiny().tokenizer).unwrap();
    change(&mut file);
    WordPiece::from_json(file.to_string().as_bytes())
}

#[test]
fn ids_are_those_of_the_script() {
    let ids: Vec<Vec<u32>> =
        serde_json::from_slice(&std::fs::read(oracle("bert-tiny/ids.json")).unwrap()).unwrap();
    let folder = Folder::tiny();
    let tokenizers = [
        WordPiece::from_json(&folder.tokenizer).unwrap(),
        WordPiece::from_vocabulary(&folder.vocabulary).unwrap(),
    ];
    for (text, wanted) in sentences().iter().zip(&ids) {
        for tokenizer in &tokenizers {
            let mut found = Vec::new();
            tokenizer.encode(text, 48, &mut found);
            assert_eq!(found, *wanted, "{text:?}");
        }
    }
}

#[test]
fn ids_are_those_of_hugging_face_on_many_texts() {
    let (Ok(folder), Ok(ids)) = (std::env::var("PROMPTC_TEST_MINILM"), std::env::var("PROMPTC_TEST_IDS"))
    else {
        println!(
            "skipped: PROMPTC_TEST_MINILM and PROMPTC_TEST_IDS name no model and no ids of oracle/wordpiece.py"
        );
        return;
    };
    let folder = Folder::read(folder.as_ref());
    let tokenizer = WordPiece::from_json(&folder.tokenizer).unwrap();
    let by_vocabulary = WordPiece::from_vocabulary(&folder.vocabulary).unwrap();
    let file = std::fs::read(ids).unwrap();
    let mut rest = file.as_slice();
    let number = |rest: &mut &[u8]| {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        *rest = behind;
        Some(u32::from_le_bytes(*number))
    };
    let (mut text_count, mut byte_count, mut complaints) = (0, 0, Vec::new());
    while let Some(len) = number(&mut rest) {
        let (text, behind) = rest.split_at(len as usize);
        rest = behind;
        let text = std::str::from_utf8(text).unwrap();
        let count = number(&mut rest).unwrap();
        let wanted: Vec<u32> = (0..count).map(|_| number(&mut rest).unwrap()).collect();
        if pieces(&tokenizer, text) != wanted || pieces(&by_vocabulary, text) != wanted {
            complaints.push(text);
        }
        (text_count, byte_count) = (text_count + 1, byte_count + text.len());
    }
    println!("{text_count} texts of {byte_count} bytes, {} differ", complaints.len());
    complaints.truncate(20);
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn a_cut_is_counted() {
    let tokenizer = tiny();
    let [cls, sep, _] = tokenizer.special_ids();
    let text = "hit ".repeat(10);
    for (max, cut) in [(2, 10), (3, 9), (11, 1), (12, 0), (13, 0)] {
        let mut ids = vec![99];
        assert_eq!(tokenizer.encode(&text, max, &mut ids), cut, "{max}");
        assert_eq!((ids.len(), ids[1], *ids.last().unwrap()), (13 - cut, cls, sep));
    }
}

#[test]
fn words_of_a_hundred_characters_are_known_and_longer_ones_are_not() {
    let tokenizer = tiny();
    let unknown = tokenizer.special_ids()[2];
    for letter in ["x", "д"] {
        assert_eq!(pieces(&tokenizer, &letter.repeat(WORD_CHARS_MAX)).len(), WORD_CHARS_MAX);
        assert_eq!(pieces(&tokenizer, &letter.repeat(WORD_CHARS_MAX + 1)), [unknown]);
    }
}

#[test]
fn ids_of_words_are_those_that_a_text_can_have() {
    let base = "[PAD]\n[UNK]\n[unused7]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n.\n##.\n...\n##\n東\nx-y\n";
    let tokenizer = WordPiece::from_vocabulary(base.as_bytes()).unwrap();
    assert_eq!(tokenizer.word_ids(), [6, 7, 8, 9, 12]);
    assert_eq!(pieces(&tokenizer, "a . 東 ab ... x-y"), [6, 8, 12, 6, 7, 8, 8, 8, 1, 1, 1]);
    let tiny = tiny();
    assert_eq!(tiny.word_ids().len(), 154);
    assert_eq!((tiny.word_ids()[0], *tiny.word_ids().last().unwrap()), (5, tiny.largest_id()));
}

#[test]
fn identities_tell_tokenizers_apart_and_forms_of_a_file_not() {
    let folder = Folder::tiny();
    let by_vocabulary = WordPiece::from_vocabulary(&folder.vocabulary).unwrap();
    assert_eq!(tiny().identity(), by_vocabulary.identity());
    let identity = |file: Result<WordPiece, WordPieceError>| *file.unwrap().identity();
    let changes = [
        identity(changed(|file| file["normalizer"]["lowercase"] = json!(false))),
        identity(changed(|file| file["normalizer"]["strip_accents"] = json!(false))),
        identity(changed(|file| file["normalizer"]["handle_chinese_chars"] = json!(false))),
        identity(changed(|file| file["model"]["vocab"]["more"] = json!(200))),
        identity(changed(|file| drop(file["added_tokens"].as_array_mut().unwrap().pop()))),
        *tiny().identity(),
    ];
    for (idx, identity) in changes.iter().enumerate() {
        assert!(!changes[..idx].contains(identity), "{idx}");
    }
}

#[test]
fn settings_of_the_file_hold() {
    let [normalizer, accents] = ["lowercase", "strip_accents"];
    let cased = changed(|file| file["normalizer"][normalizer] = json!(false)).unwrap();
    assert_eq!(pieces(&cased, "HIT"), [cased.special_ids()[2]]);
    assert_eq!(pieces(&cased, "hit"), pieces(&tiny(), "HIT"));
    let accented = changed(|file| file["normalizer"][accents] = json!(false)).unwrap();
    assert_eq!(pieces(&accented, "NAÏVE"), [accented.special_ids()[2]]);
    assert_eq!(pieces(&tiny(), "NAÏVE"), pieces(&tiny(), "naive"));
    let joined = changed(|file| file["normalizer"]["handle_chinese_chars"] = json!(false)).unwrap();
    assert_eq!(pieces(&joined, "東京"), [joined.special_ids()[2]]);
    assert_eq!(pieces(&tiny(), "東京").len(), 2);
    let processor = json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    let other = changed(|file| file["post_processor"] = processor).unwrap();
    assert_eq!(other.special_ids(), tiny().special_ids());
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 23] = [
        (
            |file| file["added_tokens"] = vec![file["added_tokens"][0].clone(); 1025].into(),
            "`added_tokens` is 1025 tokens",
        ),
        (|file| file["model"]["type"] = json!("BPE"), "`model` is `BPE`"),
        (|file| file["normalizer"] = Value::Null, "`normalizer` is `null`"),
        (|file| file["normalizer"]["type"] = json!("Sequence"), "`normalizer` is `Sequence`"),
        (|file| file["pre_tokenizer"]["type"] = json!("Split"), "`pre_tokenizer` is `Split`"),
        (|file| file["post_processor"]["type"] = json!("ByteLevel"), "`post_processor` is `ByteLevel`"),
        (|file| file["normalizer"]["clean_text"] = json!(false), "`clean_text` is false"),
        (
            |file| file["model"]["continuing_subword_prefix"] = json!("@@"),
            "`continuing_subword_prefix` is `@@`",
        ),
        (|file| file["model"]["max_input_chars_per_word"] = json!(50), "`max_input_chars_per_word` is 50"),
        (|file| file["model"]["unk_token"] = json!("<unk>"), "`<unk>` is not in the vocabulary"),
        (|file| file["added_tokens"][1]["lstrip"] = json!(true), "`added_tokens` is [UNK]"),
        (|file| file["added_tokens"][1]["normalized"] = json!(true), "`added_tokens` is [UNK]"),
        (|file| file["added_tokens"][1]["special"] = json!(false), "`added_tokens` is [UNK]"),
        (|file| file["added_tokens"][1]["id"] = json!(77), "`[UNK]` has id 77"),
        (|file| file["added_tokens"][1]["content"] = json!(""), "token 1 of the vocabulary is empty"),
        (|file| file["added_tokens"][1] = file["added_tokens"][0].clone(), "`[PAD]` stands twice"),
        (|file| file["post_processor"]["single"] = json!([]), "`post_processor` is another template"),
        (|file| file["post_processor"]["special_tokens"] = json!({}), "`[CLS]` is not in the vocabulary"),
        (|file| file["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([9]), "`[CLS]` has id 9"),
        (|file| file["model"]["vocab"] = json!({}), "vocabulary of 0 tokens"),
        (|file| file["model"]["vocab"]["hit"] = json!(0), "has id 0"),
        (|file| file["model"]["vocab"]["hit"] = json!(1 << 20), "has id 1048576"),
        (|file| file["more"] = json!(1), "another form"),
    ];
    for (idx, (change, wanted)) in cases.into_iter().enumerate() {
        let error = changed(change).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{idx}: {error}");
    }
    let twice = String::from_utf8(Folder::tiny().tokenizer).unwrap().replace("\"hit\":", "\"cache\":");
    assert!(matches!(WordPiece::from_json(twice.as_bytes()), Err(WordPieceError::TokenTwice { .. })));
    let deep = [b"{\"model\":".as_slice(), &b"[".repeat(10_000)].concat();
    assert!(matches!(WordPiece::from_json(&deep), Err(WordPieceError::Json { .. })));
}

#[test]
fn vocabularies_are_checked() {
    let base = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n";
    assert_eq!(pieces(&WordPiece::from_vocabulary(base.as_bytes()).unwrap(), "Ab ább"), [5, 6, 5, 6, 6]);
    let cases = [
        (format!("{base}a\n"), "`a` stands twice"),
        (format!("{base}The\n"), "`The` with capitals"),
        (format!("{base}\nb\n"), "token 7 of the vocabulary is empty"),
        (base.replace("[SEP]\n", ""), "`[SEP]` is not in the vocabulary"),
        (String::new(), "vocabulary of 0 tokens"),
    ];
    for (text, wanted) in cases {
        let error = WordPiece::from_vocabulary(text.as_bytes()).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    assert!(matches!(WordPiece::from_vocabulary(b"a\n\xff"), Err(WordPieceError::Encoding { offset: 2 })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_words_and_blanks_between_words_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (tokenizer, text) = (tiny(), String::from_utf8_lossy(&bytes).into_owned());
        let found = pieces(&tokenizer, &text);
        prop_assert!(found.iter().all(|id| *id <= tokenizer.largest_id()));
        prop_assert_eq!(&pieces(&tokenizer, &format!("  {text}\n")), &found);
        let twice = [found.clone(), found].concat();
        prop_assert_eq!(pieces(&tokenizer, &format!("{text} {text}")), twice);
    }
}
