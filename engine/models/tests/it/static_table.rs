//! Static tables against vectors that another program computed, and files that are refused.

use promptc_models::bert::TokenizerFile;
use promptc_models::safetensors::Safetensors;
use promptc_models::static_table::{
    Provenance, StaticCounts, StaticError, StaticScratch, StaticTable, write,
};
use promptc_models::wordpiece::WordPiece;
use serde_json::{Value, json};

use super::bert::{Folder, oracle, sentences};
use super::safetensors::file;

/// Length of the stored rows.
const DIM: usize = 20;

fn provenance() -> Provenance {
    Provenance {
        source: "a model".to_owned(),
        source_blake3: [7; 32],
        recipe: "drawn 1".to_owned(),
        weighting: "none".to_owned(),
        texts_blake3: None,
    }
}

fn tokenizer() -> WordPiece {
    WordPiece::from_json(&Folder::tiny().tokenizer).unwrap()
}

/// Stored rows, and the vectors of the sentences.
fn stored() -> (Vec<f32>, Vec<f32>) {
    let bytes = std::fs::read(oracle("static-tiny.safetensors")).unwrap();
    let file = Safetensors::parse(&bytes).unwrap();
    let rows = file.floats("rows", &[tokenizer().largest_id() as usize + 1, DIM]).unwrap();
    (rows, file.floats("vectors", &[sentences().len(), DIM]).unwrap())
}

fn written() -> Vec<u8> {
    write(&stored().0, DIM, &tokenizer(), &provenance()).unwrap()
}

fn load(table: &[u8]) -> Result<StaticTable, StaticError> {
    StaticTable::load(table, TokenizerFile::Json(&Folder::tiny().tokenizer))
}

fn embed(table: &StaticTable, texts: &[impl AsRef<str>]) -> (Vec<f32>, StaticCounts) {
    let mut out = vec![f32::NAN; texts.len() * table.dim()];
    let counts = table.embed(texts, &mut StaticScratch::default(), &mut out);
    (out, counts)
}

#[test]
fn vectors_are_those_of_the_script_bit_by_bit() {
    let (table, texts, wanted) = (load(&written()).unwrap(), sentences(), stored().1);
    assert_eq!((table.dim(), table.row_count(), table.bytes()), (DIM, 159, 159 * DIM));
    assert_eq!(*table.provenance(), provenance());
    let (found, counts) = embed(&table, &texts);
    for (text, (found, wanted)) in texts.iter().zip(found.chunks(DIM).zip(wanted.chunks(DIM))) {
        assert_eq!(found, wanted, "{text:?}");
        assert_eq!(embed(&table, &[text]).0, wanted, "{text:?} alone");
    }
    let zero = wanted.chunks(DIM).filter(|vector| vector.iter().all(|value| *value == 0.0)).count();
    assert!(zero > 0 && counts.texts_zero == zero && counts.tokens > 100, "{counts:?}");
}

#[test]
fn equal_input_gives_equal_bytes_and_both_forms_of_the_vocabulary_serve() {
    let (bytes, folder) = (written(), Folder::tiny());
    assert_eq!(bytes, written());
    assert_eq!(codes_start(&bytes) % 64, 0);
    let other = StaticTable::load(&bytes, TokenizerFile::Vocabulary(&folder.vocabulary)).unwrap();
    assert_eq!(load(&bytes).unwrap().identity(), other.identity());
    let texts = sentences();
    assert_eq!(embed(&load(&bytes).unwrap(), &texts).0, embed(&other, &texts).0);
}

/// Where the codes begin in a file.
fn codes_start(bytes: &[u8]) -> usize {
    let file = Safetensors::parse(bytes).unwrap();
    file.tensors().find(|(name, _)| *name == "codes").unwrap().1.range.start
}

#[test]
fn what_a_vector_depends_on_is_in_the_identity() {
    let (rows, _) = stored();
    let table = load(&written()).unwrap();
    let told = Provenance { source: "another name".to_owned(), ..provenance() };
    let same = load(&write(&rows, DIM, &tokenizer(), &told).unwrap()).unwrap();
    assert_eq!(table.identity(), same.identity());
    let mut changed = rows;
    changed[3 * DIM] = -changed[3 * DIM];
    let other = load(&write(&changed, DIM, &tokenizer(), &told).unwrap()).unwrap();
    assert_ne!(table.identity(), other.identity());
}

#[test]
fn one_scale_cancels_out() {
    let (rows, _) = stored();
    let doubled: Vec<f32> = rows.iter().map(|value| value * 2.0).collect();
    let table = load(&write(&doubled, DIM, &tokenizer(), &provenance()).unwrap()).unwrap();
    assert_eq!(table.scale(), 2.0 * load(&written()).unwrap().scale());
    assert_eq!(embed(&table, &sentences()).0, stored().1);
}

