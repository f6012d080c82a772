//! A histogram of HdrHistogram, from the text of its version 2 encoding.
//!
//! ```text
//! base64 --> cookie, length, zlib stream --> cookie, length, offset, digits, lowest, highest, ratio, counts
//! ```
//!
//! Counts are zig-zag LEB128 integers of at most nine bytes; a negative one is a run of empty buckets. Buckets double in
//! width each time their number has doubled, so that a value keeps its `digits` decimal digits (Gil Tene's HdrHistogram,
//! `AbstractHistogram.java`, of which the arithmetic of indexes is taken over).

use super::super::Summary;
use flate2::read::ZlibDecoder;
use std::collections::BTreeMap;
use std::io::Read;

/// Encoded counts, and the same within a zlib stream. The low byte says version 2 with its size of words.
const COOKIE: u32 = 0x1c84_9313;
const COOKIE_COMPRESSED: u32 = 0x1c84_9314;

/// Largest encoded histogram: 64 bits of range at five digits, nine bytes for each bucket, is 45 MB.
const PAYLOAD_BYTES_MAX: u64 = 48 << 20;

/// Bytes of the head: cookie, length, offset, digits, lowest, highest, ratio.
const HEAD_BYTES: usize = 40;

/// Recorded values by bucket. Histograms of different digits can be added.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Histogram {
    /// Lowest value and width of a bucket, and how many values lie in it.
    buckets: BTreeMap<(u64, u64), u64>,
    count: u64,
}

impl Histogram {
    /// Adds the values of an encoded histogram.
    pub(super) fn add_encoded(&mut self, text: &str) -> Result<(), String> {
        let bytes = base64(text)?;
        let (cookie, rest) = number(&bytes)?;
        match cookie {
            COOKIE_COMPRESSED => {
                let (_, stream) = number(rest)?;
                let mut payload = Vec::new();
                let mut decoder = ZlibDecoder::new(stream).take(PAYLOAD_BYTES_MAX + 1);
                decoder
                    .read_to_end(&mut payload)
                    .map_err(|error| format!("the zlib stream is damaged: {error}"))?;
                if payload.len() as u64 > PAYLOAD_BYTES_MAX {
                    return Err(format!("more than {PAYLOAD_BYTES_MAX} bytes of counts"));
                }
                self.add_payload(&payload)
            }
            COOKIE => self.add_payload(&bytes),
            _ => Err(format!("cookie {cookie:#010x}, expected a histogram of version 2")),
        }
    }

    fn add_payload(&mut self, payload: &[u8]) -> Result<(), String> {
        let head: &[u8; HEAD_BYTES] = payload.first_chunk().ok_or("the head of the histogram is cut off")?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if word(0) != COOKIE {
            return Err(format!("cookie {:#010x} in the zlib stream, expected version 2", word(0)));
        }
        let (digits, lowest, ratio) = (word(12), long(16), f64::from_bits(long(32)));
        if word(8) != 0 || !(1..=5).contains(&digits) || lowest == 0 || ratio != 1.0 {
            return Err(format!(
                "offset {}, {digits} digits, lowest value {lowest}, ratio {ratio}: not a histogram of whole numbers",
                word(8)
            ));
        }
        let counts =
            payload.get(HEAD_BYTES..HEAD_BYTES + word(4) as usize).ok_or("the counts are cut off")?;
        self.add_counts(counts, Layout::new(digits, lowest))
    }

    fn add_counts(&mut self, mut counts: &[u8], layout: Layout) -> Result<(), String> {
        let mut idx = 0_u64;
        while !counts.is_empty() {
            let count = zigzag(&mut counts)?;
            match u64::try_from(count) {
                Err(_) => idx = idx.checked_add(count.unsigned_abs()).ok_or("a run beyond all buckets")?,
                Ok(0) => idx += 1,
                Ok(count) => {
                    let bucket = layout.bucket(idx).ok_or("a count beyond the largest value")?;
                    let sum = self.count.checked_add(count).ok_or("more values than 64 bits count")?;
                    *self.buckets.entry(bucket).or_insert(0) += count;
                    self.count = sum;
                    idx += 1;
                }
            }
        }
        Ok(())
    }

