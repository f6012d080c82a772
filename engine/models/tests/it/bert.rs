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
        Bert::load_at(&self.files(), options, kernels)
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

#[test]
fn a_vector_does_not_depend_on_its_batch() {
    let (folder, texts) = (Folder::tiny(), sentences());
    for (level, kernels) in levels() {
        let bert = folder.load(MEAN, kernels).unwrap();
        let (together, _) = embed(&bert, &texts);
        let mut scratch = BertScratch::default();
        let mut out = vec![0.0; bert.dim()];
        for (text, wanted) in texts.iter().zip(together.chunks_exact(bert.dim())).rev() {
            bert.embed(&[text], &mut scratch, &mut out).unwrap();
            assert_eq!(out, wanted, "{level:?} {text:?}");
        }
    }
}

#[test]
fn a_memory_serves_several_models() {
    let folder = Folder::tiny();
    let [long, short] = [None, Some(5)]
        .map(|max_tokens| folder.load(BertOptions { max_tokens, ..MEAN }, Kernels::best()).unwrap());
    let (mut scratch, mut out) = (BertScratch::default(), vec![0.0; long.dim()]);
    for bert in [&long, &short, &long] {
        bert.embed(&["hits and caches of the moon"], &mut scratch, &mut out).unwrap();
        assert_eq!(out, embed(bert, &["hits and caches of the moon"]).0);
    }
    assert_ne!(long.identity(), short.identity());
    assert_eq!(long.identity(), folder.load(MEAN, Kernels::PORTABLE).unwrap().identity());
}

#[test]
fn cuts_are_counted_and_stand_for_the_beginning() {
    let bert = Folder::tiny().load(BertOptions { max_tokens: Some(6), ..MEAN }, Kernels::best()).unwrap();
    let (found, counts) = embed(&bert, &["hit ".repeat(4), "hit ".repeat(9), String::new()]);
    assert_eq!(counts, BertCounts { tokens: 14, texts_cut: 1, tokens_cut: 5 });
    assert_eq!(found[..bert.dim()], found[bert.dim()..2 * bert.dim()]);
    assert_eq!(embed(&bert, &[""; 0]), (vec![], BertCounts::default()));
}

#[test]
fn options_out_of_range_are_refused() {
    for (max_tokens, is_allowed) in [(2, false), (3, true), (48, true), (49, false), (usize::MAX, false)] {
        let options = BertOptions { max_tokens: Some(max_tokens), ..MEAN };
        let loaded = Folder::tiny().load(options, Kernels::PORTABLE);
        assert_eq!(loaded.is_ok(), is_allowed, "{max_tokens}: {loaded:?}");
    }
}

