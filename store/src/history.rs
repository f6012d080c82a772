//! The benchmark history: every measurement as rows in Parquet files that other programs read as they are.

mod rows;

pub use rows::{
    GitState, Micros, Noise, ResultRow, Run, SampleRow, ScrapeRow, Side, Status, Summary, VerdictRow,
};

/// The id of a benchmark from the title of its group, function and parameter: lower case, every run of characters outside
/// `[a-z0-9.]` becomes `_`, parts joined by `/`.
///
/// ```
/// assert_eq!(promptc_store::history::bench_id("Single Latent Update/MLP/64"), "single_latent_update/mlp/64");
/// ```
#[must_use]
pub fn bench_id(title: &str) -> String {
    let part = |part: &str| {
        let words = part.split(|character: char| !(character.is_ascii_alphanumeric() || character == '.'));
        words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect::<Vec<_>>().join("_")
    };
    title.split('/').map(part).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}
