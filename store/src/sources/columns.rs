//! Which columns each kind of source has, and whether a declaration asks for others.

use super::convert;
use super::{SourceError, SourceSpec};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The columns that a source of `kind` and `part` can give, in a fixed order; `None` where the files decide.
pub fn fixed_columns(kind: &str, part: Option<&str>) -> Option<SchemaRef> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let list_of = |name: &str, item: DataType| {
        Field::new(name, DataType::List(Arc::new(Field::new("item", item, false))), false)
    };
    let fields = match (kind, part) {
        ("markdown", None) => {
            let mut fields = file_columns();
            fields.push(Field::new("title", DataType::Utf8, true));
            fields.push(Field::new("front_matter", text_map(), false));
            fields
        }
        ("text", None) => file_columns(),
        ("squad", Some("contexts")) => vec![text("id"), text("title"), text("text")],
        ("squad", Some("questions")) => vec![
            text("qid"),
            text("doc"),
            text("title"),
            text("question"),
            list_of("answers", DataType::Utf8),
            list_of("answer_starts", DataType::UInt32),
        ],
        ("trec", Some("docs")) => vec![text("id"), text("text")],
        ("trec", Some("topics")) => vec![text("qid"), text("text")],
        ("trec", Some("qrels")) => vec![text("qid"), text("id"), Field::new("rel", DataType::Int32, false)],
        _ => return None,
    };
    Some(Arc::new(Schema::new(fields)))
}

fn file_columns() -> Vec<Field> {
    let modified_at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("modified_at", modified_at, false),
    ]
}

fn text_map() -> DataType {
    let fields = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, false)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), true)
}

/// Refuses what no reader serves: unknown kinds and parts, and columns that the kind cannot give.
pub(super) fn check(spec: &SourceSpec) -> Result<(), SourceError> {
    let fail = |column: &str, detail: String| SourceError::Column {
        pattern: spec.path.clone(),
        column: column.into(),
        detail,
    };
    for key in &spec.key {
        if spec.columns.field_with_name(key).is_err() {
            return Err(fail(key, "the key is not a declared column".into()));
        }
    }
    match (spec.kind.as_str(), spec.part.as_deref()) {
        ("jsonl" | "json", None) => each(spec, |field| convert::is_supported(field.data_type())),
        ("csv", None)
            if u8::try_from(spec.delimiter)
                .is_ok_and(|byte| !matches!(byte, b'"' | b'\n' | b'\r' | 0x80..)) =>
        {
            each(spec, |field| convert::is_cell(field.data_type()))
        }
        ("csv", None) => {
            Err(SourceError::Unsupported { what: format!("`csv` with the delimiter {:?}", spec.delimiter) })
        }
        ("parquet" | "lance", None) => Ok(()),
        (kind, part) => {
            let Some(known) = fixed_columns(kind, part) else {
                let part = part.map(|part| format!(" with part `{part}`")).unwrap_or_default();
                return Err(SourceError::Unsupported { what: format!("`{kind}`{part}") });
            };
            for field in spec.columns.fields() {
                let Ok(given) = known.field_with_name(field.name()) else {
                    let names: Vec<&str> = known.fields().iter().map(|field| field.name().as_str()).collect();
                    return Err(fail(field.name(), format!("`{kind}` has {}", names.join(", "))));
                };
                if !is_same(given.data_type(), field.data_type()) {
                    let (wanted, found) =
                        (convert::type_name(field.data_type()), convert::type_name(given.data_type()));
                    return Err(fail(field.name(), format!("declared as {wanted}, `{kind}` has {found}")));
                }
                if given.is_nullable() && !field.is_nullable() {
                    return Err(fail(field.name(), format!("`{kind}` may have none; declare it with `?`")));
                }
            }
            Ok(())
        }
    }
}

fn each(spec: &SourceSpec, accepts: impl Fn(&Field) -> bool) -> Result<(), SourceError> {
    match spec.columns.fields().iter().find(|field| !accepts(field)) {
        None => Ok(()),
        Some(field) => {
            let detail = format!("`{}` cannot hold {}", spec.kind, convert::type_name(field.data_type()));
            Err(SourceError::Column { pattern: spec.path.clone(), column: field.name().clone(), detail })
        }
    }
}

/// Equal up to the names of inner fields, their nullability, and the spelling of the time zone.
fn is_same(given: &DataType, wanted: &DataType) -> bool {
    match (given, wanted) {
        (DataType::List(given), DataType::List(wanted))
        | (DataType::Map(given, _), DataType::Map(wanted, _)) => {
            is_same(given.data_type(), wanted.data_type())
        }
        (DataType::Struct(given), DataType::Struct(wanted)) => {
            given.len() == wanted.len()
                && given
                    .iter()
                    .zip(wanted)
                    .all(|(given, wanted)| is_same(given.data_type(), wanted.data_type()))
        }
        (DataType::Timestamp(given, _), DataType::Timestamp(wanted, _)) => given == wanted,
        _ => given == wanted,
    }
}

/// For each declared column its position among the columns of the kind, for readers of fixed columns.
pub(super) fn positions(spec: &SourceSpec) -> Vec<usize> {
    let known = fixed_columns(&spec.kind, spec.part.as_deref()).unwrap_or_else(|| spec.columns.clone());
    let position = |field: &Arc<Field>| known.index_of(field.name()).ok();
    spec.columns.fields().iter().filter_map(position).collect()
}

/// The declared columns of a row of all columns of the kind.
pub(super) fn project(mut all: Vec<super::datum::Datum>, positions: &[usize]) -> Vec<super::datum::Datum> {
    use super::datum::Datum;
    positions.iter().map(|position| std::mem::replace(&mut all[*position], Datum::Null)).collect()
}
