//! What sentence-transformers keeps beside a BERT model: how tokens become one vector, and how many of them the model was trained on.
//!
//! ```text
//!  modules.json ──────────────▶ Transformer, Pooling, Normalize; any other module is refused
//!  1_Pooling/config.json ─────▶ mean or [CLS]; any other pooling is refused
//!  sentence_bert_config.json ─▶ max_seq_length, do_lower_case
//! ```
//! Each file may be missing: a model that was not saved by sentence-transformers has none, and says nothing.

use serde::Deserialize;

use super::Pooling;

/// The longest of these files; the real ones have less than 1 kB.
pub const SENTENCE_BYTES_MAX: usize = 1 << 20;

/// Where the pooling stands, of all models that have one.
const POOLING: &str = "1_Pooling";

/// The files, those that are there.
#[derive(Debug, Clone, Copy, Default)]
pub struct SentenceFiles<'a> {
    /// `modules.json`.
    pub modules: Option<&'a [u8]>,
    /// `1_Pooling/config.json`.
    pub pooling: Option<&'a [u8]>,
    /// `sentence_bert_config.json`.
    pub limits: Option<&'a [u8]>,
}

/// What they say; `None` where they say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SentenceSettings {
    /// How a sequence becomes one vector.
    pub pooling: Option<Pooling>,
    /// Longest sequence in tokens, with `[CLS]` and `[SEP]`.
    pub max_tokens: Option<usize>,
    /// Whether texts are put into lower case before the tokenizer sees them.
    pub lower_case: bool,
}

/// Why the files were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SentenceError {
    /// A file is longer than [`SENTENCE_BYTES_MAX`].
    #[error(
        "{file} of {found} bytes found, expected at most {SENTENCE_BYTES_MAX}; it is no file of sentence-transformers"
    )]
    TooLong {
        /// The file.
        file: &'static str,
        /// Its length.
        found: usize,
    },
    /// A file is not JSON, or a field is of another type.
    #[error(
        "{file} is not as sentence-transformers writes it; fetch the model again, or remove the file if the model is none of its"
    )]
    Json {
        /// The file.
        file: &'static str,
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A step that is not computed here.
    #[error(
        "modules.json has the module `{found}`, expected Transformer, Pooling and Normalize; choose a model without it"
    )]
    Module {
        /// The last part of its type.
        found: String,
    },
    /// A module in another place than all known models have it in.
    #[error(
        "modules.json has {module} in `{found}`, expected `{expected}`; choose the folder that holds config.json and modules.json"
    )]
    Place {
        /// The module.
        module: &'static str,
        /// Its path.
        found: String,
        /// The only path that is read.
        expected: &'static str,
    },
    /// A pooling that is not computed here.
    #[error(
        "1_Pooling/config.json pools by {found}, expected mean or cls; choose a model that is pooled by one of them"
    )]
    Pooling {
        /// The modes that are on.
        found: String,
    },
    /// The longest sequence has no room for `[CLS]`, one token and `[SEP]`.
    #[error(
        "sentence_bert_config.json has `max_seq_length` {found}, expected at least 3; fetch the model again"
    )]
    Length {
        /// What it says.
        found: u64,
    },
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Limits {
    max_seq_length: Option<u64>,
    do_lower_case: Option<bool>,
}

