//! Statistics of a run of values: of a group, of a window, or of a list within one row.
//!
//! Nulls are skipped. Whole numbers are added and compared exactly; doubles are added by pairs in the order of the values. Results in
//! a whole unit (`tok`, `size`, `duration`) are rounded down.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;

use super::numeric::{Number, Numbers, fault, pairwise_sum};
use crate::error::EngineError;

/// A statistic of a run of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Found {
    /// There is none: no values, or too few.
    Nothing,
    /// A computed number.
    Computed(Number),
    /// One of the values: its row.
    At(usize),
}

/// Which statistic is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// Name of the aggregate in the language.
    pub(crate) function: String,
    /// The share of `quantile`.
    pub(crate) share: Option<f64>,
    /// Whether the result's type holds whole numbers only.
    pub(crate) is_whole: bool,
}

/// A column with its numbers, read once.
pub(crate) struct Values<'a> {
    array: &'a ArrayRef,
    numbers: Option<Numbers>,
}

impl<'a> Values<'a> {
    /// # Errors
    /// [`EngineError::Internal`] if Arrow cannot convert the column.
    pub(crate) fn new(array: &'a ArrayRef) -> Result<Self, EngineError> {
        let is_number = Numbers::has(array.data_type());
        let numbers = if is_number { Some(Numbers::of(array, "statistics")?) } else { None };
        Ok(Self { array, numbers })
    }

    fn numbers(&self, function: &str) -> Result<&Numbers, EngineError> {
        let found =
            || EngineError::internal("statistics", format!("`{function}` of {}", self.array.data_type()));
        self.numbers.as_ref().ok_or_else(found)
    }

    /// The statistic of the rows. Cost: linear, `n log n` for what needs order.
    ///
    /// # Errors
    /// E2103 for a share outside of 0 to 1; [`EngineError::Internal`] for an unknown function or a type without it.
    pub(crate) fn find(&self, wanted: &Wanted, rows: Range<usize>) -> Result<Found, EngineError> {
        let Wanted { function, share, is_whole } = wanted;
        let (function, is_whole) = (function.as_str(), *is_whole);
        let mut valid: Vec<usize> = rows.filter(|row| self.array.is_valid(*row)).collect();
        if function == "count" {
            return Ok(Found::Computed(Number::Whole(valid.len() as i128)));
        }
        if valid.is_empty() {
            return Ok(Found::Nothing);
        }
        let number = match function {
            "first" => return Ok(Found::At(valid[0])),
            "min" | "max" => {
                return self
                    .extreme(&valid, if function == "min" { Ordering::Less } else { Ordering::Greater });
            }
            "p50" => return self.ranked(&mut valid, |count| (count * 50).div_ceil(100)),
            "p90" => return self.ranked(&mut valid, |count| (count * 90).div_ceil(100)),
            "p95" => return self.ranked(&mut valid, |count| (count * 95).div_ceil(100)),
            "p99" => return self.ranked(&mut valid, |count| (count * 99).div_ceil(100)),
            "quantile" => {
                let share =
                    share.ok_or_else(|| EngineError::internal("statistics", "`quantile` without a share"))?;
                if !(0.0..=1.0).contains(&share) {
                    return Err(fault(format!("share {share} is outside of 0 to 1")));
                }
                return self.ranked(&mut valid, |count| rank(share, count));
            }
            "sum" => sum(self.numbers(function)?, &valid)?,
            "mean" => mean(self.numbers(function)?, &valid, is_whole)?,
            "median" => median(self.numbers(function)?, &valid, is_whole),
            "mad" => mad(self.numbers(function)?, &valid, is_whole),
            "stddev" if valid.len() < 2 => return Ok(Found::Nothing),
            "stddev" => deviation(self.numbers(function)?, &valid),
            _ => return Err(EngineError::internal("statistics", format!("no aggregate `{function}`"))),
        };
        Ok(Found::Computed(number))
    }

