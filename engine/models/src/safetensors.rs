//! Files of tensors: which numbers does a safetensors file hold, and is it whole?
//!
//! ```text
//!  8 bytes: length of the header │ header: JSON, name -> type, shape, range │ data: the ranges, without gap or overlap
//! ```
//! Everything is checked before anything is allocated for it: a file that passes has no range outside its data, no product
//! of a shape that overflows, and no two tensors of one name. It does not know what the tensors mean.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use half::{bf16, f16};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// Longest header. One entry takes about 120 bytes, so this is room for more than any known model.
pub const HEADER_BYTES_MAX: usize = 10_000_000;
/// Most tensors of a file.
pub const TENSORS_MAX: usize = 100_000;
/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 8;
/// Name of the entry that is no tensor.
const METADATA: &str = "__metadata__";

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The file ends within the eight bytes of the header's length, or within the header.
    #[error("file of {found} bytes found, its header alone has {expected}; the file is cut, fetch it again")]
    Cut {
        /// Length of the file.
        found: u64,
        /// Length up to the end of the header.
        expected: u64,
    },
    /// The header is longer than [`HEADER_BYTES_MAX`].
    #[error(
        "header of {found} bytes found, expected at most {HEADER_BYTES_MAX}; the file is no safetensors file"
    )]
    HeaderTooLong {
        /// Its stated length.
        found: u64,
    },
    /// The header is not the JSON that is expected.
    #[error("header is not a table of tensors; the file is no safetensors file, or damaged: fetch it again")]
    Header {
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A name stands twice in the header.
    #[error("tensor `{name}` stands twice in the header; export the model again")]
    Twice {
        /// The name.
        name: String,
    },
    /// A tensor's type is none that is known.
    #[error("tensor `{name}` has the unknown type `{found}`; export the model as F32, F16 or BF16")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its stated type.
        found: String,
    },
    /// A tensor has too many dimensions.
    #[error(
        "tensor `{name}` has {found} dimensions, expected at most {DIMENSIONS_MAX}; export the model again"
    )]
    Dimensions {
        /// The tensor.
        name: String,
        /// Its number of dimensions.
        found: usize,
    },
    /// The number of elements or bytes of a tensor does not fit 64 bits.
    #[error("tensor `{name}` of shape {shape:?} has more elements than can be counted; do not use this file")]
    Overflow {
        /// The tensor.
        name: String,
        /// Its stated shape.
        shape: Vec<u64>,
    },
    /// Type and shape of a tensor need another number of bytes than its range has.
    #[error(
        "tensor `{name}` has a range of {found} bytes, expected {expected} by type and shape; fetch the file again"
    )]
    Length {
        /// The tensor.
        name: String,
        /// Bytes by type and shape.
        expected: u64,
        /// Bytes of the range, 0 if it ends before it begins.
        found: u64,
    },
    /// A tensor does not begin where the one before it ends.
    #[error(
        "tensor `{name}` begins at byte {found}, expected {expected}: gap or overlap; export the model again"
    )]
    Place {
        /// The tensor.
        name: String,
        /// End of the tensor before it.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// The ranges end before the file, or behind it.
    #[error(
        "data of {found} bytes found, expected {expected} by the header; the file is cut or has a tail, fetch it again"
    )]
    DataLength {
        /// End of the last range.
        expected: u64,
        /// Bytes behind the header.
        found: u64,
    },
    /// A tensor that is asked for is not there.
    #[error(
        "tensor `{name}` is missing; the file holds another architecture, or a part of a model in several files"
    )]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than it is asked for in.
    #[error(
        "tensor `{name}` has shape {found:?}, expected {expected:?}; the weights belong to another configuration"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that is asked for.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor that has to hold numbers with fractions holds others.
    #[error(
        "tensor `{name}` has type {found:?}, expected F32, F16 or BF16; export the model in one of these"
    )]
    NotFloat {
        /// The tensor.
        name: String,
        /// Its type.
        found: Dtype,
    },
    /// A number is NaN or infinite.
    #[error(
        "tensor `{name}` holds {value} at element {element_idx}, expected finite numbers; the model is damaged, fetch it again"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Which element, in the order of the file.
        element_idx: usize,
        /// The number.
        value: f32,
    },
}

/// Type of a tensor's elements, by the names of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names of the format say it")]
pub enum Dtype {
    BOOL,
    U8,
    I8,
    #[serde(rename = "F8_E4M3")]
    F8E4M3,
    #[serde(rename = "F8_E5M2")]
    F8E5M2,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::BOOL | Self::U8 | Self::I8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// What the header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Type of its elements.
    pub dtype: Dtype,
    /// Number of elements per dimension; without any it is a single number.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// A file that passed: the names with their tensors, over the bytes.
#[derive(Debug, Clone)]
pub struct Safetensors<'a> {
    bytes: &'a [u8],
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
}

