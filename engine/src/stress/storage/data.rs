//! Keys, values, and which of them are asked for.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::EngineError;
use crate::measure::Random;
use crate::stress::fault;

/// Bytes of a key, as in `db_bench --key_size=16`.
pub(super) const KEY_BYTES: usize = 16;
/// Bytes that values are cut from, as in `db_bench`.
const TEXT_BYTES: usize = 1 << 20;
/// Bytes of which the first part is drawn and the rest repeats it, as in `db_bench`.
const PIECE_BYTES: usize = 100;
/// Bytes that are drawn of each piece: compresses to about this share.
const DRAWN_BYTES: usize = 25;
/// Skew of hot reads (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994; the constant of YCSB).
const ZIPF_THETA: f64 = 0.99;
/// Range of the exponent of skewed reads, as `db_bench --read_random_exp_range` has it.
pub(super) const EXPONENT_RANGE: f64 = 20.0;

/// The key of a record: keys sort as their numbers.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// Endings of the files that real values are cut from.
const TEXT_ENDINGS: [&str; 6] = ["json", "jsonl", "md", "txt", "csv", "promptc"];
/// Most bytes of files that are read: more than a block cache of a small machine.
const FILES_BYTES_MAX: usize = 64 << 20;
/// Deepest folder that is looked into.
const FOLDERS_DEEP: u32 = 16;

/// Values: cut from files, or such that compress to a quarter, made as `db_bench --compression_ratio=0.25` makes them.
#[derive(Debug)]
pub(super) struct Values {
    text: Vec<u8>,
    value_bytes: usize,
}

impl Values {
    pub(super) fn new(value_bytes: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut text = Vec::with_capacity(TEXT_BYTES + value_bytes);
        while text.len() < TEXT_BYTES.max(value_bytes + 1) {
            let drawn: Vec<u8> = (0..DRAWN_BYTES).map(|_| b' ' + random.below(95) as u8).collect();
            text.extend(drawn.iter().cycle().take(PIECE_BYTES));
        }
        Self { text, value_bytes }
    }

    /// Neighbouring pieces of the JSON and text files at or below `path`, in the order of their names.
    ///
    /// # Errors
    /// It cannot be read, or holds too little text for one value.
    pub(super) fn of_files(path: &Path, value_bytes: usize) -> Result<Self, EngineError> {
        let mut text = Vec::new();
        gather(path, 0, &mut text)
            .map_err(|source| EngineError::Program { path: path.to_path_buf(), source })?;
        if text.len() <= value_bytes {
            let message = format!(
                "{}: {} bytes of JSON and text, expected more than {value_bytes}",
                path.display(),
                text.len()
            );
            let help = "name a folder with more files, or ask for shorter values with `--value-bytes`";
            return Err(fault(message, help));
        }
        Ok(Self { text, value_bytes })
    }

    /// One of them; neighbours differ.
    pub(super) fn at(&self, number: u64) -> &[u8] {
        let places = (self.text.len() - self.value_bytes) as u64;
        let start = (number.wrapping_mul(self.value_bytes as u64) % places) as usize;
        &self.text[start..start + self.value_bytes]
    }
}

/// Adds the text of a file, or of the files below a folder, up to the bound.
fn gather(path: &Path, depth: u32, text: &mut Vec<u8>) -> io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        entries.sort();
        let below = entries.iter().filter(|_| depth < FOLDERS_DEEP);
        return below.into_iter().try_for_each(|entry| gather(entry, depth + 1, text));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if text.len() < FILES_BYTES_MAX && (depth == 0 || TEXT_ENDINGS.contains(&ending)) {
        let room = (FILES_BYTES_MAX - text.len()) as u64;
        fs::File::open(path)?.take(room).read_to_end(text)?;
    }
    Ok(())
}

/// Which of `count` records a reader asks for.
#[derive(Debug)]
pub(super) enum Draw {
    /// Each as often.
    Uniform { count: u64 },
    /// Few very often; the popular ones are spread over the keys.
    Zipf { count: u64, zeta: f64, eta: f64 },
    /// As `db_bench --read_random_exp_range` draws.
    Exponential { count: u64 },
}

