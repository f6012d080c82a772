//! The closed list of diagnostic codes. A code is never reused and never deleted.

use serde::{Serialize, Serializer};

use super::Severity;

macro_rules! codes {
    ($($code:ident $summary:literal,)*) => {
        /// A diagnostic code; `grammar/errors/` has a page for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $summary] $code,)*
        }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Code] = &[$(Code::$code,)*];

            /// The code as shown: `E0101`.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// What the code stands for, in a few words.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Code::$code => $summary,)* }
            }
        }
    };
}

codes! {
    E0101 "expected X, found Y",
    E0102 "declaration not understood (recovered by a catch-all)",
    E0103 "unterminated string",
    E0104 "unterminated raw string",
    E0105 "unknown escape",
    E0106 "character not allowed here",
    E0107 "unknown edition",
    E0108 "name is a keyword or operator",
    E0109 "template error",
    E0110 "comparisons do not chain",
    E0201 "unknown name (kind named: embedder, stream, index, ...)",
    E0202 "name defined twice",
    E0203 "column is not in stream",
    E0204 "unknown template variable",
    E0205 "not a choice of this parameter",
    E0206 "unknown field, parameter or function",
    E0207 "missing field, parameter or `as`",
    E0208 "unknown parameter in `--set`",
    E0209 "name is of another kind (an index where an embedder is expected)",
    E0301 "vectors of different spaces",
    E0302 "wrong number of arguments",
    E0303 "type mismatch",
    E0304 "units do not match",
    E0305 "tokens of different tokenizers",
    E0306 "adapter of another base, rank or kind",
    E0307 "nullable value where non-null is expected",
    E0308 "indexes over different streams",
    E0309 "which tokenizer is meant",
    E0310 "split shares do not sum to 100 %",
    E0311 "options exclude each other",
    E0312 "bad regular expression",
    E0313 "stages out of order",
    E0314 "value is not constant",
    E0401 "test rows reach training",
    E0402 "cycle (pipelines or imports)",
    E0403 "recursive type",
    E0404 "operator needs a seed",
    E0405 "external effect without a record",
    E0501 "program exceeds a limit",
    E0502 "value outside min..max",
    E0503 "prompt cannot fit its budget",
    E0504 "contradictory sizes",
    E0505 "ratio out of reach for this stage",
    E0601 "gate: no such column in the result",
    E0602 "gate: metric or subject that the bench does not record",
    E0603 "metric is not a single number",
    E0604 "expression names no or several streams; bench data that the run does not read",
    E0605 "given stream is not a source of the pipeline",
    E0606 "table or function not allowed here",
    E0607 "SQL error",
    E0608 "action not allowed in an outcome",
    E1001 "store locked",
    E1002 "store of another version",
    E1003 "checksum mismatch",
    E1004 "disk full",
    E1005 "store takes no writes",
    E1006 "key, value or batch too large",
    E1007 "index behind the log",
    E2001 "internal fault (asks for a report)",
    E2002 "area not in this build",
    E2101 "no file matches",
    E2102 "bad row",
    E2103 "arithmetic fault in a row",
    E2104 "duplicate key",
    E2105 "too many bad rows",
    E2201 "model file does not match its hash",
    E2202 "model folder cannot be used",
    E2303 "foreign vectors are not of the stated space",
    E2401 "prompt overflows its budget in a row",
    E2501 "output path leaves its folder",
    W0101 "no edition given",
    W0102 "tab or carriage return",
    W0201 "declared but never used (param, formal, index, type, source)",
    W0202 "adapter is compared but never learned: it equals its base",
    W0203 "column hides a declaration",
    W0401 "unkeyed stream cannot be incremental",
    W0402 "index centroids are fitted on test rows",
    W0403 "seed repeated in two operators that should differ",
    W0404 "`sql` without a key",
    W0501 "message may overflow the budget",
    W0502 "query-agnostic selection feeds a prompt that has a question",
    W0503 "index over compressed text (index the full text)",
    W0601 "bench without `record` leaves no history",
    W0602 "gate compares runs of different machines",
    W2201 "texts cut to the model's tokens",
    W2202 "embedder does not tell paraphrases from unrelated texts",
    W2301 "index too small for its kind: searched exhaustively",
    W2302 "rank fusion with a much weaker index",
    W2402 "ratio not reached in n rows",
    W2403 "keep constraint not met in n rows",
    W2404 "rows that teach a scorer nothing",
    W2405 "weights of a fusion stay equal",
}

impl Code {
    /// Warnings begin with `W`; all others are errors.
    #[must_use]
    pub fn severity(self) -> Severity {
        if self.text().starts_with('W') { Severity::Warning } else { Severity::Error }
    }

    /// The code with this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.text().eq_ignore_ascii_case(text))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
