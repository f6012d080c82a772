//! Functions of expressions with their arguments and results.

/// Which rows a function looks at, and where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One row.
    Row,
    /// All rows of a group or stream, or a list within one row where the argument is a list.
    Aggregate,
    /// Replaced by its value while checking.
    Constant,
    /// Needs a model; the area that runs it.
    Model,
}

/// What an argument accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the type of its name")]
pub enum Argument {
    Text,
    /// Text or a list of texts.
    TextOrTexts,
    Texts,
    Bool,
    /// A whole number.
    Int,
    /// A number with or without a unit.
    Number,
    /// A number, or a list of numbers.
    Numbers,
    /// A list of anything.
    List,
    /// Of the type of the first argument's elements.
    Element,
    /// Of the type of the first argument.
    Same,
    /// Anything.
    Any,
    /// A constant text that is a regular expression.
    Regex,
    /// A list of spans, or a list of such lists.
    Spans,
    /// A map from text to a whole number.
    Grades,
    /// A vector.
    Vector,
}

/// The type of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the type of its name")]
pub enum Returns {
    Bool,
    Text,
    OptionalText,
    Texts,
    I64,
    F64,
    Size,
    /// As the first argument.
    Same,
    /// An element of the first argument, which may be missing.
    OptionalElement,
    /// The element type of a list of lists, as a list.
    Flat,
    /// Decided by the function's own rule.
    Special,
}

/// A function of the language.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Where it may stand.
    pub group: Group,
    /// Arguments in order.
    pub arguments: &'static [Argument],
    /// How many of them must be given.
    pub required: usize,
    /// Whether the last one may be repeated.
    pub is_variadic: bool,
    /// Type of the result; nullable if an argument is.
    pub returns: Returns,
    /// One sentence.
    pub doc: &'static str,
}

/// The function of a name.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const fn row(
    name: &'static str,
    arguments: &'static [Argument],
    returns: Returns,
    doc: &'static str,
) -> Function {
    Function {
        name,
        group: Group::Row,
        arguments,
        required: arguments.len(),
        is_variadic: false,
        returns,
        doc,
    }
}

const fn aggregate(name: &'static str, arguments: &'static [Argument], doc: &'static str) -> Function {
    Function { group: Group::Aggregate, ..row(name, arguments, Returns::Special, doc) }
}

const fn model(
    name: &'static str,
    arguments: &'static [Argument],
    returns: Returns,
    doc: &'static str,
) -> Function {
    Function { group: Group::Model, ..row(name, arguments, returns, doc) }
}

use Argument::{
    Any, Bool, Element, Grades, Int, List, Number, Numbers, Regex, Same, Spans, Text, TextOrTexts, Texts,
    Vector,
};