    /// Number of values.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The highest value that is counted like the one of rank `ceil(p * count)`, as HdrHistogram answers.
    fn quantile(&self, p: f64) -> Option<f64> {
        let rank = ((p * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0_u64;
        let found = self.buckets.iter().find(|(_, count)| {
            below = below.saturating_add(**count);
            below >= rank
        });
        found.map(|(&(lowest, width), _)| (lowest + (width - 1)) as f64)
    }

    /// Summary in the unit of `factor` values. Mean and deviation count each value as the middle of its bucket; there is no
    /// median of deviations and no interval, which would need the values themselves.
    pub(super) fn summary(&self, factor: f64) -> Summary {
        let middle = |&(lowest, width): &(u64, u64)| (lowest + width / 2) as f64;
        let total = self.count as f64;
        let mean =
            self.buckets.iter().map(|(bucket, &count)| middle(bucket) * count as f64).sum::<f64>() / total;
        let squares =
            self.buckets.iter().map(|(bucket, &count)| (middle(bucket) - mean).powi(2) * count as f64);
        let stddev = (self.count > 1).then(|| (squares.sum::<f64>() / (total - 1.0)).sqrt());
        let quantile = |p: f64| {
            let rarer = (1.0 - p).min(p);
            let is_known = p == 0.5 || total * rarer >= 10.0 - 1e-6;
            self.quantile(p).filter(|_| is_known).map(|value| value * factor)
        };
        let fences = self.quantile(0.25).zip(self.quantile(0.75)).map(|(low, high)| {
            let reach = 1.5 * (high - low);
            (low - reach, high + reach)
        });
        let outside = |is_outside: &dyn Fn(f64, (f64, f64)) -> bool| -> u32 {
            let Some(fences) = fences else { return 0 };
            let counts = self.buckets.iter().filter(|(bucket, _)| is_outside(middle(bucket), fences));
            counts
                .fold(0_u32, |sum, (_, &count)| sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)))
        };
        Summary {
            n_samples: u32::try_from(self.count).unwrap_or(u32::MAX),
            median: quantile(0.5),
            mean: (self.count > 0).then_some(mean * factor),
            stddev: stddev.map(|stddev| stddev * factor),
            min: self.buckets.keys().next().map(|&(lowest, _)| lowest as f64 * factor),
            max: self.quantile(1.0).map(|value| value * factor),
            p05: quantile(0.05),
            p25: quantile(0.25),
            p75: quantile(0.75),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            outliers_low: outside(&|value, (low, _)| value < low),
            outliers_high: outside(&|value, (_, high)| value > high),
            ..Summary::default()
        }
    }
}

/// Which values a bucket counts.
#[derive(Clone, Copy)]
struct Layout {
    /// Power of two of the finest width.
    unit_magnitude: u32,
    /// Power of two of half the buckets of one width.
    half_magnitude: u32,
}

impl Layout {
    /// `digits` from 1 to 5, `lowest` from 1.
    fn new(digits: u32, lowest: u64) -> Self {
        let finest_count = 2 * 10_u64.pow(digits);
        Self {
            unit_magnitude: lowest.ilog2(),
            half_magnitude: finest_count.next_power_of_two().trailing_zeros() - 1,
        }
    }

    /// Lowest value and width of a bucket; none if it is beyond 63 bits.
    fn bucket(self, idx: u64) -> Option<(u64, u64)> {
        let half_count = 1_u64 << self.half_magnitude;
        let (doublings, step) = match idx >> self.half_magnitude {
            0 => (0, idx),
            blocks => (u32::try_from(blocks - 1).ok()?, (idx & (half_count - 1)) + half_count),
        };
        let shift = doublings.checked_add(self.unit_magnitude).filter(|&shift| shift < 63)?;
        let is_within = step.leading_zeros() > shift + 1;
        (step == 0 || is_within).then(|| (step << shift, 1 << shift))
    }
}

/// A big-endian integer and what follows it.
fn number(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or("the head of the histogram is cut off")?;
    Ok((u32::from_be_bytes(*head), rest))
}

/// A zig-zag LEB128 integer of at most nine bytes, of which the ninth has eight bits.
fn zigzag(bytes: &mut &[u8]) -> Result<i64, String> {
    let mut value = 0_u64;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first().ok_or("a count is cut off")?;
        *bytes = rest;
        if place == 8 {
            value |= u64::from(byte) << 56;
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// The bytes of a text in the standard alphabet of base64 (RFC 4648, section 4), with or without padding.
fn base64(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut bit_count) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("byte {byte:#04x} in base64")),
        };
        bits = (bits << 6 | u32::from(sextet)) & 0xfff;
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count & 0xff) as u8);
        }
    }
    // A lone sextet at the end is no byte, and bits that are left over are zero.
    if bit_count == 6 || bits & ((1 << bit_count) - 1) != 0 {
        return Err("base64 is cut off".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("Zg==").unwrap(), b"f");
        assert_eq!(base64("Zm9vYmE").unwrap(), b"fooba");
        assert_eq!(base64("Zm9vYmFy").unwrap(), b"foobar");
        assert!(base64("Zm9vYmFyZ").is_err() && base64("Zh==").is_err() && base64("Zm 9").is_err());
    }

    #[test]
    fn zigzag_integers_are_decoded() {
        let all = |mut bytes: &[u8]| -> Vec<i64> {
            let mut found = Vec::new();
            while !bytes.is_empty() {
                found.push(zigzag(&mut bytes).unwrap());
            }
            found
        };
        assert_eq!(all(&[0, 1, 2, 3, 0x80, 0x01, 0xff, 0x01]), [0, -1, 1, -2, 64, -128]);
        assert_eq!(all(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), [i64::MAX]);
        assert!(zigzag(&mut [0x80_u8].as_slice()).is_err());
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for (digits, lowest) in [(1, 1), (2, 1), (3, 1), (3, 1_000), (5, 7)] {
            let layout = Layout::new(digits, lowest);
            let mut next = 0;
            for idx in 0.. {
                let Some((start, width)) = layout.bucket(idx) else { break };
                assert_eq!(start, next, "digits {digits}, lowest {lowest}, bucket {idx}");
                // Twice the digits per power of ten, so that both neighbours are told apart.
                assert!(
                    idx < 20
                        || width as f64
                            <= (start as f64 / 10_f64.powi(digits.cast_signed())).max(lowest as f64)
                );
                next = start + width;
            }
            assert!(next >= 1 << 62, "digits {digits} reach {next}");
        }
    }
}
