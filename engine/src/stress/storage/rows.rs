//! Measurements as rows of the benchmark history, suite `storage`.

use hdrhistogram::Histogram;
use promptc_store::history::{ResultRow, Status, Summary};

use super::documents::document_count;
use super::{Measured, Pacing, STALL, StorageOptions, StorageReport};

/// The histogram in short, in nanoseconds. A quantile for which there are too few values is none: p needs 10 / (1 - p), below
/// the median 10 / p. There is no median of deviations and no interval, which would need the values themselves.
pub(super) fn summary_of(latencies: &Histogram<u64>) -> Summary {
    let count = latencies.len();
    if count == 0 {
        return Summary::default();
    }
    let quantile = |p: f64| {
        let is_known = count as f64 * (1.0 - p).min(p) >= 10.0 - 1e-6;
        is_known.then(|| latencies.value_at_quantile(p) as f64)
    };
    Summary {
        n_samples: u32::try_from(count).unwrap_or(u32::MAX),
        median: Some(latencies.value_at_quantile(0.5) as f64),
        mean: Some(latencies.mean()),
        stddev: (count > 1).then(|| latencies.stdev()),
        min: Some(latencies.min() as f64),
        max: Some(latencies.max() as f64),
        p05: quantile(0.05),
        p25: quantile(0.25),
        p75: quantile(0.75),
        p90: quantile(0.90),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        ..Summary::default()
    }
}

/// Calls that were stalls.
pub(super) fn stalls(latencies: &Histogram<u64>) -> u64 {
    let least = u64::try_from(STALL.as_nanos()).unwrap_or(u64::MAX);
    latencies.len() - latencies.count_between(0, least)
}

/// Per measurement `wall_ns` of a call, `throughput` in records, `stall_count`, `size_bytes` of the files afterwards, where it is known
/// how much larger they are than needed, how long merging took, and the rate of the writer beside readers; and one row for the
/// space that the loaded store saves.
#[must_use]
pub fn rows(report: &StorageReport, options: &StorageOptions) -> Vec<ResultRow> {
    let mut rows: Vec<ResultRow> =
        report.measured.iter().flat_map(|measured| all_rows_of(measured, options)).collect();
    if let (Some(saved), Some(first)) = (report.saved_ratio, report.measured.first()) {
        rows.push(ResultRow {
            suite: "storage".to_owned(),
            bench_id: format!("storage_stress/space/{}b", options.value_bytes),
            params: params(options, &[]),
            metric: "saved_ratio".to_owned(),
            unit: "ratio".to_owned(),
            direction: 1,
            value: Some(saved),
            summary: single(saved),
            durability: Some("wal".to_owned()),
            seed: Some(options.seed),
            started_at: first.started_at,
            ..ResultRow::default()
        });
    }
    rows
}

/// A summary of one number.
pub(super) fn single(value: f64) -> Summary {
    Summary {
        n_samples: 1,
        median: Some(value),
        mean: Some(value),
        min: Some(value),
        max: Some(value),
        ..Summary::default()
    }
}

/// What every row of these options has, and what one has besides.
pub(super) fn params(
    options: &StorageOptions,
    others: &[(&str, String)],
) -> std::collections::BTreeMap<String, String> {
    let common = [
        ("records", options.records.to_string()),
        ("value_bytes", options.value_bytes.to_string()),
        ("seed", options.seed.to_string()),
    ];
    let data = match &options.values {
        Some(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        None => "synthetic, a quarter".to_owned(),
    };
    let data = [("data", data)];
    let all = common.iter().chain(&data).chain(others);
    all.map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn all_rows_of(measured: &Measured, options: &StorageOptions) -> Vec<ResultRow> {
    let [wall, throughput] = rows_of(measured, options);
    let row = |metric: &str, unit: &str, value: f64| ResultRow {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        value: Some(value),
        summary: single(value),
        ..wall.clone()
    };
    let mut rows = vec![
        row("size_bytes", "bytes", measured.disk_bytes as f64),
        row("stall_count", "count", measured.stalls as f64),
    ];
    rows.extend(measured.resident_bytes.map(|bytes| row("rss_peak_bytes", "bytes", bytes as f64)));
    rows.extend(measured.space_amplification.map(|ratio| row("space_amplification", "ratio", ratio)));
    rows.extend(measured.merge.map(|time| ResultRow {
        bench_id: format!("{}/merge", wall.bench_id),
        ..row("wall_ns", "ns", time.as_nanos() as f64)
    }));
    rows.extend(measured.hit_rate.map(|rate| ResultRow { direction: 1, ..row("hit_rate", "ratio", rate) }));
    rows.extend(measured.beside_per_second.map(|rate| ResultRow {
        bench_id: format!("{}/writer", wall.bench_id),
        direction: 1,
        ..row("throughput", "1/s", rate)
    }));
    rows.extend([wall, throughput]);
    rows
}

/// `wall_ns` and `throughput` of a measurement.
pub(super) fn rows_of(measured: &Measured, options: &StorageOptions) -> [ResultRow; 2] {
    let level = measured.durability.as_str();
    let (pacing, of_open) = match measured.pacing {
        Pacing::Closed => ("closed", None),
        Pacing::Open { per_second } => ("open", Some(("rate", format!("{per_second:.0}")))),
    };
    let mut others = vec![
        ("clients", measured.clients.to_string()),
        ("batch", measured.workload.records_per_call().to_string()),
        ("loop", pacing.to_owned()),
    ];
    others.extend(of_open);
    if measured.workload.searched_by().is_some() {
        others.push(("documents", document_count(options.records).to_string()));
    }
    let name = format!(
        "storage_stress/{}/{level}_{}_clients_{}b_{pacing}",
        measured.workload.as_str(),
        measured.clients,
        options.value_bytes
    );
    let wall = ResultRow {
        suite: "storage".to_owned(),
        bench_id: name,
        params: params(options, &others),
        metric: "wall_ns".to_owned(),
        unit: "ns".to_owned(),
        direction: -1,
        iters_total: u64::from(measured.latency.n_samples),
        value: measured.latency.median,
        summary: measured.latency.clone(),
        throughput_per_iter: Some(measured.workload.records_per_call()),
        throughput_unit: Some("elements".to_owned()),
        measure_ns: u64::try_from(measured.elapsed.as_nanos()).unwrap_or(u64::MAX),
        status: Status::Ok,
        durability: Some(level.to_owned()),
        seed: Some(options.seed),
        started_at: measured.started_at,
        noise: measured.noise.clone(),
        ..ResultRow::default()
    };
    let throughput = ResultRow {
        metric: "throughput".to_owned(),
        unit: "1/s".to_owned(),
        direction: 1,
        value: Some(measured.records_per_second),
        summary: single(measured.records_per_second),
        ..wall.clone()
    };
    [wall, throughput]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_that_a_few_values_do_not_give_are_none() {
        let mut latencies = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        assert_eq!(summary_of(&latencies), Summary::default());
        (1..=1_000).for_each(|value| latencies.record(value * 10).unwrap());
        let summary = summary_of(&latencies);
        assert_eq!((summary.n_samples, summary.p999), (1_000, None));
        let p99 = summary.p99.unwrap();
        assert!((9_890.0..=9_910.0).contains(&p99), "{p99}");
        assert!((4_990.0..=5_010.0).contains(&summary.median.unwrap()));
    }
}
