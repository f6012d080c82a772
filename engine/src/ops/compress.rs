//! `compress`: shorter texts with their span maps. The algorithms stand in `promptc_models::compress`.
//!
//! Arguments: text or list of texts, then spans, query and titles where the operator has them. Result: one record of the columns
//! `X, X_spans, X_tokens_in, X_tokens_out` and, where the parameters ask for them, `X_links` and `X_keep_unmet`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StringArray, StructArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use promptc_compiler::op::Compress;
use promptc_models::compress::keep::KeepSet;
use promptc_models::compress::{self as model, Compressed, Options, Scorer, Select, Target, Unit};
use promptc_models::spans::{self, Span};
use promptc_models::tokenize::Tokenizer;

use crate::arrays;
use crate::context::RunContext;
use crate::error::EngineError;
use crate::row_function::RowOperator;

const PLACE: &str = "compress";

/// The operator with its parameters.
#[derive(Debug)]
pub struct CompressOperator {
    options: Options,
    tokenizer: Arc<dyn Tokenizer>,
    layout: Layout,
    /// The record that the plan declares.
    result: DataType,
    ctx: Arc<RunContext>,
    /// What warnings call this operator.
    label: String,
}

/// Which arguments there are and what the text is.
#[derive(Debug, Clone, Copy)]
struct Layout {
    is_list: bool,
    has_spans: bool,
    has_query: bool,
    has_titles: bool,
    /// Rendered key of the row, from which identity spans are made when the text has none.
    has_key: bool,
}

/// Options of the parameters.
///
/// # Errors
/// [`EngineError::Internal`] for a choice that the compiler should have refused.
pub fn options(params: &Compress) -> Result<Options, EngineError> {
    let target = match (params.ratio, params.budget_tokens) {
        (Some(ratio), _) => Target::Ratio(ratio),
        (None, Some(budget)) => Target::BudgetTokens(budget),
        (None, None) => Target::None,
    };
    let mut options = Options::with_query(unit(&params.unit), target);
    let has = |stage: &str| params.stages.iter().any(|name| name == stage);
    options.stages.structural = has("structural");
    options.stages.passage = has("passage");
    options.stages.sentence = has("sentence");
    options.stages.clause = has("clause");
    options.stages.token = has("token");
    options.keep = keep_set(&params.keep);
    options.links = match params.links.as_str() {
        "side" => model::Links::Side,
        "drop" => model::Links::Drop,
        _ => model::Links::Keep,
    };
    options.gap = params.gap.clone();
    options.select = match params.select.as_deref() {
        None => None,
        Some("textrank") => Some(Select::TextRank),
        Some("mmr") => Some(Select::Mmr),
        Some("lead") => Some(Select::Lead),
        Some(other) => return Err(EngineError::internal(PLACE, format!("no selection `{other}`"))),
    };
    Ok(options)
}

/// The unit of a name; the compiler has checked it.
#[must_use]
pub fn unit(name: &str) -> Unit {
    match name {
        "passage" => Unit::Passage,
        "sentence" => Unit::Sentence,
        "token" => Unit::Token,
        _ => Unit::Clause,
    }
}

/// The constraints of their names.
#[must_use]
pub fn keep_set(names: &[String]) -> KeepSet {
    let has = |name: &str| names.iter().any(|given| given == name);
    KeepSet {
        numbers: has("numbers"),
        names: has("names"),
        negation: has("negation"),
        code: has("code"),
        tables: has("tables"),
        headings: has("headings"),
    }
}

impl CompressOperator {
    /// # Errors
    /// [`EngineError::Internal`] for parameters that the compiler should have refused.
    pub fn new(
        params: &Compress,
        is_list: bool,
        tokenizer: Arc<dyn Tokenizer>,
        result: DataType,
        ctx: Arc<RunContext>,
        label: String,
    ) -> Result<Self, EngineError> {
        let has_spans = params.spans.is_some();
        let layout = Layout {
            is_list,
            has_spans,
            has_query: params.query.is_some(),
            has_titles: params.titles.is_some(),
            has_key: !has_spans,
        };
        Ok(Self { options: options(params)?, tokenizer, layout, result, ctx, label })
    }

    /// The same with a scorer that was learned.
    #[must_use]
    pub fn with_scorer(mut self, scorer: Scorer) -> Self {
        self.options.scorer = scorer;
        self
    }

    fn row(&self, args: &Args<'_>, row: usize) -> Result<Row, EngineError> {
        let Some(texts) = arrays::row_texts(args.texts, row, PLACE)? else { return Ok(Row::default()) };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let query = args.query.filter(|query| !query.is_null(row)).map(|query| query.value(row));
        let titles = args.titles.map(|titles| arrays::row_texts(titles, row, PLACE)).transpose()?.flatten();
        let titles: Option<Vec<&str>> =
            titles.as_ref().map(|titles| titles.iter().map(String::as_str).collect());
        let compressed =
            model::compress(&texts, titles.as_deref(), query, &self.options, self.tokenizer.as_ref(), None);
        let outer = match (args.spans, self.layout.is_list) {
            (Some(spans), true) => arrays::row_span_lists(spans, row, PLACE)?,
            (Some(spans), false) => vec![arrays::row_spans(spans, row, PLACE)?],
            (None, _) => {
                let doc: Arc<str> = Arc::from(args.key.map_or("", |key| key.value(row)));
                texts.iter().map(|text| spans::identity(&doc, text)).collect()
            }
        };
        let maps = compressed.pieces.iter().enumerate();
        let spans = maps
            .map(|(idx, pieces)| outer.get(idx).map_or_else(Vec::new, |outer| spans::compose(outer, pieces)))
            .collect();
        Ok(Row { compressed: Some(compressed), spans })
    }
}

