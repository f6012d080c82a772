//! The weights of an encoder, in the form in which they are multiplied.

use promptc_kernels::{PackedF32, PackedI8};

use super::tokens::TokenTable;
use super::{BertConfig, BertError};
use crate::safetensors::{Dtype, Safetensors, SafetensorsError};

/// Prefix that exports with a head put before all names.
const PREFIX: &str = "bert.";
/// Tensors beside the encoder that are known to change nothing in it: heads of training tasks, and the list of positions.
const BESIDE: [&str; 3] = ["pooler.", "cls.", "embeddings.position_ids"];

/// Behind the name of a tensor of codes: its scales.
const SCALE: &str = "_scale";

/// All weights.
pub(super) struct Weights {
    /// `[vocabulary, hidden]`.
    pub(super) tokens: TokenTable,
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
    pub(super) weights: Matrix,
    pub(super) bias: Vec<f32>,
}

/// A matrix as its file holds it: rows are multiplied as they are, or rounded to 8 bits first.
pub(super) enum Matrix {
    F32(PackedF32),
    I8(PackedI8),
}

impl Matrix {
    pub(super) fn width(&self) -> usize {
        match self {
            Self::F32(packed) => packed.width(),
            Self::I8(packed) => packed.width(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(packed) => packed.bytes(),
            Self::I8(packed) => packed.bytes(),
        }
    }
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
        let tokens = reader.tokens("embeddings.word_embeddings.weight", config.vocabulary, hidden)?;
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

    /// Whether the layers have matrices of 8 bits.
    pub(super) fn has_codes(&self) -> bool {
        self.layers.first().is_some_and(|layer| matches!(layer.attention.weights, Matrix::I8(_)))
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
        self.tokens.bytes()
            + 4 * self.positions.len()
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

    /// The vectors of tokens: numbers, or codes of 4 bits.
    fn tokens(&mut self, name: &str, rows: usize, width: usize) -> Result<TokenTable, BertError> {
        let full = format!("{}{name}", self.prefix);
        let is_coded = self.file.get(&full).is_some_and(|tensor| tensor.dtype == Dtype::U8);
        if !is_coded {
            return Ok(TokenTable::of_numbers(self.take(name, &[rows, width])?, width));
        }
        let codes = self.bytes_of(name, &[rows, width / 2])?.to_vec();
        let scale_name = format!("{name}{SCALE}");
        let groups = match self
            .file
            .get(&format!("{}{scale_name}", self.prefix))
            .map(|tensor| tensor.shape.as_slice())
        {
            Some([_, groups]) => *groups,
            _ => 1,
        };
        let scales = self.take(&scale_name, &[rows, groups])?;
        TokenTable::of_codes(codes, scales, width, groups).ok_or(BertError::TokenGroups { groups, width })
    }

    /// The bytes of a tensor of this shape whose type was looked at.
    fn bytes_of(&mut self, name: &str, shape: &[usize]) -> Result<&[u8], SafetensorsError> {
        let name = format!("{}{name}", self.prefix);
        let Some(tensor) = self.file.get(&name) else { return Err(SafetensorsError::Missing { name }) };
        if tensor.shape != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(SafetensorsError::Shape { name, expected, found });
        }
        let bytes = self.file.bytes_of(tensor);
        self.taken.push(name);
        Ok(bytes)
    }

    /// Layers side by side that have one input. As stored, a row of weights belongs to one output.
    fn linear(&mut self, names: &[String], depth: usize, width: usize) -> Result<Linear, SafetensorsError> {
        let first = format!("{}{}.weight", self.prefix, names[0]);
        let is_coded = self.file.get(&first).is_some_and(|tensor| tensor.dtype == Dtype::I8);
        let weights = match is_coded {
            true => Matrix::I8(self.codes(names, depth, width)?),
            false => Matrix::F32(self.numbers(names, depth, width)?),
        };
        let mut bias = Vec::new();
        for name in names {
            bias.extend(self.take(&format!("{name}.bias"), &[width])?);
        }
        Ok(Linear { weights, bias })
    }

    fn numbers(
        &mut self,
        names: &[String],
        depth: usize,
        width: usize,
    ) -> Result<PackedF32, SafetensorsError> {
        let mut stored = Vec::new();
        for name in names {
            stored.extend(self.take(&format!("{name}.weight"), &[width, depth])?);
        }
        let mut packed = PackedF32::default();
        packed.fill_transposed(&stored, depth, depth, width * names.len());
        Ok(packed)
    }

    fn codes(&mut self, names: &[String], depth: usize, width: usize) -> Result<PackedI8, SafetensorsError> {
        let (mut stored, mut scales) = (Vec::new(), Vec::new());
        for name in names {
            let weight = format!("{name}.weight");
            let full = format!("{}{weight}", self.prefix);
            if let Some(tensor) = self.file.get(&full).filter(|tensor| tensor.dtype != Dtype::I8) {
                return Err(SafetensorsError::NotFloat { name: full, found: tensor.dtype });
            }
            stored.extend(self.bytes_of(&weight, &[width, depth])?.iter().map(|byte| byte.cast_signed()));
            scales.extend(self.take(&format!("{weight}{SCALE}"), &[width])?);
        }
        Ok(PackedI8::new(&stored, &scales, depth, width * names.len()))
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
