//! `assemble`: prompts under a budget, with the lineage of every byte. Rendering and fitting stand in `crate::prompt`.
//!
//! Arguments: one per formal, then one spans column for each formal that has lineage, then one per message with a `when`, then one per
//! message with a query. Result: one record `X, X_messages, X_tokens, X_lineage, ~error`; a row that overflows its budget
//! carries the reason in `~error`, and the plan moves it to the quarantine.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float16Array, Float32Array, Float64Array, Int64Array, ListArray,
    StringArray, StringBuilder, StructArray, UInt32Array, UInt64Array, UInt64Builder,
};
use arrow::datatypes::DataType;
use promptc_compiler::op::{Assemble, Shrink};
use promptc_models::spans::Span;
use promptc_models::tokenize::Tokenizer;

use crate::arrays;
use crate::error::EngineError;
use crate::prompt::fit::{self, Draft, Fitted, Style, role_name};
use crate::prompt::render;
use crate::prompt::value::Value;
use crate::row_function::RowOperator;

const PLACE: &str = "assemble";

/// Name of the column that says why a row has no result.
pub const ERROR_COLUMN: &str = "~error";

/// The operator with its prompt.
#[derive(Debug)]
pub struct AssembleOperator {
    params: Assemble,
    style: Style,
    formals: Vec<Arc<str>>,
    /// Operators between the sources and this prompt.
    via: Vec<String>,
    tokenizer: Arc<dyn Tokenizer>,
    /// The record that the plan declares.
    result: DataType,
}

/// Indices of the messages with a `when`, and of those with a query.
#[must_use]
pub fn conditional_messages(params: &Assemble) -> (Vec<usize>, Vec<usize>) {
    let messages = || params.prompt.messages.iter().enumerate();
    let whens = messages().filter(|(_, message)| message.when.is_some()).map(|(idx, _)| idx).collect();
    let has_query = |shrink: &Shrink| matches!(shrink, Shrink::Compress { query: Some(_), .. });
    let queries = messages().filter(|(_, message)| has_query(&message.shrink)).map(|(idx, _)| idx).collect();
    (whens, queries)
}

impl AssembleOperator {
    /// # Errors
    /// [`EngineError::Unavailable`] for a rendering that needs a model.
    pub fn new(
        params: Assemble,
        via: Vec<String>,
        tokenizer: Arc<dyn Tokenizer>,
        result: DataType,
    ) -> Result<Self, EngineError> {
        let style = match params.render.as_str() {
            "plain" => Style::Plain,
            "chatml" => Style::ChatMl,
            other => {
                return Err(EngineError::Unavailable {
                    area: "runtime".into(),
                    what: format!("render = {other}"),
                });
            }
        };
        let formals = params.args.iter().map(|(name, ..)| Arc::from(name.as_str())).collect();
        Ok(Self { params, style, formals, via, tokenizer, result })
    }

    fn row(&self, args: &[ArrayRef], row: usize) -> Result<Result<Fitted, String>, EngineError> {
        let count = self.formals.len();
        let mut span_args = args[count..].iter();
        let mut values = Vec::with_capacity(count);
        for (idx, (_, _, spans)) in self.params.args.iter().enumerate() {
            let spans = if spans.is_some() { span_args.next() } else { None };
            values.push((self.formals[idx].clone(), formal_value(&args[idx], spans, row)?));
        }
        let (whens, queries) = conditional_messages(&self.params);
        let mut included = vec![true; self.params.prompt.messages.len()];
        for idx in whens {
            let when: &BooleanArray = arrays::downcast(next(&mut span_args)?, PLACE)?;
            included[idx] = when.is_valid(row) && when.value(row);
        }
        let mut query_texts = vec![None; included.len()];
        for idx in queries {
            let query: &StringArray = arrays::downcast(next(&mut span_args)?, PLACE)?;
            query_texts[idx] = query.is_valid(row).then(|| query.value(row).to_owned());
        }
        let messages = self.params.prompt.messages.iter().zip(included).zip(query_texts);
        let drafts = messages
            .map(|((message, included), query)| {
                included.then(|| Draft { rendered: render::render(&message.template, &values), query })
            })
            .collect();
        let fitted = fit::fit(&self.params.prompt, drafts, self.style, self.tokenizer.as_ref());
        Ok(fitted.map_err(|overflow| {
            format!(
                "the prompt has {} tok at its shortest, its budget is {} tok",
                overflow.tokens, overflow.budget_tokens
            )
        }))
    }
}

fn next<'a>(args: &mut std::slice::Iter<'a, ArrayRef>) -> Result<&'a ArrayRef, EngineError> {
    args.next().ok_or_else(|| EngineError::internal(PLACE, "an argument is missing"))
}

/// The value of a formal in one row; `spans` is a `list<span>` beside a text or a `list<list<span>>` beside a list of texts.
fn formal_value(array: &ArrayRef, spans: Option<&ArrayRef>, row: usize) -> Result<Value, EngineError> {
    let value = tree(array, row)?;
    Ok(match (value, spans) {
        (Value::Text(text, _), Some(spans)) => {
            Value::Text(text, arrays::row_spans(spans, row, PLACE)?.into())
        }
        (Value::List(items), Some(spans)) => {
            let mut lists = arrays::row_span_lists(spans, row, PLACE)?.into_iter();
            let with_spans = |item| match (item, lists.next()) {
                (Value::Text(text, _), Some(spans)) => Value::Text(text, Arc::<[Span]>::from(spans)),
                (item, _) => item,
            };
            Value::List(items.into_iter().map(with_spans).collect())
        }
        (value, _) => value,
    })
}

