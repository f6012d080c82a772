//! Span maps: which bytes of the source stand where in an output.
//!
//! Every stage works on one text and says which local byte ranges of it ([`Piece`]) it kept. A [`Span`] adds the
//! document, and [`compose`] carries a stage's pieces through the spans of its input, so that any order of stages
//! still points to the original source. Output bytes under no span are synthetic (gap marks, joiners).
//!
//! ```text
//! source  ....AAAA......BBBB....        spans of the stage's input
//! input       AAAABBBB                  pieces of the stage
//! output        AA … BB                 compose -> spans of the output
//! ```
//!
//! Texts are at most 4 GiB (positions are `u32`). This module knows no operator and no document.

use std::fmt;
use std::sync::Arc;

/// Bytes `[start, end)` of a stage's input text stand at bytes `[at, at + end - start)` of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First byte in the input.
    pub start: u32,
    /// Byte after the last one in the input.
    pub end: u32,
    /// First byte in the output.
    pub at: u32,
}

/// Bytes `[start, end)` of the original source text of row `doc` stand at `[at, at + end - start)` of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Rendered key of the source row.
    pub doc: Arc<str>,
    /// First byte in the source text.
    pub start: u64,
    /// Byte after the last one in the source text.
    pub end: u64,
    /// First byte in the output.
    pub at: u32,
}

/// A broken rule of span maps, found by [`check`]; `idx` is the position of the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanFault {
    /// The span has no bytes.
    Empty {
        /// Position of the span.
        idx: usize,
    },
    /// The span begins before the one before it ends, in the output.
    Unsorted {
        /// Position of the span.
        idx: usize,
    },
    /// The span lies outside its output or source, or not on character boundaries.
    Boundary {
        /// Position of the span.
        idx: usize,
    },
    /// Output and source differ under the span.
    Different {
        /// Position of the span.
        idx: usize,
    },
    /// The span continues the one before it and was not merged with it.
    Unmerged {
        /// Position of the span.
        idx: usize,
    },
    /// No source text is known for the document of the span.
    UnknownDocument {
        /// Position of the span.
        idx: usize,
    },
}

impl fmt::Display for SpanFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, idx) = match self {
            SpanFault::Empty { idx } => ("empty", idx),
            SpanFault::Unsorted { idx } => ("out of order or overlapping", idx),
            SpanFault::Boundary { idx } => ("out of bounds or inside a character", idx),
            SpanFault::Different { idx } => ("not equal to its source", idx),
            SpanFault::Unmerged { idx } => ("a continuation that was not merged", idx),
            SpanFault::UnknownDocument { idx } => ("of an unknown document", idx),
        };
        write!(formatter, "span {idx} is {what}")
    }
}

impl std::error::Error for SpanFault {}

/// The span map of a text that is its own source: one span over all of it, none if it is empty.
pub fn identity(doc: &Arc<str>, text: &str) -> Vec<Span> {
    if text.is_empty() {
        return Vec::new();
    }
    vec![Span { doc: Arc::clone(doc), start: 0, end: text.len() as u64, at: 0 }]
}

/// The piece map of a text that is kept whole; no piece if it is empty.
pub fn identity_pieces(text: &str) -> Vec<Piece> {
    if text.is_empty() { Vec::new() } else { vec![Piece { start: 0, end: text.len() as u32, at: 0 }] }
}

/// Appends `piece` to `pieces`; an empty piece is dropped and one that continues the last piece, in input and
/// output, extends it.
pub fn push_piece(pieces: &mut Vec<Piece>, piece: Piece) {
    if piece.start >= piece.end {
        return;
    }
    if let Some(last) = pieces.last_mut()
        && last.end == piece.start
        && last.at + (last.end - last.start) == piece.at
    {
        last.end = piece.end;
        return;
    }
    pieces.push(piece);
}

/// Span map of a stage's output: `outer` maps the stage's input text to sources, `inner` are the stage's pieces of
/// that input. Parts of a piece that no outer span covers stay uncovered. Adjacent spans that continue each other
/// are merged.
///
/// `outer` is sorted by `at`; `inner` is sorted by `at` but may visit the input in any order (chunks overlap).
/// Cost: O(inner log outer + output).
pub fn compose(outer: &[Span], inner: &[Piece]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(inner.len());
    for piece in inner {
        let first = outer
            .partition_point(|span| u64::from(span.at) + (span.end - span.start) <= u64::from(piece.start));
        for span in outer[first..].iter().take_while(|span| span.at < piece.end) {
            let low = piece.start.max(span.at);
            let high = u64::from(piece.end).min(u64::from(span.at) + (span.end - span.start));
            let start = span.start + u64::from(low - span.at);
            push_span(
                &mut spans,
                Span {
                    doc: Arc::clone(&span.doc),
                    start,
                    end: start + (high - u64::from(low)),
                    at: piece.at + (low - piece.start),
                },
            );
        }
    }
    spans
}