#[test]
fn texts_without_pieces_are_zero_and_long_ones_are_read_whole() {
    let table = load(&written()).unwrap();
    let (found, counts) = embed(&table, &["", " \n\t", "\u{200b}"]);
    assert!(found.iter().all(|value| value.to_bits() == 0), "no negative zeros either");
    assert_eq!(counts, StaticCounts { tokens: 0, texts_zero: 3 });
    assert_eq!(embed(&table, &[""; 0]), (vec![], StaticCounts::default()));
    // The sum of n equal rows has their direction, across the blocks in which 16 bits are added.
    let one = embed(&table, &["hit"]).0;
    for count in [2, 3, 4, 5, 255, 256, 257, 1023, 25_000] {
        let text = "hit ".repeat(count);
        let (many, counts) = embed(&table, &[&text]);
        assert_eq!((counts.tokens, counts.texts_zero), (count, 0));
        for (one, many) in one.iter().zip(&many) {
            assert!((one - many).abs() <= 1e-7, "{count}: {one} {many}");
        }
    }
    // What comes last in 100 kB counts: a text with another end is another vector.
    let long = "hit cache ".repeat(10_000);
    assert_ne!(embed(&table, &[&long]).0, embed(&table, &[format!("{long} moon")]).0);
}

/// A table as the first releases wrote it: without a hash of its rows.
fn without_hash(bytes: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert!(header["__metadata__"].as_object_mut().unwrap().remove("rows_blake3").is_some());
    let mut header = header.to_string();
    header.extend(std::iter::repeat_n(' ', length - header.len()));
    super::safetensors::file(&header, &bytes[8 + length..])
}

#[test]
fn rows_that_changed_are_refused_where_their_hash_is_known() {
    let mut bytes = written();
    let place = bytes.len() - 40;
    bytes[place] ^= 1;
    assert!(matches!(load(&bytes).unwrap_err(), StaticError::Damaged));
    load(&without_hash(&bytes)).unwrap();
}

#[test]
fn extreme_codes_do_not_wrap() {
    let (tokenizer, dim) = (tokenizer(), 3);
    let row_count = tokenizer.largest_id() as usize + 1;
    let mut bytes =
        without_hash(&write(&vec![1.0; row_count * dim], dim, &tokenizer, &provenance()).unwrap());
    let start = codes_start(&bytes);
    for (idx, code) in bytes[start..start + row_count * dim].iter_mut().enumerate() {
        *code = [i8::MIN, i8::MAX, 0][idx % 3].cast_unsigned();
    }
    let table = load(&bytes).unwrap();
    let one = embed(&table, &["hit"]).0;
    assert!(one[0] < -0.7 && one[1] > 0.7 && one[2] == 0.0, "{one:?}");
    for count in [256, 257, 512, 1000] {
        assert_eq!(embed(&table, &["hit ".repeat(count)]).0, one, "{count}");
    }
}

#[test]
fn an_embedder_keeps_nothing_of_another() {
    let small = load(&written()).unwrap();
    let (rows, texts) = (vec![0.5; small.row_count() * 64], sentences());
    let large = load(&write(&rows, 64, &tokenizer(), &provenance()).unwrap()).unwrap();
    let mut scratch = StaticScratch::default();
    for table in [&small, &large, &small] {
        let mut out = vec![0.0; texts.len() * table.dim()];
        table.embed(&texts, &mut scratch, &mut out);
        assert_eq!(out, embed(table, &texts).0);
    }
}

#[test]
fn rows_that_cannot_be_written_are_refused() {
    let (rows, _) = stored();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut rows = rows.clone();
        rows[5 * DIM + 1] = value;
        let refused = write(&rows, DIM, &tokenizer(), &provenance());
        assert!(matches!(refused, Err(StaticError::NothingToWrite { row_idx: 5 })), "{value}");
    }
    let zeros = write(&vec![0.0; rows.len()], DIM, &tokenizer(), &provenance());
    assert!(matches!(zeros, Err(StaticError::NothingToWrite { row_idx: 0 })));
}

/// The written table with a changed header, its data as it is or cut to `len`.
fn changed(change: impl FnOnce(&mut Value), data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = written();
    let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, body) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let (mut header, mut body): (Value, _) = (serde_json::from_slice(header).unwrap(), body.to_vec());
    change(&mut header);
    data(&mut body);
    file(&header.to_string(), &body)
}

