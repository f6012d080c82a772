//! Names of runs: ULIDs, which sort by time, and the calendar month of a time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::rows::Micros;

/// Crockford's alphabet: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random bits of an id; 48 bits of milliseconds stand before them.
const RANDOM_BITS: u32 = 80;
/// Characters of an id.
const ID_LENGTH: usize = 26;

/// The last id that this process gave out.
static LAST: Mutex<u128> = Mutex::new(0);

/// A new run id: 26 characters, milliseconds since 1970 and then 80 random bits. Ids of one process grow strictly, even
/// within a millisecond.
#[must_use]
pub fn new_run_id(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_millis() & ((1 << 48) - 1);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(&since.as_nanos().to_le_bytes());
    // The keys of the standard library's hash maps are random numbers of the system.
    hasher.update(&RandomState::new().build_hasher().finish().to_le_bytes());
    let mut random = [0u8; 16];
    hasher.finalize_xof().fill(&mut random);
    let random = u128::from_le_bytes(random) & ((1 << RANDOM_BITS) - 1);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut id = (millis << RANDOM_BITS) | random;
    if id >> RANDOM_BITS == *last >> RANDOM_BITS && id <= *last {
        id = *last + 1;
    }
    *last = id;
    encode(id)
}

fn encode(id: u128) -> String {
    (0..ID_LENGTH as u32).rev().map(|place| DIGITS[(id >> (5 * place)) as usize & 31] as char).collect()
}

/// When an id was made, in microseconds; none for a name that is not an id.
#[must_use]
pub fn run_id_time(id: &str) -> Option<Micros> {
    if id.len() != ID_LENGTH {
        return None;
    }
    let mut number: u128 = 0;
    for byte in id.bytes() {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        number = number.checked_mul(32)?.checked_add(digit as u128)?;
    }
    Micros::try_from(number >> RANDOM_BITS).ok()?.checked_mul(1_000)
}

/// The month of a time as `YYYY-MM`, in UTC. Algorithm: Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`. Years before 0 and after 9999 are the nearest of these.
pub(super) fn month_of(time: Micros) -> String {
    let days = time.div_euclid(86_400_000_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{:04}-{month:02}", year.clamp(0, 9_999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ids_grow_and_say_when_they_were_made() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let ids: Vec<String> = (0..1_000).map(|_| new_run_id(now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| run_id_time(id) == Some(1_700_000_000_123_000)));
        let later = new_run_id(now + Duration::from_millis(1));
        assert!(later > ids[999]);
        assert_eq!(run_id_time("not an id"), None);
        assert_eq!(run_id_time(&"Z".repeat(26)), None);
    }

    #[test]
    fn months_of_known_days() {
        let day = 86_400_000_000i64;
        for (days, month) in [
            (0, "1970-01"),
            (30, "1970-01"),
            (31, "1970-02"),
            (-1, "1969-12"),
            (11_016, "2000-02"), // 29 February
            (11_017, "2000-03"),
            (19_722, "2023-12"),
            (19_723, "2024-01"),
        ] {
            assert_eq!(month_of(days * day), month, "{days}");
            assert_eq!(month_of(days * day + day - 1), month, "{days}, last microsecond");
        }
    }
}