/// The arguments of one call.
struct Args<'a> {
    texts: &'a ArrayRef,
    spans: Option<&'a ArrayRef>,
    key: Option<&'a StringArray>,
    query: Option<&'a StringArray>,
    titles: Option<&'a ArrayRef>,
}

/// The result of one row; `None` is a null text.
#[derive(Default)]
struct Row {
    compressed: Option<Compressed>,
    spans: Vec<Vec<Span>>,
}

impl RowOperator for CompressOperator {
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let mut rest = args.iter();
        let mut next = |wanted: bool| if wanted { rest.next() } else { None };
        let Layout { has_spans, has_key, has_query, has_titles, is_list } = self.layout;
        let texts = next(true).ok_or_else(|| EngineError::internal(PLACE, "no text"))?;
        let spans = next(has_spans);
        let key = next(has_key).map(|key| arrays::downcast(key, PLACE)).transpose()?;
        let query = next(has_query).map(|query| arrays::downcast(query, PLACE)).transpose()?;
        let args = Args { texts, spans, key, query, titles: next(has_titles) };
        let rows: Result<Vec<Row>, EngineError> = (0..texts.len()).map(|row| self.row(&args, row)).collect();
        let rows = rows?;
        let tally = |code, is_bad: fn(&Compressed) -> bool| {
            let count = rows.iter().filter(|row| row.compressed.as_ref().is_some_and(is_bad)).count();
            self.ctx.tallies.add(code, &self.label, count as u64);
        };
        tally("W2402", |row| row.over_ratio);
        tally("W2403", |row| row.keep_unmet > 0);
        let mut columns: Vec<ArrayRef> = if is_list { list_columns(&rows) } else { text_columns(&rows) };
        let count =
            |of: fn(&Compressed) -> u64| rows.iter().map(move |row| row.compressed.as_ref().map_or(0, of));
        columns.push(Arc::new(arrays::tokens(count(|row| row.tokens_in))));
        columns.push(Arc::new(arrays::tokens(count(|row| row.tokens_out))));
        if let DataType::Struct(fields) = &self.result {
            for field in fields.iter().skip(4) {
                columns.push(if field.name().ends_with("_links") {
                    links_column(&rows)
                } else {
                    Arc::new(UInt32Array::from_iter_values(
                        rows.iter().map(|row| row.compressed.as_ref().map_or(0, |row| row.keep_unmet)),
                    ))
                });
            }
        }
        arrays::record(&self.result, columns, PLACE)
    }
}

fn text_columns(rows: &[Row]) -> Vec<ArrayRef> {
    let texts: StringArray =
        rows.iter().map(|row| row.compressed.as_ref().and_then(|row| row.texts.first())).collect();
    let spans: Vec<Vec<Span>> =
        rows.iter().map(|row| row.spans.first().cloned().unwrap_or_default()).collect();
    vec![Arc::new(texts), Arc::new(arrays::span_list(&spans))]
}

fn list_columns(rows: &[Row]) -> Vec<ArrayRef> {
    let texts: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.compressed.as_ref().map_or_else(Vec::new, |row| row.texts.clone()))
        .collect();
    let spans: Vec<Vec<Span>> = rows.iter().flat_map(|row| row.spans.iter().cloned()).collect();
    let inner = arrays::span_list(&spans);
    let item = Arc::new(Field::new("item", inner.data_type().clone(), false));
    let outer = arrays::list_of(item, Arc::new(inner), rows.iter().map(|row| row.spans.len()));
    vec![Arc::new(arrays::text_list(&texts)), Arc::new(outer)]
}

/// `list<{ at: u32, target: text }>`, the link targets of all texts of the row.
fn links_column(rows: &[Row]) -> ArrayRef {
    let links = |row: &Row| -> Vec<(u32, String)> {
        row.compressed.as_ref().map_or_else(Vec::new, |row| row.links.iter().flatten().cloned().collect())
    };
    let lists: Vec<Vec<(u32, String)>> = rows.iter().map(links).collect();
    let all = || lists.iter().flatten();
    let fields = vec![Field::new("at", DataType::UInt32, false), Field::new("target", DataType::Utf8, false)];
    let records = StructArray::new(
        fields.clone().into(),
        vec![
            Arc::new(UInt32Array::from_iter_values(all().map(|(at, _)| *at))),
            Arc::new(all().map(|(_, target)| Some(target)).collect::<StringArray>()),
        ],
        None,
    );
    let item = Arc::new(Field::new("item", DataType::Struct(fields.into()), false));
    let list: ListArray = arrays::list_of(item, Arc::new(records), lists.iter().map(Vec::len));
    Arc::new(list)
}
