//! Quality of answers and rankings: `promptc_models::metrics` over columns, kept spans and cosines.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float64Array,
    Int32Array, ListArray, MapArray, StringArray,
};
use arrow::datatypes::{DataType, Float32Type, Int32Type};
use arrow::row::Row;
use promptc_models::metrics;
use promptc_models::spans::Span;

use super::lists::{encoded, range};
use super::records::{Present, conform, lists, texts, whole};
use super::{Body, Call};
use crate::aggregates::numeric::fault;
use crate::arrays;
use crate::error::EngineError;

pub(super) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "string_survives" => string_survives,
        "span_survives" => span_survives,
        "hit_at" => hit_at,
        "hit_in" => hit_in,
        "reciprocal_rank" => reciprocal_rank,
        "ndcg" => |call| graded(call, |list, grades, depth| metrics::ndcg(list, grades, depth)),
        "recall_at" => |call| graded(call, recall),
        "exact_match" => exact_match,
        "word_f1" => |call| answered(call, |text, answers| Ok(metrics::word_f1(text, answers))),
        "rouge_l" => |call| answered(call, rouge_l),
        "cosine" => cosine,
        _ => return None,
    })
}

fn bools(
    call: &Call<'_>,
    test: impl Fn(usize) -> Result<bool, EngineError>,
) -> Result<ArrayRef, EngineError> {
    let present = Present::of(call);
    let found: Result<BooleanArray, EngineError> =
        (0..call.rows).map(|row| if present.has(row) { test(row).map(Some) } else { Ok(None) }).collect();
    Ok(Arc::new(found?))
}

fn floats(
    call: &Call<'_>,
    measure: impl Fn(usize) -> Result<f64, EngineError>,
) -> Result<ArrayRef, EngineError> {
    let present = Present::of(call);
    let found: Result<Float64Array, EngineError> =
        (0..call.rows).map(|row| if present.has(row) { measure(row).map(Some) } else { Ok(None) }).collect();
    Ok(Arc::new(found?))
}

/// The texts of a row that is not null.
fn row_texts(call: &Call<'_>, idx: usize, row: usize) -> Result<Vec<String>, EngineError> {
    Ok(arrays::row_texts(&call.args[idx], row, "texts")?.unwrap_or_default())
}

fn string_survives(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    bools(call, |row| {
        let (texts, answers) = (row_texts(call, 0, row)?, row_texts(call, 1, row)?);
        Ok(texts.iter().any(|text| metrics::string_survives(text, &answers)))
    })
}

fn answered(
    call: &Call<'_>,
    measure: fn(&str, &[String]) -> Result<f64, EngineError>,
) -> Result<ArrayRef, EngineError> {
    let text = texts(call, 0)?;
    floats(call, |row| measure(text.value(row), &row_texts(call, 1, row)?))
}

fn exact_match(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let text = texts(call, 0)?;
    bools(call, |row| Ok(metrics::exact_match(text.value(row), &row_texts(call, 1, row)?)))
}

/// The best over the answers.
fn rouge_l(text: &str, answers: &[String]) -> Result<f64, EngineError> {
    answers.iter().try_fold(0.0, |best: f64, answer| {
        let too_long =
            || fault(format!("texts of {} and {} bytes are too long to compare", text.len(), answer.len()));
        Ok(best.max(metrics::rouge_l(text, answer).ok_or_else(too_long)?))
    })
}

/// Spans of a row of `list<span>` or `list<list<span>>`; lists that are null hold none.
fn row_spans(array: &ArrayRef, row: usize) -> Result<Vec<Span>, EngineError> {
    let is_nested =
        matches!(array.data_type(), DataType::List(item) if matches!(item.data_type(), DataType::List(_)));
    if is_nested {
        return Ok(arrays::row_span_lists(array, row, "span_survives")?.into_iter().flatten().collect());
    }
    arrays::row_spans(array, row, "span_survives")
}

fn span_survives(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    bools(call, |row| {
        let gold = row_spans(&call.args[1], row)?;
        Ok(any_inside(row_spans(&call.args[0], row)?, &gold))
    })
}