#[test]
fn configurations_of_other_models_are_refused_by_name() {
    let cases = [
        (r#""model_type":"bert""#, r#""model_type":"roberta""#, "`model_type` is `roberta`"),
        (r#""model_type":"bert","#, "", "not the configuration"),
        (r#""hidden_act":"gelu""#, r#""hidden_act":"gelu_new""#, "`hidden_act` is `gelu_new`"),
        (r#"{"#, r#"{"position_embedding_type":"relative_key","#, "`relative_key`"),
        (r#"{"#, r#"{"is_decoder":true,"#, "`is_decoder` is `true`"),
        (r#"{"#, r#"{"hidden_size":36,"#, "not the configuration"),
        (r#""hidden_size":36"#, r#""hidden_size":0"#, "`hidden_size` is 0"),
        (r#""hidden_size":36"#, r#""hidden_size":35"#, "35 is no multiple"),
        (r#""hidden_size":36"#, r#""hidden_size":8193"#, "expected 1 to 8192"),
        (r#""hidden_size":36"#, r#""hidden_size":-1"#, "not the configuration"),
        (r#""num_hidden_layers":2"#, r#""num_hidden_layers":129"#, "expected 1 to 128"),
        (r#""layer_norm_eps":1e-12"#, r#""layer_norm_eps":0.0"#, "`layer_norm_eps` is 0"),
        (r#""layer_norm_eps":1e-12"#, r#""layer_norm_eps":1e-60"#, "`layer_norm_eps`"),
        (r#""layer_norm_eps":1e-12"#, r#""layer_norm_eps":1e300"#, "`layer_norm_eps`"),
    ];
    for (from, to, wanted) in cases {
        let mut folder = Folder::tiny();
        let config = String::from_utf8(folder.config).unwrap();
        folder.config = config.replacen(from, to, 1).into_bytes();
        let error = folder.load(MEAN, Kernels::PORTABLE).expect_err(wanted);
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains(wanted), "{text}, not {wanted}");
    }
}

/// The tiny weights with another header of the same length.
fn renamed(from: &str, to: &str) -> Folder {
    let mut folder = Folder::tiny();
    let place = folder.weights.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
    folder.weights[place..place + to.len()].copy_from_slice(to.as_bytes());
    folder
}

#[test]
fn weights_of_other_models_are_refused_by_name() {
    let refusal = |folder: &Folder| {
        let error = folder.load(MEAN, Kernels::PORTABLE).unwrap_err();
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    };
    let missing = refusal(&renamed("encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bios"));
    assert!(missing.contains("`encoder.layer.1.output.dense.bias` is missing"), "{missing}");
    let unexpected = refusal(&renamed("pooler.dense.weight", "boiler.dense.weight"));
    assert!(unexpected.contains("`boiler.dense.weight` is none of a BERT encoder's"), "{unexpected}");
    let mut folder = Folder::tiny();
    folder.config = String::from_utf8(folder.config)
        .unwrap()
        .replace("\"intermediate_size\":40", "\"intermediate_size\":41")
        .into();
    assert!(refusal(&folder).contains("has shape [40, 36], expected [41, 36]"));
    let mut folder = Folder::tiny();
    let tokenizer = String::from_utf8(folder.tokenizer).unwrap().replace("\"hit\":", "\"new\":500,\"hit\":");
    folder.tokenizer = tokenizer.into_bytes();
    let large = folder.load(MEAN, Kernels::PORTABLE).unwrap_err().to_string();
    assert!(large.contains("ids up to 500"), "{large}");
}

#[test]
fn huge_weights_are_an_error_and_no_vector() {
    let mut folder = Folder::tiny();
    let len = folder.weights.len();
    // The last tensors are those of the pooler, which are not read: 36 x 36 and 36 numbers.
    let end = len - 4 * (36 * 36 + 36);
    for value in folder.weights[end - 4 * 36..end].as_chunks_mut::<4>().0 {
        *value = f32::MAX.to_le_bytes();
    }
    let bert = folder.load(MEAN, Kernels::best()).unwrap();
    let mut out = vec![0.0; 2 * bert.dim()];
    let error = bert.embed(&["a", "b"], &mut BertScratch::default(), &mut out).unwrap_err();
    assert!(matches!(error, BertError::NotFinite { text_idx: 0 }), "{error}");
}

/// Damaged files: every one is refused, or gives vectors of finite numbers, or the error that they are not.
#[test]
fn damage_is_refused_or_gives_finite_vectors() {
    let mut state = 7_u64;
    let mut draw = move |end: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % end
    };
    let texts = ["the cache", "naïve 東京 [MASK] x1", ""];
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..3000 {
        let mut folder = Folder::tiny();
        let file = [&mut folder.config, &mut folder.weights, &mut folder.tokenizer, &mut folder.vocabulary];
        let (kind, file) = file.into_iter().enumerate().nth(round % 4).unwrap();
        // The header of the weights is a small part of them, and the part that is read with care.
        let end = if round % 8 == 1 { 6000.min(file.len()) } else { file.len() };
        match draw(4) {
            0 => file.truncate(draw(end)),
            1 => file.insert(draw(end), draw(256) as u8),
            _ => {
                for _ in 0..=draw(3) {
                    file[draw(end)] ^= 1 << draw(8);
                }
            }
        }
        let tokenizer = match kind {
            3 => TokenizerFile::Vocabulary(&folder.vocabulary),
            _ => TokenizerFile::Json(&folder.tokenizer),
        };
        let files = BertFiles { config: &folder.config, weights: &folder.weights, tokenizer };
        let Ok(bert) = Bert::load_at(&files, MEAN, Kernels::best()) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let mut out = vec![0.0; texts.len() * bert.dim()];
        if bert.embed(&texts, &mut BertScratch::default(), &mut out).is_ok() {
            assert!(out.iter().all(|value| value.is_finite()), "round {round}");
        }
    }
    println!("{refused} refused, {accepted} accepted");
    assert!(refused > 500 && accepted > 100);
}

/// The tiny weights, each number changed, as a file of this type whose names have this prefix.
fn rewritten(dtype: &str, prefix: &str, write: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let bytes = Folder::tiny().weights;
    let file = Safetensors::parse(&bytes).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in file.tensors() {
        let start = data.len();
        data.extend(file.floats(name, &tensor.shape).unwrap().into_iter().flat_map(&write));
        let entry =
            serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(format!("{prefix}{name}"), entry);
    }
    super::safetensors::file(&serde_json::Value::Object(header).to_string(), &data)
}

#[test]
fn types_of_weights_and_prefixes_of_names_change_nothing_but_the_rounding() {
    use half::{bf16, f16};
    let vectors = |weights: Vec<u8>| {
        let bert = Folder { weights, ..Folder::tiny() }.load(MEAN, Kernels::best()).unwrap();
        embed(&bert, &sentences()).0
    };
    let f32_bytes = |value: f32| value.to_le_bytes().to_vec();
    assert_eq!(vectors(rewritten("F32", "bert.", f32_bytes)), vectors(Folder::tiny().weights));
    let rounded = rewritten("F32", "", |value| f32_bytes(f16::from_f32(value).to_f32()));
    let halves = rewritten("F16", "bert.", |value| f16::from_f32(value).to_le_bytes().to_vec());
    assert_eq!(vectors(halves), vectors(rounded));
    let rounded = rewritten("F32", "", |value| f32_bytes(bf16::from_f32(value).to_f32()));
    let halves = rewritten("BF16", "", |value| bf16::from_f32(value).to_le_bytes().to_vec());
    assert_eq!(vectors(halves), vectors(rounded));
}

/// More tokens than a group, than a block of feed-forward rows and than a block of queries have, in one text and in several.
#[test]
fn long_texts_and_large_calls_have_the_bits_of_short_ones() {
    let mut folder = Folder::tiny();
    let positions = 700;
    let bytes = folder.weights.clone();
    let file = Safetensors::parse(&bytes).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, tensor) in file.tensors() {
        let (start, mut shape) = (data.len(), tensor.shape.clone());
        if name == "embeddings.position_embeddings.weight" {
            shape[0] = positions;
        }
        // The positions are repeated: those of the first ones stay where they are.
        data.extend(file.bytes_of(tensor).iter().cycle().take(4 * shape.iter().product::<usize>()));
        header.insert(
            name.to_owned(),
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    folder.weights = super::safetensors::file(&serde_json::Value::Object(header).to_string(), &data);
    folder.config = String::from_utf8(folder.config).unwrap().replace(":48,", ":700,").into_bytes();
    let text = "hit the cache and return ".repeat(200);
    for (level, kernels) in levels().filter(|(level, _)| *level != Level::Reference) {
        let bert = folder.load(MEAN, kernels).unwrap();
        let (long, counts) = embed(&bert, &[&text]);
        assert_eq!((counts.tokens, counts.tokens_cut), (700, 302), "{level:?}");
        let reference = embed(&folder.load(MEAN, Kernels::REFERENCE).unwrap(), &[&text]).0;
        assert_near(&long, &reference, bert.dim(), std::slice::from_ref(&text), COMPONENT_BUDGET);
        let texts: Vec<String> = (0..60).map(|idx| text.chars().take(idx * 7).collect()).collect();
        let (together, _) = embed(&bert, &texts);
        for (text, wanted) in texts.iter().zip(together.chunks_exact(bert.dim())) {
            assert_eq!(embed(&bert, &[text]).0, wanted, "{level:?} {}", text.len());
        }
    }
}
