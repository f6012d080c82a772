//! Witnesses of noise: what else the machine did while something was measured.

use std::fs;

use super::rows::Noise;

/// Clock ticks of `/proc/stat` in one second; fixed by the kernel's interface to programs.
const TICKS_PER_SECOND: f32 = 100.0;

/// Counters at the beginning of a measurement.
#[derive(Debug, Clone)]
pub struct NoiseProbe {
    switches: Option<u64>,
    stolen_ticks: Option<u64>,
}

impl NoiseProbe {
    /// Reads the counters. Cost: two small files; call it outside the timed region.
    #[must_use]
    pub fn begin() -> Self {
        Self { switches: involuntary_switches(), stolen_ticks: stolen_ticks() }
    }

    /// What happened since [`NoiseProbe::begin`]. What the system does not say is none. Involuntary context switches are
    /// those of the process's first thread.
    #[must_use]
    pub fn end(&self) -> Noise {
        let since = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?) as f32);
        Noise {
            load1: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            ctx_switches_invol: since(self.switches, involuntary_switches()),
            steal_ms: since(self.stolen_ticks, stolen_ticks())
                .map(|ticks| ticks * 1_000.0 / TICKS_PER_SECOND),
            cpu_mhz_mean: mean_clock(),
            temp_c: hottest_package(),
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn involuntary_switches() -> Option<u64> {
    let text = read("/proc/self/status")?;
    text.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Ticks of all cores that the hypervisor gave to others: the eighth number of the first line.
fn stolen_ticks() -> Option<u64> {
    let text = read("/proc/stat")?;
    text.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

fn mean_clock() -> Option<f32> {
    let text = read("/proc/cpuinfo")?;
    let clocks: Vec<f32> = text
        .lines()
        .filter(|line| line.starts_with("cpu MHz"))
        .filter_map(|line| line.split(':').nth(1)?.trim().parse().ok())
        .collect();
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f32>() / clocks.len() as f32)
}

/// Degrees Celsius of the hottest zone that is a processor package.
fn hottest_package() -> Option<f32> {
    let zones = (0..32).filter_map(|zone| {
        let folder = format!("/sys/class/thermal/thermal_zone{zone}");
        let kind = read(&format!("{folder}/type"))?;
        let is_package = ["x86_pkg_temp", "cpu-thermal", "cpu_thermal"].contains(&kind.trim());
        let thousandths: f32 = read(&format!("{folder}/temp"))?.trim().parse().ok()?;
        is_package.then_some(thousandths / 1_000.0)
    });
    zones.reduce(f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_run_backwards_and_nothing_is_infinite() {
        let noise = NoiseProbe::begin().end();
        let all = [noise.load1, noise.ctx_switches_invol, noise.steal_ms, noise.cpu_mhz_mean, noise.temp_c];
        assert!(all.into_iter().flatten().all(|value| value.is_finite() && value >= 0.0), "{noise:?}");
        let later = NoiseProbe { switches: Some(u64::MAX), stolen_ticks: None };
        let noise = later.end();
        assert_eq!(noise.steal_ms, None);
        assert!(noise.ctx_switches_invol.is_none_or(|count| count == 0.0));
    }
}
