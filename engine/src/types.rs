//! Types of the language as Arrow types.
//!
//! Units, spaces and tokenizers travel as field metadata (`promptc.unit`, `promptc.tok`, `promptc.space`), so that a stored
//! table still says what its numbers mean.
//!
//! # Decisions
//! `enum` is plain `Utf8` with the metadata `promptc.enum`. A dictionary in memory would have to be unified between
//! batches, files and caches; Parquet encodes the column as a dictionary on disk in either case.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use promptc_compiler::types::{Column, Element, Type};

/// Arrow's form of a type; nullability is the field's.
#[must_use]
pub fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Unknown | Type::Null => DataType::Null,
        Type::Bool => DataType::Boolean,
        Type::Int { signed: true, bits: 8 } => DataType::Int8,
        Type::Int { signed: true, bits: 16 } => DataType::Int16,
        Type::Int { signed: true, bits: 32 } => DataType::Int32,
        Type::Int { signed: true, .. } => DataType::Int64,
        Type::Int { signed: false, bits: 8 } => DataType::UInt8,
        Type::Int { signed: false, bits: 16 } => DataType::UInt16,
        Type::Int { signed: false, bits: 32 } => DataType::UInt32,
        Type::Int { signed: false, .. } => DataType::UInt64,
        Type::Float { bits: 16 } => DataType::Float16,
        Type::Float { bits: 32 } => DataType::Float32,
        Type::Float { .. } | Type::Ratio | Type::Share => DataType::Float64,
        Type::Text | Type::Enum(_) | Type::Handle(_) => DataType::Utf8,
        Type::Bytes => DataType::Binary,
        Type::Date => DataType::Date32,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Optional(inner) => data_type(inner),
        Type::List(inner) => DataType::List(Arc::new(field("item", inner))),
        Type::Map(key, value) => {
            let entries = Fields::from(vec![field("keys", key).with_nullable(false), field("values", value)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), true)
        }
        Type::Record(columns) | Type::Stream(columns) => DataType::Struct(fields(columns)),
        Type::Tok(_) => DataType::Int64,
        Type::Duration => DataType::Duration(TimeUnit::Nanosecond),
        Type::Size => DataType::UInt64,
        Type::Vector { dim, element, .. } => vector_type(*dim, *element),
        Type::Tokens(_) => DataType::List(Arc::new(Field::new("item", DataType::UInt32, false))),
        Type::Span => DataType::Struct(span_fields()),
        Type::Message => DataType::Struct(Fields::from(vec![
            Field::new("role", DataType::Utf8, false),
            Field::new("content", DataType::Utf8, false),
        ])),
        Type::Range(inner) => DataType::Struct(Fields::from(vec![field("from", inner), field("to", inner)])),
    }
}

fn vector_type(dim: u32, element: Element) -> DataType {
    let item = |ty| Arc::new(Field::new("item", ty, false));
    let len = i32::try_from(dim).unwrap_or(i32::MAX);
    match element {
        Element::F32 => DataType::FixedSizeList(item(DataType::Float32), len),
        Element::F16 => DataType::FixedSizeList(item(DataType::Float16), len),
        Element::I8 => DataType::FixedSizeList(item(DataType::Int8), len),
        Element::Bit => DataType::FixedSizeBinary(len / 8),
    }
}

/// The fields of a `span`: document, byte range in it, byte offset in the text at hand.
#[must_use]
pub fn span_fields() -> Fields {
    Fields::from(vec![
        Field::new("doc", DataType::Utf8, false),
        Field::new("start", DataType::UInt64, false),
        Field::new("end", DataType::UInt64, false),
        Field::new("at", DataType::UInt32, false),
    ])
}

/// A named field with its nullability and metadata.
#[must_use]
pub fn field(name: &str, ty: &Type) -> Field {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: String| metadata.insert(key.to_owned(), value);
    match ty.required() {
        Type::Tok(tokenizer) => {
            put("promptc.unit", "tok".into());
            if let Some(tokenizer) = tokenizer {
                put("promptc.tok", tokenizer.fp.to_string());
            }
        }
        Type::Ratio => drop(put("promptc.unit", "ratio".into())),
        Type::Share => drop(put("promptc.unit", "share".into())),
        Type::Size => drop(put("promptc.unit", "bytes".into())),
        Type::Enum(values) => drop(put("promptc.enum", values.join("|"))),
        Type::Tokens(tokenizer) => drop(put("promptc.tok", tokenizer.fp.to_string())),
        Type::Vector { space: Some(space), .. } => drop(put("promptc.space", space.fp.to_string())),
        _ => {}
    }
    Field::new(name, data_type(ty), ty.is_optional()).with_metadata(metadata)
}

/// The fields of columns, in order.
#[must_use]
pub fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(|column| field(&column.name, &column.ty)).collect()
}

/// The schema of a stream, hidden key columns included.
#[must_use]
pub fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(fields(columns)))
}
