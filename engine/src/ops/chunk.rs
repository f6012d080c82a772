//! `chunk`: texts cut into pieces of bounded size. The algorithm stands in `promptc_models::chunk`.
//!
//! Arguments: text, then its spans or the rendered key of the row. Result: a list of records
//! `X, X_spans, X_tokens, chunk, heading`, which the plan unnests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, UInt32Array};
use arrow::datatypes::DataType;
use promptc_compiler::op::Chunk;
use promptc_models::chunk::{self as model, By, ChunkOptions};
use promptc_models::spans::{self, Span};
use promptc_models::tokenize::Tokenizer;

use crate::arrays;
use crate::error::EngineError;
use crate::row_function::RowOperator;

const PLACE: &str = "chunk";

/// The operator with its parameters.
#[derive(Debug)]
pub struct ChunkOperator {
    options: ChunkOptions,
    tokenizer: Arc<dyn Tokenizer>,
    has_spans: bool,
    /// The list of records that the plan declares.
    result: DataType,
}

impl ChunkOperator {
    /// `result` is the declared list of records.
    #[must_use]
    pub fn new(params: &Chunk, tokenizer: Arc<dyn Tokenizer>, result: DataType) -> Self {
        let keeps = |what: &str| params.keep.iter().any(|name| name == what);
        let options = ChunkOptions {
            by: match params.by.as_str() {
                "heading" => By::Heading,
                "sentence" => By::Sentence,
                "fixed" => By::Fixed,
                _ => By::Paragraph,
            },
            max_tokens: params.max_tokens,
            min_tokens: params.min_tokens,
            overlap_tokens: params.overlap_tokens,
            keep_code: keeps("code"),
            keep_tables: keeps("tables"),
            breadcrumbs: params.breadcrumbs,
        };
        Self { options, tokenizer, has_spans: params.spans.is_some(), result }
    }
}

impl RowOperator for ChunkOperator {
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let DataType::List(item) = &self.result else {
            return Err(EngineError::internal(PLACE, "the result is not a list"));
        };
        let texts: &StringArray = arrays::downcast(&args[0], PLACE)?;
        let mut rows = Columns::default();
        let mut lengths = Vec::with_capacity(texts.len());
        for row in 0..texts.len() {
            if texts.is_null(row) {
                lengths.push(0);
                continue;
            }
            let text = texts.value(row);
            let outer = if self.has_spans {
                arrays::row_spans(&args[1], row, PLACE)?
            } else {
                let key: &StringArray = arrays::downcast(&args[1], PLACE)?;
                spans::identity(&Arc::from(key.value(row)), text)
            };
            let chunks = model::chunk(text, &self.options, self.tokenizer.as_ref());
            lengths.push(chunks.len());
            for (idx, chunk) in (0u32..).zip(chunks) {
                rows.spans.push(spans::compose(&outer, &chunk.pieces));
                rows.texts.push(chunk.text);
                rows.tokens.push(chunk.tokens);
                rows.indices.push(idx);
                rows.headings.push(chunk.heading);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(rows.texts)),
            Arc::new(arrays::span_list(&rows.spans)),
            Arc::new(arrays::tokens(rows.tokens.into_iter())),
            Arc::new(UInt32Array::from(rows.indices)),
            Arc::new(StringArray::from(rows.headings)),
        ];
        let records = arrays::record(item.data_type(), columns, PLACE)?;
        Ok(Arc::new(arrays::list_of(item.clone(), records, lengths.into_iter())))
    }
}

#[derive(Default)]
struct Columns {
    texts: Vec<String>,
    spans: Vec<Vec<Span>>,
    tokens: Vec<u64>,
    indices: Vec<u32>,
    headings: Vec<Option<String>>,
}