impl Draw {
    /// Costs one power per record.
    pub(super) fn zipf(count: u64) -> Self {
        let sum = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-ZIPF_THETA)).sum::<f64>();
        let zeta = sum(count);
        let share = (2.0 / count as f64).powf(1.0 - ZIPF_THETA);
        Self::Zipf { count, zeta, eta: (1.0 - share) / (1.0 - sum(2) / zeta) }
    }

    pub(super) fn next(&self, random: &mut Random) -> u64 {
        match *self {
            Self::Uniform { count } => random.below(count),
            Self::Zipf { count, zeta, eta } => {
                let unit = random.unit();
                let rank = match unit * zeta {
                    mass if mass < 1.0 => 0,
                    mass if mass < 1.0 + 0.5_f64.powf(ZIPF_THETA) => 1,
                    _ => (count as f64 * (eta * unit - eta + 1.0).powf(1.0 / (1.0 - ZIPF_THETA))) as u64,
                };
                scattered(rank.min(count - 1), count)
            }
            Self::Exponential { count } => {
                let rank = (-EXPONENT_RANGE * random.unit()).exp() * count as f64;
                scattered(rank as u64, count)
            }
        }
    }
}

/// Spreads ranks over the keys; the prime is that of `db_bench`.
fn scattered(rank: u64, count: u64) -> u64 {
    rank.wrapping_mul(0x5bd1_e995) % count
}

/// The numbers below `count`, each once, in an order that is not that of the keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shuffled {
    count: u64,
    step: u64,
}

impl Shuffled {
    pub(super) fn new(count: u64) -> Self {
        let common = |mut one: u64, mut other: u64| {
            while other != 0 {
                (one, other) = (other, one % other);
            }
            one
        };
        // A step near the golden section that shares no factor with the count visits every number once.
        let mut step = (count as f64 * 0.618) as u64 | 1;
        while common(step, count) != 1 {
            step += 2;
        }
        Self { count, step }
    }

    /// The number at a place below `count`.
    pub(super) fn at(self, place: u64) -> u64 {
        (u128::from(place) * u128::from(self.step) % u128::from(self.count)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for count in [1, 2, 3, 10, 999, 1_000, 4_096, 30_030] {
            let mut all: Vec<u64> = (0..count).map(|place| Shuffled::new(count).at(place)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn hot_records_take_the_share_that_the_law_says() {
        let count = 10_000;
        for (draw, lowest, highest) in [
            // The luckiest thousand, each drawn 20 times on average with a deviation of 4.5.
            (Draw::Uniform { count }, 0.13, 0.15),
            // The thousand most popular: H(1000) / H(10000) with exponent .99.
            (Draw::zipf(count), 0.74, 0.80),
            // exp(-20 u) < .1 for all but 2.3 / 20 of the draws.
            (Draw::Exponential { count }, 0.85, 0.92),
        ] {
            let mut random = Random::new(1);
            let mut counts = vec![0_u32; count as usize];
            (0..200_000).for_each(|_| counts[draw.next(&mut random) as usize] += 1);
            counts.sort_unstable_by(|one, other| other.cmp(one));
            let share = f64::from(counts[..1_000].iter().sum::<u32>()) / 200_000.0;
            assert!((lowest..highest).contains(&share), "{draw:?}: {share}");
        }
    }

    #[test]
    fn values_repeat_a_quarter_and_have_their_size() {
        let values = Values::new(1_024, 3);
        assert_eq!(values.at(7).len(), 1_024);
        assert_ne!(values.at(7), values.at(8));
        assert_eq!(values.text[..25], values.text[25..50]);
        assert_ne!(values.text[..25], values.text[100..125]);
        assert_eq!(Values::new(3 << 20, 3).at(9).len(), 3 << 20);
        assert_eq!(Values::new(0, 3).at(9).len(), 0);
    }

    #[test]
    fn values_of_files_are_their_pieces() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deeper")).unwrap();
        fs::write(dir.path().join("a.json"), "0123456789").unwrap();
        fs::write(dir.path().join("deeper/b.txt"), "abcdefghij").unwrap();
        fs::write(dir.path().join("c.bin"), "never").unwrap();
        let values = Values::of_files(dir.path(), 4).unwrap();
        assert_eq!(values.text, b"0123456789abcdefghij");
        assert_eq!((values.at(0), values.at(3)), (b"0123".as_slice(), b"cdef".as_slice()));
        assert_eq!(Values::of_files(&dir.path().join("c.bin"), 4).unwrap().text, b"never");
        assert!(Values::of_files(dir.path(), 20).is_err());
        assert!(Values::of_files(&dir.path().join("absent"), 4).is_err());
    }
}
