//! Fitting rendered messages under a prompt's budget.
//!
//! First every message is cut to its own maximum; then, while the whole is too long, the message with the lowest priority that may still
//! give way is shrunk by what is too much. Shrinking always starts from the rendered text, so the order of steps leaves no trace.

use promptc_compiler::op::{Message, Prompt, Shrink};
use promptc_compiler::syntax::ast::Role;
use promptc_models::compress::{Options, Ranking, Row, Target, Unit, ratio_cap};
use promptc_models::tokenize::Tokenizer;

use super::render::Rendered;

/// What stands between the two ends of a message cut by `keep_both`; one token.
const MIDDLE: &str = " … ";

/// How messages become one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Joined by blank lines.
    Plain,
    /// `<|im_start|>role`, newline, content, `<|im_end|>`.
    ChatMl,
}

/// A message of one row before fitting.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its text with lineage.
    pub rendered: Rendered,
    /// The query that `shrink = compress(query = ...)` scores against.
    pub query: Option<String>,
}

/// A part of the finished prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The prompt's text with the lineage of every byte.
    pub whole: Rendered,
    /// For each segment of `whole`, the message it belongs to.
    pub segment_messages: Vec<u32>,
    /// Role and content of every message that is not empty.
    pub messages: Vec<(Role, String)>,
    /// Tokens of the whole.
    pub tokens: u64,
}

/// The messages cannot be made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// Tokens of the shortest form found.
    pub tokens: u64,
    /// The prompt's budget.
    pub budget_tokens: u64,
}

/// Fits the messages of one row; `None` is a message whose `when` is false.
///
/// # Errors
/// [`Overflow`] if every message is at its smallest and the whole is still too long. Nothing is cut silently.
pub fn fit(
    prompt: &Prompt,
    drafts: Vec<Option<Draft>>,
    style: Style,
    tokenizer: &dyn Tokenizer,
) -> Result<Fitted, Overflow> {
    let mut parts: Vec<Part<'_>> = prompt
        .messages
        .iter()
        .zip(drafts)
        .enumerate()
        .filter_map(|(idx, (message, draft))| {
            draft.map(|draft| Part::new(idx as u32, message, draft, tokenizer))
        })
        .collect();
    for part in &mut parts {
        if let Some(max) = part.message.max_tokens
            && part.tokens > max
        {
            part.shrink_to(max, tokenizer);
        }
    }
    loop {
        let fitted = join(&parts, style, tokenizer);
        if fitted.tokens <= prompt.budget_tokens {
            return Ok(fitted);
        }
        let overflow = fitted.tokens - prompt.budget_tokens;
        let Some(part) = parts.iter_mut().filter(|part| part.can_shrink()).min_by_key(|part| part.rank())
        else {
            return Err(Overflow { tokens: fitted.tokens, budget_tokens: prompt.budget_tokens });
        };
        let target = part.tokens.saturating_sub(overflow).max(part.message.min_tokens);
        part.shrink_to(target, tokenizer);
    }
}

/// A message on its way.
struct Part<'a> {
    idx: u32,
    message: &'a Message,
    draft: Draft,
    ranking: Option<Ranking>,
    now: Rendered,
    tokens: u64,
    /// A step that brought nothing ends the shrinking of this message.
    is_exhausted: bool,
}

impl<'a> Part<'a> {
    fn new(idx: u32, message: &'a Message, draft: Draft, tokenizer: &dyn Tokenizer) -> Self {
        let tokens = tokenizer.count(&draft.rendered.text);
        let now = draft.rendered.clone();
        Self { idx, message, draft, ranking: None, now, tokens, is_exhausted: false }
    }

    fn can_shrink(&self) -> bool {
        !self.is_exhausted && self.tokens > self.message.min_tokens && self.message.shrink != Shrink::None
    }

    /// Lower gives way first; of equal priority the later one.
    fn rank(&self) -> (i32, std::cmp::Reverse<u32>) {
        (self.message.priority, std::cmp::Reverse(self.idx))
    }

    fn shrink_to(&mut self, target: u64, tokenizer: &dyn Tokenizer) {
        let now = match &self.message.shrink {
            Shrink::None => return,
            Shrink::Drop => Rendered::default(),
            Shrink::KeepHead => head(&self.draft.rendered, target, tokenizer),
            Shrink::KeepTail => tail(&self.draft.rendered, target, tokenizer),
            Shrink::KeepBoth => both(&self.draft.rendered, target, tokenizer),
            Shrink::Compress { ratio_min, ratio_max, unit, keep, .. } => {
                self.compress(target, *ratio_min, *ratio_max, unit, keep, tokenizer)
            }
        };
        let tokens = tokenizer.count(&now.text);
        self.is_exhausted = tokens >= self.tokens;
        if tokens < self.tokens {
            (self.now, self.tokens) = (now, tokens);
        }
    }

