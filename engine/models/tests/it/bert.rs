//! Encoders against vectors that another program computed, and what holds between calls.

use std::path::{Path, PathBuf};

use promptc_kernels::{Kernels, Level, available_levels};
use promptc_models::bert::{
    Bert, BertCounts, BertError, BertFiles, BertOptions, BertScratch, Pooling, TokenizerFile,
};
use promptc_models::safetensors::Safetensors;

/// Largest difference of a component to the stored vectors; their own rounding is 6e-8.
const COMPONENT_BUDGET: f32 = 2e-6;

pub(crate) fn oracle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name)
}

/// Bytes of a model folder.
pub(crate) struct Folder {
    pub(crate) config: Vec<u8>,
    pub(crate) weights: Vec<u8>,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) vocabulary: Vec<u8>,
}

impl Folder {
    pub(crate) fn read(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        Self {
            config: read("config.json"),
            weights: read("model.safetensors"),
            tokenizer: read("tokenizer.json"),
            vocabulary: read("vocab.txt"),
        }
    }

    pub(crate) fn tiny() -> Self {
        Self::read(&oracle("bert-tiny"))
    }

    pub(crate) fn files(&self) -> BertFiles<'_> {
        let tokenizer = TokenizerFile::Json(&self.tokenizer);
        BertFiles { config: &self.config, weights: &self.weights, tokenizer }
    }

    pub(crate) fn load(&self, options: BertOptions, kernels: Kernels) -> Result<Bert, BertError> {
        Bert::load(&self.files(), options, kernels)
    }
}

pub(crate) const MEAN: BertOptions =
    BertOptions { max_tokens: None, pooling: Pooling::Mean, normalize: true };

pub(crate) fn sentences() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(oracle("bert-sentences.json")).unwrap()).unwrap()
}

fn levels() -> impl Iterator<Item = (Level, Kernels)> {
    available_levels().iter().map(|level| (*level, Kernels::at(*level).unwrap()))
}

fn embed(bert: &Bert, texts: &[impl AsRef<str>]) -> (Vec<f32>, BertCounts) {
    let mut out = vec![f32::NAN; texts.len() * bert.dim()];
    let counts = bert.embed(texts, &mut BertScratch::default(), &mut out).unwrap();
    (out, counts)
}

/// Stored vectors, scaled as the options say.
fn stored(file: &Path, name: &str, shape: [usize; 2], normalize: bool) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let mut values = Safetensors::parse(&bytes).unwrap().floats(name, &shape).unwrap();
    for vector in values.chunks_exact_mut(shape[1]).filter(|_| normalize) {
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
    values
}

#[track_caller]
fn assert_near(found: &[f32], wanted: &[f32], dim: usize, texts: &[String], budget: f32) {
    for ((found, wanted), text) in found.chunks_exact(dim).zip(wanted.chunks_exact(dim)).zip(texts) {
        let largest =
            found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
        let cosine = promptc_kernels::cosine_f32(found, wanted);
        let start: String = text.chars().take(30).collect();
        assert!(largest <= budget && cosine >= 0.999_999, "{start:?}: {largest:e}, cosine {cosine}");
    }
}

#[test]
fn a_random_model_has_the_vectors_of_the_script() {
    let (folder, texts) = (Folder::tiny(), sentences());
    let file = oracle("bert-tiny/vectors.safetensors");
    for (level, kernels) in levels() {
        for (pooling, name) in [(Pooling::Mean, "mean"), (Pooling::Cls, "cls")] {
            for normalize in [true, false] {
                let bert = folder.load(BertOptions { pooling, normalize, ..MEAN }, kernels).unwrap();
                let wanted = stored(&file, name, [texts.len(), bert.dim()], normalize);
                let (found, counts) = embed(&bert, &texts);
                println!("{level:?} {name} {counts:?}");
                assert_near(
                    &found,
                    &wanted,
                    bert.dim(),
                    &texts,
                    COMPONENT_BUDGET * if normalize { 1.0 } else { 8.0 },
                );
            }
        }
    }
}

#[test]
fn all_minilm_has_the_vectors_of_the_script() {
    let Ok(folder) = std::env::var("PROMPTC_TEST_MINILM") else {
        println!("skipped: PROMPTC_TEST_MINILM names no folder with all-MiniLM-L6-v2");
        return;
    };
    let texts = sentences();
    let bert = Folder::read(Path::new(&folder)).load(MEAN, Kernels::best()).unwrap();
    let wanted = stored(&oracle("bert-minilm.safetensors"), "mean", [texts.len(), 384], true);
    let (found, counts) = embed(&bert, &texts);
    println!("{counts:?}");
    assert_near(&found, &wanted, 384, &texts, COMPONENT_BUDGET);
}
