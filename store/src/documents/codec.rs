//! Bytes of a document and of a collection's parameters.
//!
//! ```text
//! document    format u8 = 1 | id bytes u16 | id | text bytes u32 | text | dim u32 | f32, little-endian
//! parameters  JSON
//! ```
//!
//! Pure: bytes in, bytes out. Checksums are those of `records`.

use serde::{Deserialize, Serialize};

use super::{DIM_MAX, Document, DocumentParams};
use crate::text::TextParams;
use crate::vectors::Metric;

/// First byte of a document.
const FORMAT: u8 = 1;
const FLOAT_BYTES: usize = size_of::<f32>();

pub(super) fn encode(document: &Document) -> Vec<u8> {
    let Document { id, text, vector } = document;
    let mut bytes = Vec::with_capacity(11 + id.len() + text.len() + vector.len() * FLOAT_BYTES);
    bytes.push(FORMAT);
    bytes.extend_from_slice(&(id.len() as u16).to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&(vector.len() as u32).to_le_bytes());
    for value in vector {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The document, or `None` if the bytes are not exactly one.
pub(super) fn decode(bytes: &[u8]) -> Option<Document> {
    let (&FORMAT, rest) = bytes.split_first()? else { return None };
    let (id_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*id_bytes)))?;
    let (text_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*text_bytes) as usize)?;
    let (dim, rest) = rest.split_first_chunk::<4>()?;
    let vector_bytes = (u32::from_le_bytes(*dim) as usize).checked_mul(FLOAT_BYTES)?;
    if rest.len() != vector_bytes {
        return None;
    }
    let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let vector = rest.as_chunks::<FLOAT_BYTES>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some(Document { id: text_of(id)?, text: text_of(text)?, vector })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredParams {
    text: Option<StoredText>,
    vectors: Option<StoredVectors>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredText {
    k1: f64,
    b: f64,
    stem: Option<String>,
    stop: Option<String>,
    positions: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredVectors {
    metric: String,
    dim: usize,
}

pub(super) fn encode_params(params: &DocumentParams) -> String {
    let text = params.text.clone();
    let text = text.map(|TextParams { k1, b, stem, stop, positions, .. }| StoredText {
        k1,
        b,
        stem,
        stop,
        positions,
    });
    let vectors = params.vectors.map(|(metric, dim)| StoredVectors { metric: metric.name().to_owned(), dim });
    serde_json::to_string(&StoredParams { text, vectors })
        .expect("invariant: texts and finite numbers are always JSON")
}

pub(super) fn decode_params(bytes: &[u8]) -> Option<DocumentParams> {
    let StoredParams { text, vectors } = serde_json::from_slice(bytes).ok()?;
    let text = text.map(|StoredText { k1, b, stem, stop, positions }| {
        // Documents have no titles.
        TextParams { k1, b, stem, stop, positions, title_weight: 1 }
    });
    let vectors = match vectors {
        None => None,
        Some(StoredVectors { metric, dim }) if (1..=DIM_MAX).contains(&dim) => {
            let named =
                [Metric::Cosine, Metric::Dot, Metric::L2].into_iter().find(|known| known.name() == metric);
            Some((named?, dim))
        }
        Some(_) => return None,
    };
    Some(DocumentParams { text, vectors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn documents_are_read_back(id in ".{0,40}", text in ".*", vector in prop::collection::vec(any::<f32>(), 0..9)) {
            let bytes = encode(&Document { id: id.clone(), text: text.clone(), vector: vector.clone() });
            let found = decode(&bytes).unwrap();
            let bits = |vector: &[f32]| vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!((&found.id, &found.text, bits(&found.vector)), (&id, &text, bits(&vector)));
        }

        #[test]
        fn any_bytes_are_a_document_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(document) = decode(&bytes) {
                prop_assert_eq!(encode(&document), bytes);
            }
        }
    }

    #[test]
    fn absurd_lengths_are_no_documents() {
        let whole = encode(&Document { id: "a".into(), text: "b".into(), vector: vec![1.0] });
        for at in [1, 2, 4, 5, 6, 7, 9, 10, 11, 12] {
            let mut wrong = whole.clone();
            wrong[at] = 0xff;
            assert_eq!(decode(&wrong), None, "byte {at}");
        }
        assert_eq!(decode(&whole[..whole.len() - 1]), None);
        assert_eq!(decode(&[whole, vec![0]].concat()), None);
    }

    #[test]
    fn parameters_are_read_back() {
        let text = TextParams { stem: Some("en".into()), ..TextParams::default() };
        for params in [
            DocumentParams { text: Some(text.clone()), vectors: Some((Metric::Cosine, 3)) },
            DocumentParams { text: None, vectors: Some((Metric::L2, 1)) },
            DocumentParams { text: Some(text), vectors: None },
        ] {
            assert_eq!(decode_params(encode_params(&params).as_bytes()), Some(params));
        }
        for wrong in [
            "",
            "{}x",
            r#"{"text":null,"vectors":{"metric":"cosine","dim":0}}"#,
            r#"{"text":null,"vectors":{"metric":"x","dim":1}}"#,
        ] {
            assert_eq!(decode_params(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
