//! Encoders whose file holds codes of 8 and 4 bits, against the same numbers as F32.

use promptc_kernels::{Kernels, Level, available_levels};
use promptc_models::bert::{BertError, BertScratch};
use promptc_models::safetensors::Safetensors;
use serde_json::{Map, Value, json};

use super::bert::{Folder, MEAN, sentences};

/// Name of the vectors of tokens.
const TOKENS: &str = "embeddings.word_embeddings.weight";

/// A file that is being written.
#[derive(Default)]
struct Writer {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Writer {
    fn add(&mut self, name: &str, dtype: &str, shape: &[usize], bytes: impl IntoIterator<Item = u8>) {
        let start = self.data.len();
        self.data.extend(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, self.data.len()]});
        self.header.insert(name.to_owned(), entry);
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.add(name, "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn finish(self) -> Vec<u8> {
        super::safetensors::file(&Value::Object(self.header).to_string(), &self.data)
    }
}

/// Whole numbers of at most `most`, with their scale.
fn rounded(values: &[f32], most: f32) -> (Vec<i8>, f32) {
    let scale = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / most;
    (values.iter().map(|value| (value / scale).round() as i8).collect(), scale)
}

/// The tiny model in codes, and with the numbers that they stand for. Vectors of tokens have 3 scales each.
fn coded() -> (Folder, Folder) {
    let bytes = Folder::tiny().weights;
    let file = Safetensors::parse(&bytes).unwrap();
    let (mut codes, mut numbers) = (Writer::default(), Writer::default());
    for (name, tensor) in file.tensors() {
        let values = file.floats(name, &tensor.shape).unwrap();
        let is_matrix = name.starts_with("encoder") && tensor.shape.len() == 2;
        if !is_matrix && name != TOKENS {
            codes.floats(name, &tensor.shape, &values);
            numbers.floats(name, &tensor.shape, &values);
            continue;
        }
        let [rows, width] = tensor.shape[..] else { unreachable!("a matrix has two sides") };
        let (part, most) = if name == TOKENS { (width / 3, 7.0) } else { (width, 127.0) };
        let parts: Vec<(Vec<i8>, f32)> = values.chunks(part).map(|values| rounded(values, most)).collect();
        let scales: Vec<f32> = parts.iter().map(|(_, scale)| *scale).collect();
        let decoded: Vec<f32> = parts
            .iter()
            .flat_map(|(codes, scale)| codes.iter().map(move |code| f32::from(*code) * scale))
            .collect();
        let all = parts.into_iter().flat_map(|(codes, _)| codes);
        if name == TOKENS {
            let nibbles: Vec<u8> = all.map(|code| (code + 8).cast_unsigned()).collect();
            let pairs = nibbles.chunks(2).map(|pair| pair[0] | pair[1] << 4);
            codes.add(name, "U8", &[rows, width / 2], pairs);
            codes.floats(&format!("{name}_scale"), &[rows, 3], &scales);
        } else {
            codes.add(name, "I8", &tensor.shape, all.map(i8::cast_unsigned));
            codes.floats(&format!("{name}_scale"), &[rows], &scales);
        }
        numbers.floats(name, &tensor.shape, &decoded);
    }
    let with = |weights| Folder { weights, ..Folder::tiny() };
    (with(codes.finish()), with(numbers.finish()))
}

fn vectors(folder: &Folder, kernels: Kernels) -> Vec<f32> {
    let (bert, texts) = (folder.load(MEAN, kernels).unwrap(), sentences());
    let mut out = vec![0.0; texts.len() * bert.dim()];
    bert.embed(&texts, &mut BertScratch::default(), &mut out).unwrap();
    out
}

/// The least cosine of two lists of unit vectors.
fn least_cosine(left: &[f32], right: &[f32]) -> f32 {
    let cosine = |(left, right): (&[f32], &[f32])| left.iter().zip(right).map(|(a, b)| a * b).sum::<f32>();
    left.chunks(36).zip(right.chunks(36)).map(cosine).fold(1.0, f32::min)
}