/// Whether some gold span that is not empty lies wholly in the union of the kept ones: spans that touch or overlap count as one.
fn any_inside(mut kept: Vec<Span>, gold: &[Span]) -> bool {
    kept.sort_by(|left, right| (&left.doc, left.start, left.end).cmp(&(&right.doc, right.start, right.end)));
    let mut merged: Vec<Span> = Vec::with_capacity(kept.len());
    for span in kept.into_iter().filter(|span| span.start < span.end) {
        match merged.last_mut() {
            Some(last) if last.doc == span.doc && span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    let is_inside = |gold: &Span| {
        let inside = |kept: &Span| kept.doc == gold.doc && kept.start <= gold.start && gold.end <= kept.end;
        gold.start < gold.end && merged.iter().any(inside)
    };
    gold.iter().any(is_inside)
}

/// Calls `measure` with the elements of each list and the wanted element, as bytes that are equal where they are.
fn with_ranking<T>(
    call: &Call<'_>,
    gold: usize,
    each: impl Fn(Box<dyn Fn(usize) -> T + '_>) -> Result<ArrayRef, EngineError>,
    measure: impl Fn(usize, &[Row<'_>], &Row<'_>) -> T,
) -> Result<ArrayRef, EngineError> {
    let list = lists(call, 0)?;
    let elements = encoded(list.values())?;
    let wanted = encoded(&conform(call.args[gold].clone(), list.values().data_type())?)?;
    each(Box::new(move |row| {
        let ranking: Vec<Row<'_>> = range(&list, row).map(|idx| elements.row(idx)).collect();
        measure(row, &ranking, &wanted.row(row))
    }))
}

/// A depth below 0 is 0.
fn depth(value: i64) -> usize {
    usize::try_from(value.max(0)).unwrap_or(usize::MAX)
}

fn hit_at(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let depths = whole(call, 2)?;
    with_ranking(
        call,
        1,
        |test| bools(call, |row| Ok(test(row))),
        |row, ranking, gold| metrics::hit_at(ranking, gold, depth(depths.value(row))),
    )
}

fn hit_in(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    with_ranking(
        call,
        2,
        |test| bools(call, &test),
        |row, ranking, gold| Ok(metrics::hit_in(ranking, &row_texts(call, 1, row)?, gold)),
    )
}

fn reciprocal_rank(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    with_ranking(
        call,
        1,
        |measure| floats(call, |row| Ok(measure(row))),
        |_, ranking, gold| metrics::reciprocal_rank(ranking, gold),
    )
}

/// Everything with a grade above 0 is relevant.
fn recall(list: &[&str], grades: &BTreeMap<&str, i32>, depth: usize) -> f64 {
    let gold: Vec<&str> = grades.iter().filter(|(_, grade)| **grade > 0).map(|(id, _)| *id).collect();
    metrics::recall_at(list, &gold, depth)
}

/// A measure of a list of texts against their grades down to a depth.
fn graded(
    call: &Call<'_>,
    measure: for<'a> fn(&[&'a str], &BTreeMap<&'a str, i32>, usize) -> f64,
) -> Result<ArrayRef, EngineError> {
    let (list, depths) = (lists(call, 0)?, whole(call, 2)?);
    if call.args[1].data_type() == &DataType::Null {
        return Ok(arrow::array::new_null_array(call.result.data_type(), call.rows));
    }
    let ids = conform(list.values().clone(), &DataType::Utf8)?;
    let ids = ids.as_string::<i32>();
    let relevant = Relevant::of(&call.args[1])?;
    floats(call, |row| {
        let ranking: Vec<&str> =
            range(&list, row).filter(|idx| ids.is_valid(*idx)).map(|idx| ids.value(idx)).collect();
        Ok(measure(&ranking, &relevant.row(row), depth(depths.value(row))))
    })
}

/// Relevant documents of each row with their grades.
struct Relevant {
    offsets: Vec<i32>,
    ids: StringArray,
    /// `None` where all are relevant alike.
    grades: Option<Int32Array>,
}

impl Relevant {
    /// Of a map, or of a list of documents.
    fn of(column: &ArrayRef) -> Result<Self, EngineError> {
        let ids = |ids: &ArrayRef| -> Result<StringArray, EngineError> {
            Ok(conform(ids.clone(), &DataType::Utf8)?.as_string::<i32>().clone())
        };
        if let Some(list) = column.as_any().downcast_ref::<ListArray>() {
            return Ok(Self {
                offsets: list.value_offsets().to_vec(),
                ids: ids(list.values())?,
                grades: None,
            });
        }
        let map: &MapArray = arrays::downcast(column, "grades")?;
        let grades = conform(map.values().clone(), &DataType::Int32)?;
        Ok(Self {
            offsets: map.value_offsets().to_vec(),
            ids: ids(map.keys())?,
            grades: Some(grades.as_primitive::<Int32Type>().clone()),
        })
    }

    fn row(&self, row: usize) -> BTreeMap<&str, i32> {
        let entries = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        let grade = |idx: usize| match &self.grades {
            Some(grades) => grades.is_valid(idx).then(|| grades.value(idx)),
            None => Some(1),
        };
        let known = entries.filter(|idx| self.ids.is_valid(*idx));
        known.filter_map(|idx| Some((self.ids.value(idx), grade(idx)?))).collect()
    }
}

/// [`metrics::cosine`] of vectors of numbers; of bits the cosine of their signs. Cost: one pass.
fn cosine(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    match call.args[0].data_type() {
        DataType::Null => Ok(arrow::array::new_null_array(call.result.data_type(), call.rows)),
        DataType::FixedSizeBinary(_) => {
            let (left, right): (&FixedSizeBinaryArray, &FixedSizeBinaryArray) =
                (arrays::downcast(&call.args[0], "cosine")?, arrays::downcast(&call.args[1], "cosine")?);
            floats(call, |row| Ok(sign_cosine(left.value(row), right.value(row))))
        }
        _ => {
            let (left, right) = (components(&call.args[0])?, components(&call.args[1])?);
            floats(call, |row| {
                let cosine = metrics::cosine(&left.0[left.range(row)], &right.0[right.range(row)]);
                if cosine.is_nan() { Err(fault("the vectors are not finite")) } else { Ok(cosine) }
            })
        }
    }
}

/// The components of a column of vectors, one after the other, and how many a vector has. No element type holds more than
/// `f32` does.
struct Components(Vec<f32>, usize);

impl Components {
    fn range(&self, row: usize) -> Range<usize> {
        row * self.1..(row + 1) * self.1
    }
}

fn components(array: &ArrayRef) -> Result<Components, EngineError> {
    let vectors: &FixedSizeListArray = arrays::downcast(array, "cosine")?;
    let dim = vectors.value_length() as usize;
    let start = vectors.value_offset(0) as usize;
    let values = vectors.values().slice(start, vectors.len() * dim);
    let values = conform(values, &DataType::Float32)?;
    Ok(Components(values.as_primitive::<Float32Type>().values().to_vec(), dim))
}

fn sign_cosine(left: &[u8], right: &[u8]) -> f64 {
    let bits = left.len() * 8;
    let apart: u32 = left.iter().zip(right).map(|(left, right)| (left ^ right).count_ones()).sum();
    if bits == 0 { 0.0 } else { 1.0 - 2.0 * f64::from(apart) / bits as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::records::tests::{int, ints, run, text};
    use super::*;
    use arrow::array::{Float32Array, MapBuilder, StringBuilder};
    use arrow::array::{Int32Builder, MapFieldNames};
    use arrow::datatypes::{Field, Float64Type};

    fn flags(array: &ArrayRef) -> Vec<Option<bool>> {
        array.as_boolean().iter().collect()
    }

    fn values(array: &ArrayRef) -> Vec<Option<f64>> {
        array.as_primitive::<Float64Type>().iter().collect()
    }

    fn texts_of(rows: &[&[&str]]) -> ArrayRef {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect();
        Arc::new(arrays::text_list(&rows))
    }

    #[test]
    fn answers() {
        let texts = text(&[Some("It holds 512 entries."), Some("none"), None]);
        let answers = texts_of(&[&["9", "512 ENTRIES"], &["512"], &["x"]]);
        let found = run("string_survives", vec![texts, answers], DataType::Boolean).unwrap();
        assert_eq!(flags(&found), [Some(true), Some(false), None]);
        let lists = texts_of(&[&["a", "b 7"]]);
        assert_eq!(
            flags(&run("string_survives", vec![lists, text(&[Some("7")])], DataType::Boolean).unwrap()),
            [Some(true)]
        );
        let pair = || vec![text(&[Some("the red cat")]), text(&[Some("Red cat!")])];
        assert_eq!(flags(&run("exact_match", pair(), DataType::Boolean).unwrap()), [Some(true)]);
        assert_eq!(values(&run("word_f1", pair(), DataType::Float64).unwrap()), [Some(1.0)]);
        assert_eq!(values(&run("rouge_l", pair(), DataType::Float64).unwrap()), [Some(0.8)]);
    }

    #[test]
    fn spans_survive_in_the_union() {
        let span = |doc: &str, start: u64, end: u64| Span { doc: Arc::from(doc), start, end, at: 0 };
        let check = |kept: Vec<Span>, gold: Vec<Span>, expected: bool| {
            let (kept, gold): (ArrayRef, ArrayRef) = (
                Arc::new(arrays::span_list(&[kept])),
                Arc::new(arrays::span_list(std::slice::from_ref(&gold))),
            );
            let found = run("span_survives", vec![kept, gold.clone()], DataType::Boolean).unwrap();
            assert_eq!(flags(&found), [Some(expected)], "{gold:?}");
        };
        let kept = || vec![span("d", 5, 10), span("d", 0, 5), span("e", 0, 99)];
        check(kept(), vec![span("d", 3, 8)], true);
        check(kept(), vec![span("d", 3, 11)], false);
        check(kept(), vec![span("f", 3, 8), span("e", 0, 1)], true);
        check(kept(), vec![span("d", 3, 3)], false);
        check(vec![span("d", 0, 4), span("d", 5, 9)], vec![span("d", 2, 7)], false);
        check(Vec::new(), vec![span("d", 2, 7)], false);
    }

    #[test]
    fn nested_spans_are_taken_together() {
        let span = |start: u64, end: u64| Span { doc: Arc::from("d"), start, end, at: 0 };
        let inner = arrays::span_list(&[vec![span(0, 5)], vec![span(5, 9)]]);
        let item = Arc::new(Field::new("item", inner.data_type().clone(), false));
        let kept: ArrayRef = Arc::new(arrays::list_of(item, Arc::new(inner), [2].into_iter()));
        let gold: ArrayRef = Arc::new(arrays::span_list(&[vec![span(3, 8)]]));
        assert_eq!(flags(&run("span_survives", vec![kept, gold], DataType::Boolean).unwrap()), [Some(true)]);
    }

    #[test]
    fn rankings() {
        let list = || ints(vec![Some(vec![Some(7), Some(8), Some(9)]), None]);
        let gold = || int(&[Some(8), Some(8)]);
        let at = |depth: i64| {
            let args = vec![list(), gold(), int(&[Some(depth); 2])];
            flags(&run("hit_at", args, DataType::Boolean).unwrap())
        };
        assert_eq!(
            (at(2), at(1), at(-1)),
            (vec![Some(true), None], vec![Some(false), None], vec![Some(false), None])
        );
        let kept = texts_of(&[&["", "text"], &[]]);
        let found = run("hit_in", vec![list(), kept, gold()], DataType::Boolean).unwrap();
        assert_eq!(flags(&found), [Some(true), None]);
        let ranks = run("reciprocal_rank", vec![list(), gold()], DataType::Float64).unwrap();
        assert_eq!(values(&ranks), [Some(0.5), None]);
    }

    #[test]
    fn grades() {
        let names = MapFieldNames { entry: "entries".into(), key: "keys".into(), value: "values".into() };
        let mut map = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
        for (id, grade) in [("a", 2), ("b", 1), ("c", 0)] {
            map.keys().append_value(id);
            map.values().append_value(grade);
        }
        map.append(true).unwrap();
        let map: ArrayRef = Arc::new(map.finish());
        let args = || vec![texts_of(&[&["b", "x"]]), map.clone(), int(&[Some(2)])];
        assert_eq!(values(&run("recall_at", args(), DataType::Float64).unwrap()), [Some(0.5)]);
        let expected = 1.0 / (2.0 + 1.0 / 3f64.log2());
        let found = values(&run("ndcg", args(), DataType::Float64).unwrap())[0].unwrap();
        assert!((found - expected).abs() < 1e-12);
        let alike = vec![texts_of(&[&["x", "b"]]), texts_of(&[&["a", "b"]]), int(&[Some(2)])];
        assert_eq!(values(&run("recall_at", alike.clone(), DataType::Float64).unwrap()), [Some(0.5)]);
        let found = values(&run("ndcg", alike, DataType::Float64).unwrap())[0].unwrap();
        assert!((found - (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
    }

    #[test]
    fn cosines() {
        let vectors = |values: Vec<f32>| -> ArrayRef {
            let item = Arc::new(Field::new("item", DataType::Float32, false));
            Arc::new(FixedSizeListArray::new(item, 2, Arc::new(Float32Array::from(values)), None))
        };
        let left = vectors(vec![9.0, 9.0, 1.0, 0.0, 3.0, 4.0, 0.0, 0.0]).slice(1, 3);
        let right = vectors(vec![0.0, 2.0, 6.0, 8.0, 1.0, 1.0]);
        assert_eq!(
            values(&run("cosine", vec![left, right], DataType::Float64).unwrap()),
            [Some(0.0), Some(1.0), Some(0.0)]
        );
        assert_eq!(sign_cosine(&[0b1111_0000], &[0b1111_1111]), 0.0);
        assert_eq!(sign_cosine(&[1, 2], &[1, 2]), 1.0);
    }
}