    /// The first of the rows that no other is `better` than.
    fn extreme(&self, valid: &[usize], better: Ordering) -> Result<Found, EngineError> {
        let compare = make_comparator(self.array, self.array, SortOptions::default())?;
        let best = valid[1..]
            .iter()
            .fold(valid[0], |best, row| if compare(*row, best) == better { *row } else { best });
        Ok(Found::At(best))
    }

    /// The value at a rank, from 1, of the sorted values.
    fn ranked(&self, valid: &mut [usize], rank: impl Fn(usize) -> usize) -> Result<Found, EngineError> {
        let compare = make_comparator(self.array, self.array, SortOptions::default())?;
        let place = rank(valid.len()).clamp(1, valid.len()) - 1;
        let (_, row, _) =
            valid.select_nth_unstable_by(place, |left, right| compare(*left, *right).then(left.cmp(right)));
        Ok(Found::At(*row))
    }
}

/// Relative distance below which `share * count` counts as whole: a share is the double next to a decimal, so that 7 % of 100 is
/// 7.000000000000001. It is 2^13 times the error of one product and far below `1 / count`.
const RANK_TOLERANCE: f64 = 1e-12;

/// The nearest rank `ceil(share * count)` (Hyndman and Fan 1996, type 1).
fn rank(share: f64, count: usize) -> usize {
    let place = share * count as f64;
    let near = place.round();
    if (place - near).abs() <= RANK_TOLERANCE * count as f64 { near as usize } else { place.ceil() as usize }
}

fn whole_sum(values: &[i128], rows: &[usize]) -> Result<i128, EngineError> {
    let sum = rows.iter().try_fold(0i128, |sum, row| sum.checked_add(values[*row]));
    sum.ok_or_else(|| fault(format!("sum of {} values is out of range", rows.len())))
}

fn sum(numbers: &Numbers, rows: &[usize]) -> Result<Number, EngineError> {
    Ok(match numbers {
        Numbers::Whole(values) => Number::Whole(whole_sum(values, rows)?),
        Numbers::Float(values) => Number::Float(pairwise_sum(&picked(values, rows))),
    })
}

fn mean(numbers: &Numbers, rows: &[usize], is_whole: bool) -> Result<Number, EngineError> {
    Ok(match numbers {
        Numbers::Whole(values) => divided(whole_sum(values, rows)?, rows.len() as i128, is_whole),
        Numbers::Float(values) => Number::Float(float_mean(&picked(values, rows))),
    })
}

/// A quotient: rounded down without loss where the result is whole.
fn divided(value: i128, by: i128, is_whole: bool) -> Number {
    if is_whole { Number::Whole(value.div_euclid(by)) } else { Number::Float(value as f64 / by as f64) }
}

fn float_mean(values: &[f64]) -> f64 {
    pairwise_sum(values) / values.len() as f64
}

fn picked<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|row| values[*row]).collect()
}

/// Twice the median of whole numbers: exact for an even count.
fn doubled_median(mut values: Vec<i128>) -> i128 {
    values.sort_unstable();
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { 2 * values[middle] } else { values[middle - 1] + values[middle] }
}

/// Halves are added, not the sum halved: two large values must not overflow.
fn float_median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { values[middle - 1] / 2.0 + values[middle] / 2.0 }
}

/// The middle value, of an even count the mean of the two in the middle.
fn median(numbers: &Numbers, rows: &[usize], is_whole: bool) -> Number {
    match numbers {
        Numbers::Whole(values) => divided(doubled_median(picked(values, rows)), 2, is_whole),
        Numbers::Float(values) => Number::Float(float_median(picked(values, rows))),
    }
}

/// The median distance from the median, not scaled.
fn mad(numbers: &Numbers, rows: &[usize], is_whole: bool) -> Number {
    match numbers {
        Numbers::Whole(values) => {
            let values = picked(values, rows);
            let doubled = doubled_median(values.clone());
            divided(
                doubled_median(values.iter().map(|value| (2 * value - doubled).abs()).collect()),
                4,
                is_whole,
            )
        }
        Numbers::Float(values) => {
            let values = picked(values, rows);
            let median = float_median(values.clone());
            Number::Float(float_median(values.iter().map(|value| (value - median).abs()).collect()))
        }
    }
}

