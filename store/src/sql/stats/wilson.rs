//! Interval of a share.

use super::StatsError;
use super::distributions::normal_quantile;

/// Score interval (low, high) of the share behind `successes` among `count` trials (Wilson, Journal of the American Statistical
/// Association 1927), as 0.95 for the level; the whole of 0..=1 without trials. O(1).
///
/// # Errors
/// [`StatsError::Argument`] for more successes than trials and for a level that is not between 0 and 1.
pub fn wilson(successes: u64, count: u64, level: f64) -> Result<(f64, f64), StatsError> {
    if successes > count {
        return Err(StatsError::argument("wilson", "successes", successes, "at most the number of trials"));
    }
    if !(level > 0.0 && level < 1.0) {
        return Err(StatsError::argument("wilson", "level", level, "a number between 0 and 1"));
    }
    if count == 0 {
        return Ok((0.0, 1.0));
    }
    let n = count as f64;
    let share = successes as f64 / n;
    let z = normal_quantile(0.5 + level / 2.0);
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let low = if successes == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if successes == count { 1.0 } else { (middle + half).min(1.0) };
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_and_of_all() {
        assert_eq!(wilson(0, 0, 0.95), Ok((0.0, 1.0)));
        let (low, high) = wilson(0, 100, 0.95).unwrap();
        assert!(low == 0.0 && (high - 0.036_993_5).abs() < 1e-6, "{high}");
        let (low, high) = wilson(100, 100, 0.95).unwrap();
        assert!((low - 0.963_006_5).abs() < 1e-6 && high == 1.0, "{low}");
        assert!(wilson(2, 1, 0.95).is_err() && wilson(1, 2, 1.0).is_err() && wilson(1, 2, f64::NAN).is_err());
    }
}
