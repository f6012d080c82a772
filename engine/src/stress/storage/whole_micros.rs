//! Latencies as `db_bench` keeps them: whole microseconds, in the buckets of RocksDB's `HistogramImpl` (monitoring/histogram.cc).
//!
//! A percentile of it is drawn as if the values of a bucket lay evenly between its limits. A bucket from 2 to 3 holds calls that
//! were counted as 3, so the middle of it says 2.5: half a microsecond less than the calls took, whatever they are. That is
//! a third of a hot read, so both sides of a pair are measured with this one.

/// Limits end beyond an hour of microseconds; longer calls count in the last bucket.
const LIMIT_MAX: u64 = 1 << 32;

/// Counts by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WholeMicros {
    /// Largest value of each bucket.
    limits: Vec<u64>,
    counts: Vec<u64>,
    min: u64,
    max: u64,
}

impl WholeMicros {
    pub(super) fn new() -> Self {
        let mut limits = vec![1, 2];
        let mut exact = 2.0_f64;
        while exact < LIMIT_MAX as f64 {
            exact *= 1.5;
            // Two digits are kept, so that the limits can be read.
            let (mut limit, mut power_of_ten) = (exact as u64, 1);
            while limit / 10 > 10 {
                limit /= 10;
                power_of_ten *= 10;
            }
            limits.push(limit * power_of_ten);
        }
        let counts = vec![0; limits.len()];
        Self { limits, counts, min: u64::MAX, max: 0 }
    }

    pub(super) fn add(&mut self, micros: u64) {
        let bucket = self.limits.partition_point(|limit| *limit < micros).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.min = self.min.min(micros);
        self.max = self.max.max(micros);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Microseconds; none of nothing.
    pub(super) fn median(&self) -> Option<f64> {
        let threshold = self.counts.iter().sum::<u64>() as f64 / 2.0;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= threshold {
                let left = if bucket == 0 { 0 } else { self.limits[bucket - 1] } as f64;
                let place = (threshold - below as f64) / *count as f64;
                let at = left + (self.limits[bucket] as f64 - left) * place;
                return Some(at.clamp(self.min as f64, self.max as f64));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_rocksdb() {
        let limits = WholeMicros::new().limits;
        assert_eq!(limits[..16], [1, 2, 3, 4, 6, 10, 15, 22, 34, 51, 76, 110, 170, 250, 380, 580]);
    }

    #[test]
    fn medians_are_drawn_within_a_bucket() {
        let mut one = WholeMicros::new();
        assert_eq!(one.median(), None);
        let mut other = one.clone();
        (0..70).for_each(|_| one.add(1));
        (0..30).for_each(|_| other.add(2));
        one.add_all(&other);
        // Half of a hundred in a bucket of seventy from 0 to 1, but not less than the smallest value.
        assert_eq!(one.median(), Some(1.0));
        let mut reads = WholeMicros::new();
        (0..10).for_each(|_| reads.add(3));
        (0..10).for_each(|_| reads.add(4));
        assert_eq!(reads.median(), Some(3.0));
        (0..20).for_each(|_| reads.add(12));
        assert_eq!(reads.median(), Some(4.0));
        reads.add(u64::MAX);
        assert_eq!(reads.median(), Some(10.125));
    }
}
