//! What a repetition costs this process: time, processor time, memory.

use std::time::Instant;

use super::nanoseconds;

/// Clock ticks of a second in `/proc`; fixed in the interface of Linux, whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// Costs of one repetition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Wall time.
    pub(super) wall_ns: u64,
    /// Processor time of all threads, in steps of 10 ms; none where the system does not tell.
    pub(super) cpu_ns: Option<u64>,
    /// Largest resident memory, of the repetition where the system forgets the earlier peak on request, else of the process.
    pub(super) rss_peak_bytes: Option<u64>,
}

/// Runs from [`Meter::start`] to [`Meter::stop`].
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    cpu_ns: Option<u64>,
}

impl Meter {
    /// Starts and forgets the peak of memory.
    pub(super) fn start() -> Self {
        // Where this is not allowed the peak is that of the process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { cpu_ns: cpu_ns(), started: Instant::now() }
    }

    pub(super) fn stop(self) -> Cost {
        let wall_ns = nanoseconds(self.started);
        let spent = cpu_ns().zip(self.cpu_ns).map(|(now, before)| now.saturating_sub(before));
        Cost { wall_ns, cpu_ns: spent, rss_peak_bytes: rss_peak_bytes() }
    }
}

fn cpu_ns() -> Option<u64> {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// User and system time: fields 14 and 15; the second field may hold blanks and ends at the last parenthesis.
fn cpu_of(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    (user + system).checked_mul(1_000_000_000 / TICKS_PER_SECOND)
}

fn rss_peak_bytes() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name_of_the_process() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_of(stat), Some(120_000_000));
        assert_eq!(cpu_of("42 (a"), None);
        assert_eq!(peak_of("VmPeak:\t9 kB\nVmHWM:\t  12 kB\nVmRSS:\t 3 kB\n"), Some(12_288));
        assert_eq!(peak_of("VmRSS: 3 kB"), None);
    }
}