    /// The smallest ratio of the range that reaches the target; one scoring pass serves all cuts.
    fn compress(
        &mut self,
        target: u64,
        ratio_min: f64,
        ratio_max: f64,
        unit: &str,
        keep: &[String],
        tokenizer: &dyn Tokenizer,
    ) -> Rendered {
        let Draft { rendered, query } = &self.draft;
        let ranking = self.ranking.get_or_insert_with(|| {
            let unit = crate::ops::compress::unit(unit);
            // The cut is moved later; any target makes the ranking.
            let mut options = Options::with_query(unit, Target::BudgetTokens(0));
            options.keep = crate::ops::compress::keep_set(keep);
            options.stages.structural = false;
            options.stages.passage = unit == Unit::Passage;
            let texts = [rendered.text.as_str()];
            let row = Row { texts: &texts, titles: None, query: query.as_deref(), similarities: None };
            Ranking::new(&row, &options, tokenizer, None)
        });
        let tokens_in = ranking.tokens_in();
        let (smallest, largest) = (ratio_cap(tokens_in, ratio_max), ratio_cap(tokens_in, ratio_min));
        let compressed = ranking.cut(target.clamp(smallest, largest), tokenizer);
        let (Some(text), Some(pieces)) = (compressed.texts.first(), compressed.pieces.first()) else {
            return Rendered::default();
        };
        let mut out = Rendered::default();
        let mut done = 0;
        for piece in pieces {
            let at = piece.at as usize;
            out.push(&text[done..at], None, None);
            out.push_range(rendered, piece.start as usize, piece.end as usize);
            done = at + (piece.end - piece.start) as usize;
        }
        out.push(&text[done..], None, None);
        out
    }
}

fn boundaries(rendered: &Rendered, tokenizer: &dyn Tokenizer) -> Vec<(u32, u32)> {
    let mut tokens = Vec::new();
    tokenizer.boundaries(&rendered.text, &mut tokens);
    tokens
}

fn head(rendered: &Rendered, target: u64, tokenizer: &dyn Tokenizer) -> Rendered {
    let tokens = boundaries(rendered, tokenizer);
    let mut out = Rendered::default();
    let count = usize::try_from(target).unwrap_or(usize::MAX).min(tokens.len());
    if count > 0 {
        out.push_range(rendered, 0, tokens[count - 1].1 as usize);
    }
    out
}

fn tail(rendered: &Rendered, target: u64, tokenizer: &dyn Tokenizer) -> Rendered {
    let tokens = boundaries(rendered, tokenizer);
    let mut out = Rendered::default();
    let count = usize::try_from(target).unwrap_or(usize::MAX).min(tokens.len());
    if count > 0 {
        out.push_range(rendered, tokens[tokens.len() - count].0 as usize, rendered.text.len());
    }
    out
}

fn both(rendered: &Rendered, target: u64, tokenizer: &dyn Tokenizer) -> Rendered {
    let tokens = boundaries(rendered, tokenizer);
    let mut out = Rendered::default();
    let kept = usize::try_from(target.saturating_sub(tokenizer.count(MIDDLE))).unwrap_or(usize::MAX);
    if kept == 0 {
        return out;
    }
    if kept >= tokens.len() {
        return rendered.clone();
    }
    let (first, last) = (kept.div_ceil(2), kept / 2);
    out.push_range(rendered, 0, tokens[first - 1].1 as usize);
    out.push(MIDDLE, None, None);
    if last > 0 {
        out.push_range(rendered, tokens[tokens.len() - last].0 as usize, rendered.text.len());
    }
    out
}