/// Any Arrow value as a tree for templates.
fn tree(array: &ArrayRef, row: usize) -> Result<Value, EngineError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(arrays::downcast::<BooleanArray>(array, PLACE)?.value(row)),
        DataType::Utf8 => Value::text(arrays::downcast::<StringArray>(array, PLACE)?.value(row)),
        DataType::Float16 => number(f64::from(arrays::downcast::<Float16Array>(array, PLACE)?.value(row))),
        DataType::Float32 => {
            Value::Number(arrays::downcast::<Float32Array>(array, PLACE)?.value(row).to_string())
        }
        DataType::Float64 => number(arrays::downcast::<Float64Array>(array, PLACE)?.value(row)),
        DataType::List(_) => {
            let items = arrays::downcast::<ListArray>(array, PLACE)?.value(row);
            let items: Result<Vec<_>, _> = (0..items.len()).map(|idx| tree(&items, idx)).collect();
            Value::List(items?)
        }
        DataType::Struct(fields) => {
            let records = arrays::downcast::<StructArray>(array, PLACE)?;
            let cells = fields.iter().zip(records.columns());
            let cells: Result<Vec<_>, EngineError> =
                cells.map(|(field, column)| Ok((field.name().clone(), tree(column, row)?))).collect();
            Value::Record(cells?)
        }
        _ => {
            let text = arrow::util::display::array_value_to_string(array, row)?;
            if array.data_type().is_integer() { Value::Number(text) } else { Value::text(text) }
        }
    })
}

fn number(value: f64) -> Value {
    Value::Number(value.to_string())
}

impl RowOperator for AssembleOperator {
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let rows = args.first().map_or(0, |array| array.len());
        let fitted: Result<Vec<_>, EngineError> = (0..rows).map(|row| self.row(args, row)).collect();
        let fitted = fitted?;
        let shown: Vec<Option<&Fitted>> = fitted.iter().map(|row| row.as_ref().ok()).collect();
        let texts =
            StringArray::from_iter_values(shown.iter().map(|row| row.map_or("", |row| &row.whole.text)));
        let tokens = Int64Array::from_iter_values(
            shown.iter().map(|row| row.map_or(0, |row| i64::try_from(row.tokens).unwrap_or(i64::MAX))),
        );
        let errors: StringArray = fitted.iter().map(|row| row.as_ref().err()).collect();
        let DataType::Struct(fields) = &self.result else {
            return Err(EngineError::internal(PLACE, "the result is not a record"));
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(texts),
            messages_column(&shown, fields[1].data_type())?,
            Arc::new(tokens),
            self.lineage_column(&shown, fields[3].data_type())?,
            Arc::new(errors),
        ];
        arrays::record(&self.result, columns, PLACE)
    }
}

fn messages_column(rows: &[Option<&Fitted>], declared: &DataType) -> Result<ArrayRef, EngineError> {
    let all = || rows.iter().flatten().flat_map(|row| &row.messages);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|(role, _)| Some(role_name(*role))).collect::<StringArray>()),
        Arc::new(all().map(|(_, content)| Some(content)).collect::<StringArray>()),
    ];
    list_column(declared, columns, rows.iter().map(|row| row.map_or(0, |row| row.messages.len())))
}

impl AssembleOperator {
    fn lineage_column(&self, rows: &[Option<&Fitted>], declared: &DataType) -> Result<ArrayRef, EngineError> {
        let mut docs = StringBuilder::new();
        let (mut doc_starts, mut doc_ends) = (UInt64Builder::new(), UInt64Builder::new());
        let (mut formals, mut vias) = (StringBuilder::new(), Vec::new());
        let (mut starts, mut ends, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows.iter().flatten() {
            for (segment, message) in row.whole.segments.iter().zip(&row.segment_messages) {
                starts.push(segment.start as u32);
                ends.push(segment.end as u32);
                messages.push(*message);
                formals.append_option(segment.formal.as_deref());
                docs.append_option(segment.doc.as_ref().map(|(doc, _)| doc));
                doc_starts.append_option(segment.doc.as_ref().map(|(_, at)| *at));
                let len = (segment.end - segment.start) as u64;
                doc_ends.append_option(segment.doc.as_ref().map(|(_, at)| at + len));
                vias.push(if segment.doc.is_some() { self.via.clone() } else { Vec::new() });
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(starts)),
            Arc::new(UInt32Array::from(ends)),
            Arc::new(UInt32Array::from(messages)),
            Arc::new(formals.finish()),
            Arc::new(docs.finish()),
            Arc::new(doc_starts.finish()) as Arc<UInt64Array>,
            Arc::new(doc_ends.finish()) as Arc<UInt64Array>,
            Arc::new(arrays::text_list(&vias)),
        ];
        list_column(declared, columns, rows.iter().map(|row| row.map_or(0, |row| row.whole.segments.len())))
    }
}

fn list_column(
    declared: &DataType,
    columns: Vec<ArrayRef>,
    lengths: impl Iterator<Item = usize>,
) -> Result<ArrayRef, EngineError> {
    let DataType::List(item) = declared else {
        return Err(EngineError::internal(PLACE, format!("{declared} is not a list")));
    };
    let records = arrays::record(item.data_type(), columns, PLACE)?;
    Ok(Arc::new(arrays::list_of(item.clone(), records, lengths)))
}