/// The same composition between two stages over one text: `outer` made the text that `inner` ranges over.
/// Cost: O(inner log outer + output).
pub fn compose_pieces(outer: &[Piece], inner: &[Piece]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(inner.len());
    for piece in inner {
        let first = outer.partition_point(|other| other.at + (other.end - other.start) <= piece.start);
        for other in outer[first..].iter().take_while(|other| other.at < piece.end) {
            let low = piece.start.max(other.at);
            let high = piece.end.min(other.at + (other.end - other.start));
            let start = other.start + (low - other.at);
            push_piece(
                &mut pieces,
                Piece { start, end: start + (high - low), at: piece.at + (low - piece.start) },
            );
        }
    }
    pieces
}

/// The output of a stage that adds nothing: the bytes of `pieces` of `text`, in order.
pub fn copy_pieces(text: &str, pieces: &[Piece]) -> String {
    let mut output =
        String::with_capacity(pieces.iter().map(|piece| (piece.end - piece.start) as usize).sum());
    for piece in pieces {
        output.push_str(&text[piece.start as usize..piece.end as usize]);
    }
    output
}

/// Checks the rules of span maps: sorted and disjoint in the output, on character boundaries, not empty, merged
/// where they continue each other, and byte-equal to their sources. `source` gives the original text of a document.
///
/// # Errors
/// The first rule that is broken, with the position of the span.
pub fn check<'a>(
    spans: &[Span],
    output: &str,
    source: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), SpanFault> {
    let mut last_end = 0_u64;
    for (idx, span) in spans.iter().enumerate() {
        if span.start >= span.end {
            return Err(SpanFault::Empty { idx });
        }
        if idx > 0 && u64::from(span.at) < last_end {
            return Err(SpanFault::Unsorted { idx });
        }
        let text = source(&span.doc).ok_or(SpanFault::UnknownDocument { idx })?;
        let out_end = u64::from(span.at) + (span.end - span.start);
        let (Some(from), Some(to)) = (
            text.get(span.start as usize..span.end as usize),
            output.get(span.at as usize..out_end as usize),
        ) else {
            return Err(SpanFault::Boundary { idx });
        };
        if from != to {
            return Err(SpanFault::Different { idx });
        }
        if let Some(before) = idx.checked_sub(1).map(|before| &spans[before])
            && before.doc == span.doc
            && before.end == span.start
            && u64::from(span.at) == last_end
        {
            return Err(SpanFault::Unmerged { idx });
        }
        last_end = out_end;
    }
    Ok(())
}

fn push_span(spans: &mut Vec<Span>, span: Span) {
    if span.start >= span.end {
        return;
    }
    if let Some(last) = spans.last_mut()
        && last.end == span.start
        && u64::from(last.at) + (last.end - last.start) == u64::from(span.at)
        && last.doc == span.doc
    {
        last.end = span.end;
        return;
    }
    spans.push(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc() -> Arc<str> {
        Arc::from("d")
    }

    #[test]
    fn composition_reaches_the_source_through_two_cuts() {
        let source = "alpha beta gamma delta";
        let first = [Piece { start: 0, end: 6, at: 0 }, Piece { start: 11, end: 22, at: 6 }];
        let middle = copy_pieces(source, &first);
        assert_eq!(middle, "alpha gamma delta");
        let second = [Piece { start: 3, end: 11, at: 0 }];
        let output = copy_pieces(&middle, &second);
        assert_eq!(output, "ha gamma");
        let spans = compose(&compose(&identity(&doc(), source), &first), &second);
        assert_eq!(spans.len(), 2);
        assert_eq!(check(&spans, &output, |_| Some(source)), Ok(()));
        let pieces = compose_pieces(&first, &second);
        assert_eq!(pieces, [Piece { start: 3, end: 6, at: 0 }, Piece { start: 11, end: 16, at: 3 }]);
    }

    #[test]
    fn the_checker_refuses_each_broken_rule() {
        let source = "aé b";
        let span = |start, end, at| Span { doc: doc(), start, end, at };
        let run = |spans: &[Span], output: &str| check(spans, output, |_| Some(source));
        assert_eq!(run(&[span(1, 1, 0)], ""), Err(SpanFault::Empty { idx: 0 }));
        assert_eq!(run(&[span(0, 2, 0)], "a\u{e9}"), Err(SpanFault::Boundary { idx: 0 }));
        assert_eq!(run(&[span(0, 1, 0)], "b"), Err(SpanFault::Different { idx: 0 }));
        assert_eq!(run(&[span(0, 1, 0), span(1, 3, 1)], "aé"), Err(SpanFault::Unmerged { idx: 1 }));
        assert_eq!(run(&[span(0, 1, 1), span(0, 1, 0)], "aa"), Err(SpanFault::Unsorted { idx: 1 }));
        assert_eq!(check(&[span(0, 1, 0)], "a", |_| None), Err(SpanFault::UnknownDocument { idx: 0 }));
    }

    #[test]
    fn bytes_without_a_source_stay_uncovered() {
        let outer = [Span { doc: doc(), start: 5, end: 8, at: 2 }];
        let spans = compose(&outer, &[Piece { start: 0, end: 10, at: 0 }]);
        assert_eq!(spans, [Span { doc: doc(), start: 5, end: 8, at: 2 }]);
    }
}
