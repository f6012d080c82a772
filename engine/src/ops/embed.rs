//! `embed`: texts as vectors. The embedders stand in `promptc_models::embed`.
//!
//! Argument: text or list of texts. Result: a vector or a list of vectors; null text gives a null vector.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, ListArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use promptc_compiler::op::Embedder;
use promptc_models::embed::{HashedNgram, HashedNgramOptions, IdfTable};

use crate::arrays;
use crate::error::EngineError;
use crate::row_function::RowOperator;

const PLACE: &str = "embed";

/// The embedder that a declaration means.
///
/// # Errors
/// [`EngineError::Unavailable`] for kinds whose area is not built, [`EngineError::Internal`] for parameters that the compiler
/// should have refused.
pub fn embedder(params: &Embedder, idf: Option<&[u8]>) -> Result<HashedNgram, EngineError> {
    if params.kind != "hashed_ngram" || params.element != promptc_compiler::types::Element::F32 {
        return Err(EngineError::Unavailable {
            area: "runtime".into(),
            what: format!("embedder `{}` of kind `{}`", params.space.name, params.kind),
        });
    }
    let options = HashedNgramOptions {
        dim: params.dim,
        ngrams: params.ngrams.clone(),
        seed: params.seed,
        normalize: params.normalize,
    };
    let idf =
        idf.map(IdfTable::from_bytes).transpose().map_err(|error| EngineError::internal(PLACE, error))?;
    HashedNgram::new(options, idf).map_err(|error| EngineError::internal(PLACE, error))
}

/// The operator with its embedder.
#[derive(Debug)]
pub struct EmbedOperator {
    embedder: HashedNgram,
    /// The type that the plan declares.
    result: DataType,
}

impl EmbedOperator {
    /// `result` is the declared vector or list of vectors.
    #[must_use]
    pub fn new(embedder: HashedNgram, result: DataType) -> Self {
        Self { embedder, result }
    }

    fn vectors(&self, texts: &StringArray, field: Arc<Field>) -> Result<FixedSizeListArray, EngineError> {
        let dim = self.embedder.dim();
        let mut scratch = self.embedder.scratch();
        let mut values = vec![0.0; texts.len() * dim];
        for (row, vector) in values.chunks_exact_mut(dim).enumerate() {
            if !texts.is_null(row) {
                self.embedder.embed(texts.value(row), &mut scratch, vector);
            }
        }
        let nulls = texts.nulls().cloned().filter(|nulls: &NullBuffer| nulls.null_count() > 0);
        let len = i32::try_from(dim).map_err(|error| EngineError::internal(PLACE, error))?;
        Ok(FixedSizeListArray::try_new(field, len, Arc::new(Float32Array::from(values)), nulls)?)
    }
}

impl RowOperator for EmbedOperator {
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        match &self.result {
            DataType::FixedSizeList(item, _) => {
                Ok(Arc::new(self.vectors(arrays::downcast(&args[0], PLACE)?, item.clone())?))
            }
            DataType::List(outer) => {
                let DataType::FixedSizeList(item, _) = outer.data_type() else {
                    return Err(EngineError::internal(PLACE, "the result is not a list of vectors"));
                };
                let lists: &ListArray = arrays::downcast(&args[0], PLACE)?;
                let vectors = self.vectors(arrays::downcast(lists.values(), PLACE)?, item.clone())?;
                let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
                Ok(Arc::new(ListArray::try_new(outer.clone(), offsets, Arc::new(vectors), nulls)?))
            }
            other => Err(EngineError::internal(PLACE, format!("a result of type {other}"))),
        }
    }
}