/// The poolings by the names of their switches; the newest files name one instead.
#[derive(Deserialize)]
struct Switches {
    pooling_mode: Option<String>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl SentenceSettings {
    /// Reads and checks the files. Cost: microseconds.
    ///
    /// # Errors
    /// If a file is none of sentence-transformers, or says something that is not computed here.
    pub fn parse(files: &SentenceFiles<'_>) -> Result<Self, SentenceError> {
        if let Some(bytes) = files.modules {
            check_modules(&parse::<Vec<Module>>("modules.json", bytes)?)?;
        }
        let pooling = files
            .pooling
            .map(|bytes| parse("1_Pooling/config.json", bytes).and_then(|found| pooling(&found)));
        let limits: Option<Limits> =
            files.limits.map(|bytes| parse("sentence_bert_config.json", bytes)).transpose()?;
        let lower_case = limits.as_ref().and_then(|limits| limits.do_lower_case).unwrap_or(false);
        let max_tokens = match limits.and_then(|limits| limits.max_seq_length) {
            Some(found @ 0..3) => return Err(SentenceError::Length { found }),
            found => found.map(|found| usize::try_from(found).unwrap_or(usize::MAX)),
        };
        Ok(Self { pooling: pooling.transpose()?, max_tokens, lower_case })
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, bytes: &'a [u8]) -> Result<T, SentenceError> {
    if bytes.len() > SENTENCE_BYTES_MAX {
        return Err(SentenceError::TooLong { file, found: bytes.len() });
    }
    serde_json::from_slice(bytes).map_err(|source| SentenceError::Json { file, source })
}

/// Vectors of length 1 are the caller's choice, whatever the folder says: the angle between two is the same.
fn check_modules(modules: &[Module]) -> Result<(), SentenceError> {
    for Module { path, kind } in modules {
        let (module, expected) = match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" => ("Transformer", ""),
            "Pooling" => ("Pooling", POOLING),
            "Normalize" => continue,
            other => return Err(SentenceError::Module { found: other.to_owned() }),
        };
        if path.trim_end_matches('/') != expected {
            return Err(SentenceError::Place { module, found: path.clone(), expected });
        }
    }
    Ok(())
}

fn pooling(found: &Switches) -> Result<Pooling, SentenceError> {
    let named = found.pooling_mode.as_deref().map(|mode| vec![mode]);
    let modes = named.unwrap_or_else(|| {
        let switches = [
            ("cls", found.pooling_mode_cls_token),
            ("mean", found.pooling_mode_mean_tokens),
            ("max", found.pooling_mode_max_tokens),
            ("mean_sqrt_len_tokens", found.pooling_mode_mean_sqrt_len_tokens),
            ("weightedmean", found.pooling_mode_weightedmean_tokens),
            ("lasttoken", found.pooling_mode_lasttoken),
        ];
        switches.into_iter().filter(|(_, is_on)| *is_on).map(|(mode, _)| mode).collect()
    });
    match modes.as_slice() {
        ["mean"] => Ok(Pooling::Mean),
        ["cls"] => Ok(Pooling::Cls),
        [] => Err(SentenceError::Pooling { found: "nothing".to_owned() }),
        modes => Err(SentenceError::Pooling { found: modes.join(" and ") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

    fn settings(modules: &str, pooling: &str, limits: &str) -> Result<SentenceSettings, String> {
        let some = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
        let leak = |text: &str| -> &'static str { String::leak(text.to_owned()) };
        let files = SentenceFiles {
            modules: some(leak(modules)),
            pooling: some(leak(pooling)),
            limits: some(leak(limits)),
        };
        SentenceSettings::parse(&files).map_err(|error| error.to_string())
    }

    #[test]
    fn what_sentence_transformers_writes_is_understood() {
        let mean = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,
            "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}"#;
        let found = settings(MODULES, mean, r#"{"max_seq_length": 256, "do_lower_case": false}"#);
        assert_eq!(
            found,
            Ok(SentenceSettings { pooling: Some(Pooling::Mean), max_tokens: Some(256), lower_case: false })
        );
        let cls = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let found = settings(MODULES, cls, r#"{"max_seq_length": null}"#);
        assert_eq!(
            found,
            Ok(SentenceSettings { pooling: Some(Pooling::Cls), max_tokens: None, lower_case: false })
        );
        let newest = settings(
            "",
            r#"{"embedding_dimension": 384, "pooling_mode": "cls", "include_prompt": true}"#,
            "",
        );
        assert_eq!(
            newest,
            Ok(SentenceSettings { pooling: Some(Pooling::Cls), max_tokens: None, lower_case: false })
        );
        assert_eq!(settings("", "", ""), Ok(SentenceSettings::default()));
        assert!(settings("", "", r#"{"do_lower_case": true}"#).unwrap().lower_case);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let dense = MODULES.replace("models.Normalize", "models.Dense");
        let elsewhere = MODULES.replace("\"path\": \"\"", "\"path\": \"0_Transformer\"");
        for (modules, pooling, limits, expected) in [
            (dense.as_str(), "", "", "`Dense`"),
            (&elsewhere, "", "", "`0_Transformer`"),
            ("{}", "", "", "modules.json"),
            ("", r#"{"pooling_mode_max_tokens": true}"#, "", "pools by max"),
            ("", r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#, "", "cls and mean"),
            ("", r#"{"pooling_mode": "lasttoken"}"#, "", "lasttoken"),
            ("", "{}", "", "nothing"),
            ("", r#"{"pooling_mode_mean_tokens": 1}"#, "", "1_Pooling/config.json"),
            ("", "", r#"{"max_seq_length": 2}"#, "`max_seq_length` 2"),
            ("", "", r#"{"max_seq_length": -1}"#, "sentence_bert_config.json"),
            ("", "", "not JSON", "sentence_bert_config.json"),
            ("", "", r#"{"do_lower_case": "x"}"#, "sentence_bert_config.json"),
        ] {
            let found = settings(modules, pooling, limits).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
        let long = " ".repeat(SENTENCE_BYTES_MAX + 1);
        assert!(settings(&long, "", "").unwrap_err().contains("bytes found"));
    }
}