/// Every function, in the order of the language reference.
pub const FUNCTIONS: &[Function] = &[
    row("contains", &[Text, Text], Returns::Bool, "whether the second text occurs in the first"),
    row("starts_with", &[Text, Text], Returns::Bool, "whether the first text begins with the second"),
    row("ends_with", &[Text, Text], Returns::Bool, "whether the first text ends with the second"),
    row("lower", &[Text], Returns::Text, "the text in small letters"),
    row("upper", &[Text], Returns::Text, "the text in capitals"),
    row("trim", &[Text], Returns::Text, "the text without blanks at both ends"),
    row("len", &[Any], Returns::I64, "characters of a text, elements of a list"),
    row("bytes_of", &[Text], Returns::Size, "bytes of the text in UTF-8"),
    row(
        "replace",
        &[Text, Text, Text],
        Returns::Text,
        "every occurrence of the second text replaced by the third",
    ),
    row("split_text", &[Text, Text], Returns::Texts, "the parts between separators"),
    row("join_text", &[Texts, Text], Returns::Text, "the texts with a separator between them"),
    Function { is_variadic: true, ..row("concat", &[Text], Returns::Text, "the texts one after the other") },
    row(
        "slice",
        &[Any, Int, Int],
        Returns::Same,
        "characters or elements from the first place up to the second",
    ),
    row("matches", &[Text, Regex], Returns::Bool, "whether the expression matches somewhere"),
    row("capture", &[Text, Regex], Returns::OptionalText, "the first group of the first match"),
    row("fingerprint", &[Text], Returns::Text, "a hash of the text"),
    row("nth", &[List, Int], Returns::OptionalElement, "the element at a place from 0"),
    row("last", &[List], Returns::OptionalElement, "the last element"),
    row("flatten", &[List], Returns::Flat, "the elements of lists of lists"),
    row("distinct", &[List], Returns::Same, "each element once, in the order of first occurrence"),
    row("any", &[List], Returns::Bool, "whether an element is true"),
    row("all", &[List], Returns::Bool, "whether every element is true"),
    row("sort", &[List], Returns::Same, "the elements in order"),
    row("reverse", &[List], Returns::Same, "the elements from last to first"),
    row("abs", &[Number], Returns::Same, "the magnitude"),
    row("round", &[Number], Returns::Same, "the nearest whole number, halves away from zero"),
    row("floor", &[Number], Returns::Same, "the next whole number below"),
    row("ceil", &[Number], Returns::Same, "the next whole number above"),
    row("sqrt", &[Number], Returns::F64, "the square root"),
    row("exp", &[Number], Returns::F64, "e to the power"),
    row("ln", &[Number], Returns::F64, "the natural logarithm"),
    row("clamp", &[Number, Same, Same], Returns::Same, "the number moved between the two bounds"),
    row(
        "if",
        &[Bool, Any, Any],
        Returns::Special,
        "the second argument if the first is true, else the third",
    ),
    Function {
        is_variadic: true,
        ..row("coalesce", &[Any, Any], Returns::Special, "the first argument that is not null")
    },
    Function { required: 1, ..row("tokens_of", &[Text, Any], Returns::Special, "number of tokens") },
    Function {
        group: Group::Constant,
        ..row("env", &[Text, Text], Returns::Text, "a variable of the environment")
    },
    Function {
        group: Group::Constant,
        is_variadic: true,
        ..row("path", &[Text], Returns::Text, "the texts joined by `/`")
    },
    row("contents", &[List], Returns::Text, "contents of the turns with the given roles"),
    row("string_survives", &[TextOrTexts, TextOrTexts], Returns::Bool, "whether an answer is in the text"),
    row("span_survives", &[Spans, Spans], Returns::Bool, "whether a gold span is wholly kept"),
    row("hit_at", &[List, Element, Int], Returns::Bool, "whether the element is among the first ones"),
    row(
        "hit_in",
        &[List, Texts, Element],
        Returns::Bool,
        "whether the element is at a place whose text is kept",
    ),
    row("reciprocal_rank", &[List, Element], Returns::F64, "1 over the place of the element, 0 without"),
    row("ndcg", &[Texts, Grades, Int], Returns::F64, "discounted gain over the best possible"),
    row(
        "recall_at",
        &[Texts, Grades, Int],
        Returns::F64,
        "share of the relevant that is among the first; of a list all are relevant alike",
    ),
    row("exact_match", &[Text, TextOrTexts], Returns::Bool, "whether the text is an answer"),
    row("word_f1", &[Text, TextOrTexts], Returns::F64, "harmonic mean of precision and recall of words"),
    row("rouge_l", &[Text, TextOrTexts], Returns::F64, "longest common subsequence of words"),
    row("cosine", &[Vector, Vector], Returns::F64, "cosine of two vectors of one space"),
    model("nll", &[Text], Returns::F64, "negative log likelihood under the subject"),
    model("prefers", &[Text], Returns::Bool, "whether the subject prefers the better row"),
    model("kl", &[Text, Text], Returns::F64, "divergence of two outputs"),
    Function { required: 0, ..aggregate("count", &[Any], "number of rows") },
    aggregate("sum", &[Numbers], "sum"),
    aggregate("mean", &[Any], "mean; of bools the share of true"),
    aggregate("median", &[Numbers], "median"),
    Function { is_variadic: true, ..aggregate("min", &[Any], "smallest") },
    Function { is_variadic: true, ..aggregate("max", &[Any], "largest") },
    aggregate("stddev", &[Numbers], "standard deviation of the sample"),
    aggregate("mad", &[Numbers], "median of the distances from the median, not scaled"),
    aggregate("quantile", &[Numbers, Any], "the value at a share of the sorted values, nearest rank"),
    aggregate("p50", &[Numbers], "quantile at 50 %"),
    aggregate("p90", &[Numbers], "quantile at 90 %"),
    aggregate("p95", &[Numbers], "quantile at 95 %"),
    aggregate("p99", &[Numbers], "quantile at 99 %"),
    aggregate("first", &[Any], "the first value, by key; of a list the first element"),
    aggregate("collect", &[Any], "all values as a list, by key"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (idx, function) in FUNCTIONS.iter().enumerate() {
            assert!(FUNCTIONS[..idx].iter().all(|other| other.name != function.name), "{}", function.name);
            assert!(
                function.required <= function.arguments.len() || function.is_variadic,
                "{}",
                function.name
            );
        }
    }
}