#[test]
fn what_is_no_table_is_refused_by_name() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 19] = [
        (|file| file["__metadata__"]["format"] = json!("pt"), "`format` = `pt`"),
        (|file| file["__metadata__"]["version"] = json!("2"), "`version` = `2`, expected `1`"),
        (|file| file["__metadata__"]["dim"] = json!("21"), "`dim` = `21`, expected `20`"),
        (|file| file["__metadata__"]["source_blake3"] = json!("07"), "`source_blake3` = `07`"),
        (|file| file["__metadata__"]["texts_blake3"] = json!("x"), "`texts_blake3` = `x`"),
        (|file| file["__metadata__"]["vocabulary_blake3"] = json!("x"), "`vocabulary_blake3` = `x`"),
        (|file| file["__metadata__"]["vocabulary_blake3"] = json!("07".repeat(32)), "made with 0707"),
        (|file| file["__metadata__"]["source"] = json!("s".repeat(5000)), "a text of 5000 bytes"),
        (|file| file["__metadata__"]["more"] = json!("1"), "`__metadata__.more`"),
        (
            |file| {
                file["__metadata__"].as_object_mut().unwrap().remove("recipe");
            },
            "`recipe` = nothing",
        ),
        (
            |file| {
                file.as_object_mut().unwrap().remove("__metadata__");
            },
            "`format` = nothing",
        ),
        (|file| file["codes"]["dtype"] = json!("U8"), "`codes` is U8 [159, 20], expected I8"),
        (|file| file["codes"]["shape"] = json!([159, 5, 4]), "`codes` is I8 [159, 5, 4]"),
        (|file| file["codes"]["shape"] = json!([20, 159]), "`dim` = `20`, expected `159`"),
        (|file| file["scale"]["dtype"] = json!("I32"), "`scale` has type I32"),
        (|file| file["scale"]["shape"] = json!([1, 1]), "`scale` has shape [1, 1], expected [1]"),
        (|file| file["codes"]["shape"] = json!([159, 21]), "range of 3180 bytes, expected 3339"),
        (|file| file["scale"]["data_offsets"] = json!([3176, 3180]), "gap or overlap"),
        (
            |file| {
                let codes = file.as_object_mut().unwrap().remove("codes").unwrap();
                file["rows"] = codes;
            },
            "`rows` is none of a static table's",
        ),
    ];
    for (change, wanted) in cases {
        assert_refused(&changed(change, |_| {}), wanted);
    }
    for scale in [f32::NAN, f32::INFINITY] {
        assert_refused(
            &changed(|_| {}, |data| data[3180..].copy_from_slice(&scale.to_le_bytes())),
            "`scale` holds",
        );
    }
    for scale in [0.0_f32, -0.0, -1.0] {
        assert_refused(
            &changed(|_| {}, |data| data[3180..].copy_from_slice(&scale.to_le_bytes())),
            "above 0",
        );
    }
    assert_refused(&changed(|_| {}, |data| data.push(0)), "data of 3185 bytes found, expected 3184");
    let empty = |file: &mut Value| {
        file["codes"] = json!({"dtype": "I8", "shape": [159, 0], "data_offsets": [0, 0]});
        file["scale"]["data_offsets"] = json!([0, 4]);
    };
    assert_refused(&changed(empty, |data| drop(data.drain(..3180))), "`codes` is I8 [159, 0]");
    assert_refused(
        &file(r#"{"scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]),
        "`format`",
    );
}

#[track_caller]
fn assert_refused(table: &[u8], wanted: &str) {
    let error = load(table).expect_err(wanted);
    let found = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    assert!(found.contains(wanted), "{found}, not {wanted}");
}

#[test]
fn another_vocabulary_is_refused() {
    let bytes = written();
    let vocabulary = String::from_utf8(Folder::tiny().vocabulary).unwrap();
    let longer = format!("{vocabulary}more\n");
    let refused = StaticTable::load(&bytes, TokenizerFile::Vocabulary(longer.as_bytes())).unwrap_err();
    assert!(matches!(refused, StaticError::Rows { largest: 159, rows: 159 }), "{refused}");
    let other = vocabulary.replace("\nhit\n", "\nhat\n");
    let refused = StaticTable::load(&bytes, TokenizerFile::Vocabulary(other.as_bytes())).unwrap_err();
    assert!(matches!(refused, StaticError::Vocabulary { .. }), "{refused}");
    let none = StaticTable::load(&bytes, TokenizerFile::Vocabulary(b"")).unwrap_err();
    assert!(matches!(none, StaticError::Tokenizer(_)), "{none}");
}

#[test]
fn every_cut_is_refused_and_damage_gives_finite_vectors_or_a_refusal() {
    let bytes = without_hash(&written());
    for len in 0..bytes.len() {
        assert!(load(&bytes[..len]).is_err(), "{len}");
    }
    let mut state = 7_u64;
    let mut draw = move |end: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % end
    };
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..2000 {
        let mut bytes = bytes.clone();
        // The header is a small part of the file, and the one that is read with care.
        let end = if round % 2 == 0 { 700 } else { bytes.len() };
        for _ in 0..=draw(3) {
            bytes[draw(end)] ^= 1 << draw(8);
        }
        let Ok(table) = load(&bytes) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let (vectors, _) = embed(&table, &["hit the cache", "naïve 東京 [MASK] x1", ""]);
        assert!(vectors.iter().all(|value| value.is_finite()), "round {round}");
    }
    assert!(refused > 500 && accepted > 500, "{refused} refused, {accepted} accepted");
}