impl<'a> Safetensors<'a> {
    /// Reads and checks the header. Cost: linear in the header; the data is not touched.
    ///
    /// # Errors
    /// One for each rule of the format and each limit of this module; the first that is found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SafetensorsError> {
        let found = bytes.len() as u64;
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(SafetensorsError::Cut { found, expected: 8 });
        };
        let length = u64::from_le_bytes(*length);
        if length > HEADER_BYTES_MAX as u64 {
            return Err(SafetensorsError::HeaderTooLong { found: length });
        }
        let Some((header, data)) = rest.split_at_checked(length as usize) else {
            return Err(SafetensorsError::Cut { found, expected: 8 + length });
        };
        let header: Header =
            serde_json::from_slice(header).map_err(|source| SafetensorsError::Header { source })?;
        let start = bytes.len() - data.len();
        let (tensors, end) = placed(header.tensors, start)?;
        if end != data.len() as u64 {
            return Err(SafetensorsError::DataLength { expected: end, found: data.len() as u64 });
        }
        let mut metadata = BTreeMap::new();
        for (key, value) in header.metadata {
            if metadata.insert(key, value).is_some() {
                return Err(SafetensorsError::Twice { name: METADATA.to_owned() });
            }
        }
        Ok(Self { bytes, tensors, metadata })
    }

    /// All tensors with their names, in order of the names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// What the header says beside the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The bytes of a tensor, little-endian, row by row.
    pub fn bytes_of(&self, tensor: &Tensor) -> &'a [u8] {
        &self.bytes[tensor.range.clone()]
    }

    /// The numbers of the tensor with this name and shape, in order, as `f32`; F16 and BF16 are exact. Cost: one pass.
    ///
    /// # Errors
    /// If it is not there, has another shape, is not of type F32, F16 or BF16, or holds a NaN or an infinity.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SafetensorsError> {
        let name_of = || name.to_owned();
        let Some(tensor) = self.tensors.get(name) else {
            return Err(SafetensorsError::Missing { name: name_of() });
        };
        if tensor.shape != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(SafetensorsError::Shape { name: name_of(), expected, found });
        }
        let bytes = self.bytes_of(tensor);
        let halves = || bytes.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        let values: Vec<f32> = match tensor.dtype {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F16 => halves().map(|bits| f16::from_bits(bits).to_f32()).collect(),
            Dtype::BF16 => halves().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            found => return Err(SafetensorsError::NotFloat { name: name_of(), found }),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(element_idx) => {
                let value = values[element_idx];
                Err(SafetensorsError::NotFinite { name: name_of(), element_idx, value })
            }
            None => Ok(values),
        }
    }
}

/// Checks the entries against each other; also the end of the last one.
fn placed(
    entries: Vec<(String, Entry)>,
    start: usize,
) -> Result<(BTreeMap<String, Tensor>, u64), SafetensorsError> {
    let mut sorted = entries;
    sorted.sort_by(|left, right| (left.1.data_offsets, &left.0).cmp(&(right.1.data_offsets, &right.0)));
    let mut tensors = BTreeMap::new();
    let mut expected = 0;
    for (name, entry) in sorted {
        let (dtype, shape) = entry.checked(&name)?;
        let [begin, end] = entry.data_offsets;
        if begin != expected {
            return Err(SafetensorsError::Place { name, expected, found: begin });
        }
        expected = end;
        let place = |offset: u64| usize::try_from(offset).ok().and_then(|offset| offset.checked_add(start));
        let (Some(begin), Some(end)) = (place(begin), place(end)) else {
            return Err(SafetensorsError::Overflow { name, shape: entry.shape });
        };
        let tensor = Tensor { dtype, shape, range: begin..end };
        if tensors.contains_key(&name) {
            return Err(SafetensorsError::Twice { name });
        }
        tensors.insert(name, tensor);
    }
    Ok((tensors, expected))
}

/// One entry of the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    /// Type and shape, if the range is as long as they need.
    fn checked(&self, name: &str) -> Result<(Dtype, Vec<usize>), SafetensorsError> {
        let name = || name.to_owned();
        let dtype =
            Dtype::deserialize(serde::de::value::StrDeserializer::<serde_json::Error>::new(&self.dtype))
                .map_err(|_| SafetensorsError::Dtype { name: name(), found: self.dtype.clone() })?;
        if self.shape.len() > DIMENSIONS_MAX {
            return Err(SafetensorsError::Dimensions { name: name(), found: self.shape.len() });
        }
        let overflow = || SafetensorsError::Overflow { name: name(), shape: self.shape.clone() };
        let expected = self.shape.iter().try_fold(dtype.bytes(), |product, len| product.checked_mul(*len));
        // A zero hides a product that overflows before it, so the others are looked at too.
        let others = self
            .shape
            .iter()
            .filter(|len| **len > 0)
            .try_fold(8, |product: u64, len| product.checked_mul(*len));
        let (Some(expected), Some(_)) = (expected, others) else { return Err(overflow()) };
        let [begin, end] = self.data_offsets;
        let found = end.saturating_sub(begin);
        if found != expected || end < begin {
            return Err(SafetensorsError::Length { name: name(), expected, found });
        }
        let shape = self.shape.iter().map(|len| usize::try_from(*len)).collect::<Result<_, _>>();
        Ok((dtype, shape.map_err(|_| overflow())?))
    }
}

/// The header as it stands: names may repeat here.
#[derive(Default)]
struct Header {
    tensors: Vec<(String, Entry)>,
    metadata: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                header.metadata.extend(map.next_value::<Pairs>()?.0);
                continue;
            }
            if header.tensors.len() == TENSORS_MAX {
                return Err(A::Error::custom(format_args!("more than {TENSORS_MAX} tensors")));
            }
            header.tensors.push((name, map.next_value()?));
        }
        Ok(header)
    }
}

/// A table of texts, of which a name may repeat.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}