/// Deviation of the sample, by two passes over the values.
fn deviation(numbers: &Numbers, rows: &[usize]) -> Number {
    let values: Vec<f64> = rows.iter().map(|row| numbers.get(*row).to_float()).collect();
    let mean = float_mean(&values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean) * (value - mean)).collect();
    Number::Float((pairwise_sum(&squares) / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

    fn wanted(function: &str, share: f64, is_whole: bool) -> Wanted {
        Wanted { function: function.to_owned(), share: Some(share), is_whole }
    }

    fn find(array: ArrayRef, function: &str) -> Found {
        let len = array.len();
        Values::new(&array).unwrap().find(&wanted(function, 0.25, false), 0..len).unwrap()
    }

    fn whole(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn float(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn numbers_by_hand() {
        let computed = |number| Found::Computed(number);
        assert_eq!(find(whole(&[1, 2, 4]), "sum"), computed(Number::Whole(7)));
        assert_eq!(find(whole(&[1, 2]), "mean"), computed(Number::Float(1.5)));
        assert_eq!(find(whole(&[4, 1, 2, 3]), "median"), computed(Number::Float(2.5)));
        // Distances from 2.5: 1.5, 0.5, 0.5, 7.5.
        assert_eq!(find(whole(&[1, 2, 3, 10]), "mad"), computed(Number::Float(1.0)));
        assert_eq!(find(float(&[1.0, 2.0, 3.0, 10.0]), "mad"), computed(Number::Float(1.0)));
        assert_eq!(
            find(float(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), "stddev"),
            computed(Number::Float((32.0f64 / 7.0).sqrt()))
        );
        assert_eq!(find(float(&[2.0]), "stddev"), Found::Nothing);
        assert_eq!(find(float(&[f64::MAX, f64::MAX]), "median"), computed(Number::Float(f64::MAX)));
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
        assert_eq!(find(bools, "mean"), computed(Number::Float(0.5)));
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<i64> = (1..=100).rev().collect();
        let row_of = |value: usize| Found::At(100 - value);
        assert_eq!(find(whole(&values), "p50"), row_of(50));
        assert_eq!(find(whole(&values), "p90"), row_of(90));
        assert_eq!(find(whole(&values), "p95"), row_of(95));
        assert_eq!(find(whole(&values), "p99"), row_of(99));
        assert_eq!(find(whole(&values), "quantile"), row_of(25));
        assert_eq!(find(whole(&[7]), "p99"), Found::At(0));
        for percent in 0..=100usize {
            assert_eq!(rank(percent as f64 / 100.0, 100), percent, "{percent} % of 100");
            assert_eq!(rank(percent as f64 / 100.0, 7), (percent * 7).div_ceil(100), "{percent} % of 7");
        }
    }

    #[test]
    fn nulls_are_skipped_and_ties_take_the_first() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("b"), Some("a"), Some("a")]));
        assert_eq!(find(texts.clone(), "min"), Found::At(2));
        assert_eq!(find(texts.clone(), "max"), Found::At(1));
        assert_eq!(find(texts.clone(), "first"), Found::At(1));
        assert_eq!(find(texts.clone(), "count"), Found::Computed(Number::Whole(3)));
        assert_eq!(find(texts.slice(0, 1), "min"), Found::Nothing);
        assert!(Values::new(&texts).unwrap().find(&wanted("sum", 0.0, false), 0..4).is_err());
    }

    #[test]
    fn large_whole_means_round_down() {
        let values = whole(&[i64::MAX, i64::MAX - 3]);
        let found = Values::new(&values).unwrap().find(&wanted("mean", 0.0, true), 0..2).unwrap();
        assert_eq!(found, Found::Computed(Number::Whole(i128::from(i64::MAX) - 2)));
        assert!(Values::new(&float(&[1.0])).unwrap().find(&wanted("quantile", 1.5, false), 0..1).is_err());
    }
}
