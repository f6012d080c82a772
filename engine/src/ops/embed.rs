//! `embed`: texts as vectors. The embedders stand in `promptc_models::embed` and `promptc_models::bert`.
//!
//! Argument: text or list of texts. Result: a vector or a list of vectors; null text gives a null vector.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, ListArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use promptc_compiler::op::Embedder;
use promptc_models::embed::{HashedNgram, HashedNgramOptions, IdfTable};

use crate::arrays;
use crate::context::RunContext;
use crate::encoder::Encoder;
use crate::error::EngineError;
use crate::row_function::RowOperator;

const PLACE: &str = "embed";

/// An embedder that is ready.
pub struct TextEmbedder {
    model: Model,
    /// Counts texts that were cut.
    ctx: Arc<RunContext>,
    /// What a count is said to be about.
    label: String,
    /// Where the model was read.
    place: String,
}

enum Model {
    Hashed(HashedNgram),
    Encoder(Encoder),
}

impl std::fmt::Debug for TextEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEmbedder").field("label", &self.label).finish_non_exhaustive()
    }
}

impl TextEmbedder {
    /// The embedder that a declaration means.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] for kinds whose area is not built, E2201 and E2202 of a model folder,
    /// [`EngineError::Internal`] for parameters that the compiler should have refused.
    pub fn new(
        params: &Embedder,
        idf: Option<&[u8]>,
        ctx: Arc<RunContext>,
        label: String,
    ) -> Result<Self, EngineError> {
        let is_plain = params.element == promptc_compiler::types::Element::F32;
        let model = match (&params.encoder, params.kind.as_str()) {
            (Some(encoder), _) if is_plain => {
                Model::Encoder(ctx.encoders.get(params, encoder, ctx.events.as_ref())?)
            }
            (None, "hashed_ngram") if is_plain => Model::Hashed(hashed(params, idf)?),
            _ => {
                return Err(EngineError::Unavailable {
                    area: "runtime".into(),
                    what: format!("embedder `{}` of kind `{}`", params.space.name, params.kind),
                });
            }
        };
        let place = params.encoder.as_ref().map_or_else(String::new, |encoder| encoder.dir.clone());
        Ok(Self { model, ctx, label, place })
    }

    /// What makes the vectors.
    pub fn describe(&self) -> String {
        match &self.model {
            Model::Hashed(model) => format!("hashed n-grams, {} numbers", model.dim()),
            Model::Encoder(model) => model.describe(&self.place),
        }
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        match &self.model {
            Model::Hashed(model) => model.dim(),
            Model::Encoder(model) => model.dim(),
        }
    }

    /// The vectors of some texts, one after the other; of a text without words zeros.
    ///
    /// # Errors
    /// E2202 for a vector that is not finite.
    pub fn vectors(&self, texts: &[&str]) -> Result<Vec<f32>, EngineError> {
        let model = match &self.model {
            Model::Hashed(model) => model,
            Model::Encoder(model) => {
                let (values, cut) =
                    model.vectors(texts).map_err(|error| error.about(&format!("`{}`", self.label)))?;
                self.ctx.tallies.add("W2201", &self.label, cut as u64);
                return Ok(values);
            }
        };
        let mut values = vec![0.0; texts.len() * model.dim()];
        let mut scratch = model.scratch();
        for (text, vector) in texts.iter().zip(values.chunks_exact_mut(model.dim())) {
            model.embed(text, &mut scratch, vector);
        }
        Ok(values)
    }
}

fn hashed(params: &Embedder, idf: Option<&[u8]>) -> Result<HashedNgram, EngineError> {
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
    embedder: TextEmbedder,
    /// The type that the plan declares.
    result: DataType,
}

impl EmbedOperator {
    /// `result` is the declared vector or list of vectors.
    #[must_use]
    pub fn new(embedder: TextEmbedder, result: DataType) -> Self {
        Self { embedder, result }
    }

    fn vectors(&self, texts: &StringArray, field: Arc<Field>) -> Result<FixedSizeListArray, EngineError> {
        let dim = self.embedder.dim();
        let rows: Vec<usize> = (0..texts.len()).filter(|row| texts.is_valid(*row)).collect();
        let given: Vec<&str> = rows.iter().map(|row| texts.value(*row)).collect();
        let mut values = self.embedder.vectors(&given)?;
        if rows.len() < texts.len() {
            let found = std::mem::replace(&mut values, vec![0.0; texts.len() * dim]);
            for (row, vector) in rows.iter().zip(found.chunks_exact(dim)) {
                values[row * dim..(row + 1) * dim].copy_from_slice(vector);
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