fn join(parts: &[Part<'_>], style: Style, tokenizer: &dyn Tokenizer) -> Fitted {
    let mut whole = Rendered::default();
    let mut segment_messages = Vec::new();
    let mut messages = Vec::new();
    for part in parts.iter().filter(|part| !part.now.text.is_empty()) {
        let role = part.message.role;
        let before = match style {
            Style::Plain if whole.text.is_empty() => String::new(),
            Style::Plain => "\n\n".to_owned(),
            Style::ChatMl => format!("<|im_start|>{}\n", role_name(role)),
        };
        append(&mut whole, &Rendered::fixed(&before));
        append(&mut whole, &part.now);
        if style == Style::ChatMl {
            append(&mut whole, &Rendered::fixed("<|im_end|>\n"));
        }
        segment_messages.resize(whole.segments.len(), part.idx);
        messages.push((role, part.now.text.clone()));
    }
    let tokens = tokenizer.count(&whole.text);
    Fitted { whole, segment_messages, messages, tokens }
}

/// Appends without merging segments across the border, since they belong to different messages.
fn append(whole: &mut Rendered, part: &Rendered) {
    let offset = whole.text.len();
    whole.text.push_str(&part.text);
    whole.segments.extend(part.segments.iter().cloned().map(|mut segment| {
        segment.start += offset;
        segment.end += offset;
        segment
    }));
}

impl Rendered {
    /// Fixed text.
    fn fixed(text: &str) -> Self {
        let mut out = Self::default();
        out.push(text, None, None);
        out
    }
}

/// The role as prompts write it.
#[must_use]
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promptc_models::tokenize::WordPunct;

    fn message(priority: i32, min_tokens: u64, max_tokens: Option<u64>, shrink: Shrink) -> Message {
        Message { role: Role::User, priority, min_tokens, max_tokens, shrink, when: None, template: vec![] }
    }

    fn prompt(budget_tokens: u64, messages: Vec<Message>) -> Prompt {
        let tokenizer = promptc_compiler::types::Nominal {
            fp: promptc_compiler::types::Fp([0; 32]),
            name: "word_punct".into(),
        };
        Prompt { budget_tokens, formals: vec![], messages, tokenizer }
    }

    fn draft(text: &str) -> Option<Draft> {
        let mut rendered = Rendered::default();
        rendered.push(text, Some(&"f".into()), None);
        Some(Draft { rendered, query: None })
    }

    fn covers(fitted: &Fitted) {
        let mut done = 0;
        for segment in &fitted.whole.segments {
            assert_eq!(segment.start, done);
            done = segment.end;
        }
        assert_eq!(done, fitted.whole.text.len());
        assert_eq!(fitted.whole.segments.len(), fitted.segment_messages.len());
    }

    #[test]
    fn the_lowest_priority_gives_way_first_and_keeps_its_minimum() {
        let prompt =
            prompt(8, vec![message(10, 2, None, Shrink::KeepHead), message(20, 0, None, Shrink::KeepTail)]);
        let fitted =
            fit(&prompt, vec![draft("a b c d e"), draft("v w x y z")], Style::Plain, &WordPunct).unwrap();
        assert_eq!(fitted.whole.text, "a b c\n\nv w x y z");
        covers(&fitted);
        let tight = Prompt { budget_tokens: 4, ..prompt };
        let fitted =
            fit(&tight, vec![draft("a b c d e"), draft("v w x y z")], Style::Plain, &WordPunct).unwrap();
        assert_eq!(fitted.whole.text, "a b\n\ny z");
    }

    #[test]
    fn what_cannot_give_way_is_an_overflow_and_never_cut() {
        let prompt = prompt(3, vec![message(10, 0, None, Shrink::None)]);
        let overflow = fit(&prompt, vec![draft("a b c d")], Style::Plain, &WordPunct).unwrap_err();
        assert_eq!(overflow, Overflow { tokens: 4, budget_tokens: 3 });
    }

    #[test]
    fn both_ends_stay_with_a_mark_between() {
        let prompt = prompt(9, vec![message(10, 0, Some(5), Shrink::KeepBoth)]);
        let fitted = fit(&prompt, vec![draft("a b c d e f g")], Style::Plain, &WordPunct).unwrap();
        assert_eq!(fitted.whole.text, "a b … f g");
        assert_eq!(fitted.tokens, 5);
        covers(&fitted);
    }

    #[test]
    fn compressing_keeps_what_the_query_asks_for() {
        let shrink = Shrink::Compress {
            query: None,
            ratio_min: 1.0,
            ratio_max: 8.0,
            unit: "clause".into(),
            keep: vec![],
        };
        let prompt = prompt(16, vec![message(10, 0, None, shrink)]);
        let mut draft = draft(
            "The weather is fine today in the hills. The cache holds 512 entries by default. Cats sleep all day long in the sun.",
        );
        if let Some(draft) = &mut draft {
            draft.query = Some("How many entries does the cache hold?".into());
        }
        let fitted = fit(&prompt, vec![draft], Style::Plain, &WordPunct).unwrap();
        assert!(fitted.whole.text.contains("512 entries"), "{}", fitted.whole.text);
        assert!(fitted.tokens <= 16);
        covers(&fitted);
    }
}