#[test]
fn codes_give_the_vectors_of_their_numbers_but_for_the_rounding_of_rows() {
    let (codes, numbers) = coded();
    for level in available_levels() {
        let kernels = Kernels::at(*level).unwrap();
        let (coded, exact) = (vectors(&codes, kernels), vectors(&numbers, kernels));
        let (least, other) =
            (least_cosine(&coded, &exact), least_cosine(&coded, &vectors(&Folder::tiny(), kernels)));
        println!("{level:?}: {least}, with the numbers before rounding {other}");
        assert!(least > 0.999, "{level:?}: {least}");
        assert!(coded != exact, "rows were not rounded");
    }
}

#[test]
fn vectors_of_codes_do_not_depend_on_their_batch_and_agree_between_levels() {
    let (codes, _) = coded();
    for level in available_levels() {
        let bert = codes.load(MEAN, Kernels::at(*level).unwrap()).unwrap();
        let mut out = vec![0.0; bert.dim()];
        let together = vectors(&codes, Kernels::at(*level).unwrap());
        for (text, wanted) in sentences().iter().zip(together.chunks_exact(bert.dim())) {
            bert.embed(&[text], &mut BertScratch::default(), &mut out).unwrap();
            assert_eq!(out, wanted, "{level:?} {text:?}");
        }
    }
    if let (Ok(avx2), Ok(avx512)) = (Kernels::at(Level::Avx2), Kernels::at(Level::Avx512)) {
        assert_eq!(vectors(&codes, avx2), vectors(&codes, avx512));
    }
    assert!(least_cosine(&vectors(&codes, Kernels::PORTABLE), &vectors(&codes, Kernels::best())) > 0.999);
}

#[test]
fn codes_take_less_memory() {
    let (codes, numbers) = coded();
    let bytes = |folder: &Folder| folder.load(MEAN, Kernels::best()).unwrap().bytes();
    assert!(bytes(&codes) * 2 < bytes(&numbers), "{} of {}", bytes(&codes), bytes(&numbers));
}

/// The coded file after a change of its header, which keeps the places of all tensors.
fn changed(from: &str, to: &str) -> Result<(), BertError> {
    let (mut codes, _) = coded();
    let length = u64::from_le_bytes(codes.weights[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&codes.weights[8..8 + length]).unwrap();
    assert!(header.contains(from), "{from} is not in {header}");
    codes.weights = super::safetensors::file(&header.replacen(from, to, 1), &codes.weights[8 + length..]);
    codes.load(MEAN, Kernels::best()).map(drop)
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let text = |error: BertError| {
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    };
    let query = "encoder.layer.0.attention.self.query.weight_scale";
    let missing = text(changed(query, "encoder.layer.0.attention.self.query.weight_Scale").unwrap_err());
    assert!(missing.contains(query) && missing.contains("missing"), "{missing}");
    let scales = format!("\"{TOKENS}_scale\":{{\"data_offsets\":");
    let missing = text(changed(&scales, &scales.replace("_scale", "_scald")).unwrap_err());
    assert!(missing.contains("weight_scale") && missing.contains("missing"), "{missing}");
    let uneven = text(changed("[159,3]", "[477,1]").unwrap_err());
    assert!(uneven.contains("shape"), "{uneven}");
    let mixed = changed(
        "\"encoder.layer.0.attention.self.key.weight\":{\"data_offsets\":",
        "\"encoder.layer.0.attention.self.key.weights\":{\"data_offsets\":",
    );
    assert!(text(mixed.unwrap_err()).contains("key.weight"));
    changed(TOKENS, TOKENS).unwrap();
}

/// Damaged codes are refused, or give vectors of finite numbers, or the error that they are not.
#[test]
fn damage_is_refused_or_gives_finite_vectors() {
    let (codes, _) = coded();
    let mut state = 9_u64;
    let mut draw = move |end: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % end
    };
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..1500 {
        let mut folder = Folder { weights: codes.weights.clone(), ..Folder::tiny() };
        let end = if round % 2 == 0 { 6000 } else { folder.weights.len() };
        match draw(4) {
            0 => folder.weights.truncate(draw(end)),
            _ => (0..=draw(3)).for_each(|_| folder.weights[draw(end)] ^= 1 << draw(8)),
        }
        let Ok(bert) = folder.load(MEAN, Kernels::best()) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let mut out = vec![0.0; bert.dim()];
        if bert.embed(&["the cache"], &mut BertScratch::default(), &mut out).is_ok() {
            assert!(out.iter().all(|value| value.is_finite()), "round {round}");
        }
    }
    println!("{refused} refused, {accepted} accepted");
    assert!(refused > 300 && accepted > 50);
}
