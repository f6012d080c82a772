//! The weights of an encoder, in the form in which they are multiplied.

use promptc_kernels::PackedF32;

use super::{BertConfig, BertError};
use crate::safetensors::{Safetensors, SafetensorsError};

/// Prefix that exports with a head put before all names.
const PREFIX: &str = "bert.";
/// Tensors beside the encoder that are known to change nothing in it: heads of training tasks, and the list of positions.
const BESIDE: [&str; 3] = ["pooler.", "cls.", "embeddings.position_ids"];

/// All weights.
pub(super) struct Weights {
    /// `[vocabulary, hidden]`.
    pub(super) tokens: Vec<f32>,
    /// `[positions, hidden]`, with the vector of the first kind of segment added.
    pub(super) positions: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// One layer.
pub(super) struct Layer {
    /// Queries, keys and values of all heads, side by side: `[hidden, 3 x hidden]`.
    pub(super) attention: Linear,
    pub(super) attention_out: Linear,
    pub(super) attention_norm: Norm,
    pub(super) inner: Linear,
    pub(super) outer: Linear,
    pub(super) norm: Norm,
}

/// A matrix with a bias per column.
pub(super) struct Linear {
    pub(super) weights: PackedF32,
    pub(super) bias: Vec<f32>,
}

/// Gain and bias of a layer norm.
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Weights {
    /// Takes the tensors of an encoder with this configuration. Cost: one pass over the file.
    pub(super) fn load(bytes: &[u8], config: &BertConfig) -> Result<Self, BertError> {
        let file = Safetensors::parse(bytes)?;
        let has_prefix = file.tensors().any(|(name, _)| name.starts_with(PREFIX));
        let mut reader = Reader { file, prefix: if has_prefix { PREFIX } else { "" }, taken: Vec::new() };
        let hidden = config.hidden;
        let tokens = reader.take("embeddings.word_embeddings.weight", &[config.vocabulary, hidden])?;
        let mut positions =
            reader.take("embeddings.position_embeddings.weight", &[config.positions, hidden])?;
        let types = reader.take("embeddings.token_type_embeddings.weight", &[config.types, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            for (value, of_type) in row.iter_mut().zip(&types) {
                *value += of_type;
            }
        }
        let norm = reader.norm("embeddings.LayerNorm", hidden)?;
        let layers = (0..config.layers).map(|idx| reader.layer(idx, config)).collect::<Result<_, _>>()?;
        reader.taken.sort_unstable();
        reader.finish()?;
        Ok(Self { tokens, positions, norm, layers })
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let linear = |linear: &Linear| linear.weights.bytes() + 4 * linear.bias.len();
        let norm = |norm: &Norm| 4 * (norm.gain.len() + norm.bias.len());
        let layer = |layer: &Layer| {
            [&layer.attention, &layer.attention_out, &layer.inner, &layer.outer]
                .map(linear)
                .iter()
                .sum::<usize>()
                + norm(&layer.attention_norm)
                + norm(&layer.norm)
        };
        4 * (self.tokens.len() + self.positions.len())
            + norm(&self.norm)
            + self.layers.iter().map(layer).sum::<usize>()
    }
}

/// A file from which tensors are taken by name.
struct Reader<'a> {
    file: Safetensors<'a>,
    prefix: &'static str,
    /// Names that were asked for, with the prefix.
    taken: Vec<String>,
}

impl Reader<'_> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SafetensorsError> {
        let name = format!("{}{name}", self.prefix);
        let values = self.file.floats(&name, shape)?;
        self.taken.push(name);
        Ok(values)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm, SafetensorsError> {
        let gain = self.take(&format!("{name}.weight"), &[width])?;
        let bias = self.take(&format!("{name}.bias"), &[width])?;
        Ok(Norm { gain, bias })
    }

    /// Layers side by side that have one input. As stored, a row of weights belongs to one output.
    fn linear(&mut self, names: &[String], depth: usize, width: usize) -> Result<Linear, SafetensorsError> {
        let (mut stored, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            stored.extend(self.take(&format!("{name}.weight"), &[width, depth])?);
            bias.extend(self.take(&format!("{name}.bias"), &[width])?);
        }
        let mut weights = PackedF32::default();
        weights.fill_transposed(&stored, depth, depth, width * names.len());
        Ok(Linear { weights, bias })
    }

    fn layer(&mut self, idx: usize, config: &BertConfig) -> Result<Layer, SafetensorsError> {
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let name = |part: &str| format!("encoder.layer.{idx}.{part}");
        let parts = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
        Ok(Layer {
            attention: self.linear(&parts, hidden, hidden)?,
            attention_out: self.linear(&[name("attention.output.dense")], hidden, hidden)?,
            attention_norm: self.norm(&name("attention.output.LayerNorm"), hidden)?,
            inner: self.linear(&[name("intermediate.dense")], hidden, intermediate)?,
            outer: self.linear(&[name("output.dense")], intermediate, hidden)?,
            norm: self.norm(&name("output.LayerNorm"), hidden)?,
        })
    }

    /// Refuses tensors that nobody asked for: a model with them computes something else.
    fn finish(&self) -> Result<(), BertError> {
        let is_known = |name: &str| {
            let bare = name.strip_prefix(PREFIX).unwrap_or(name);
            self.taken.binary_search_by(|taken| taken.as_str().cmp(name)).is_ok()
                || BESIDE.iter().any(|beside| bare.starts_with(beside))
        };
        match self.file.tensors().find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(BertError::TensorUnexpected { name: name.to_owned() }),
            None => Ok(()),
        }
    }
}
