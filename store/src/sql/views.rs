//! Views over the tables of the history, as SQL.

/// A view: its name and the query that it stands for.
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// The views in an order in which each uses only those before it.
pub(super) const VIEWS: [View; 6] = [
    // Points of a history that may be compared in time.
    View {
        name: "series",
        sql: "SELECT * FROM results
              WHERE status = 'ok' AND NOT git_dirty AND commit_seq IS NOT NULL AND side IN ('solo', 'base', 'cand')",
    },
    // One row per pair of observations; the same index of both sides belongs together.
    View {
        name: "pairs",
        sql: r#"WITH u AS (
                  SELECT run_id, attempt, side, bench_id, metric, unnest("values") AS v,
                         unnest(range(0, CAST(cardinality("values") AS BIGINT))) AS pair_idx
                  FROM samples WHERE side IN ('base', 'cand', 'aa'))
                SELECT b.run_id, b.bench_id, b.metric, r.unit, r.direction,
                       coalesce(r.code_hash = k.code_hash, false) AND c.side = 'cand' AS same_code,
                       b.pair_idx, b.v AS base_value, c.v AS cand_value
                FROM u b
                JOIN u c ON c.run_id = b.run_id AND c.attempt = b.attempt AND c.bench_id = b.bench_id
                     AND c.metric = b.metric AND c.pair_idx = b.pair_idx AND c.side IN ('cand', 'aa')
                JOIN results r ON r.run_id = b.run_id AND r.attempt = b.attempt AND r.bench_id = b.bench_id
                     AND r.metric = b.metric AND r.side = 'base'
                JOIN results k ON k.run_id = b.run_id AND k.attempt = b.attempt AND k.bench_id = b.bench_id
                     AND k.metric = b.metric AND k.side IN ('cand', 'aa')
                WHERE b.side = 'base'"#,
    },
    // What people decided about runs.
    View {
        name: "marks",
        sql: "SELECT run_id, verdict = 'pass' AS accepted, reason, decided_at AS at FROM verdicts
              WHERE gate_id = 'manual' AND bench_id IS NULL",
    },
    // Whether a run is accepted: the newest mark decides; without one, the newest summary row of every gate must say pass.
    View {
        name: "run_states",
        sql: "WITH newest AS (
                SELECT run_id, gate_id, verdict, decided_at,
                       row_number() OVER (PARTITION BY run_id, gate_id ORDER BY decided_at DESC, verdict) AS age
                FROM verdicts WHERE bench_id IS NULL AND purpose = 'gate')
              SELECT run_id,
                     CASE WHEN bool_or(gate_id = 'manual') THEN bool_or(gate_id = 'manual' AND verdict = 'pass')
                          ELSE bool_and(verdict = 'pass') END AS accepted,
                     max(decided_at) AS decided_at
              FROM newest WHERE age = 1 GROUP BY run_id",
    },
    // All measurements with the names that the language gives them. A gate sees a part of it (`gate_views`).
    View {
        name: "measured",
        sql: r#"SELECT r.run_id, r.suite, r.status, r.git_dirty, split_part(r.bench_id, '/', 2) AS bench, r.subject,
                       r.metric, r.value, r.attempt AS repeat, r.seed, r.env_id AS machine, r.git_sha AS "commit",
                       r.plan_hash AS plan, r.data_hash AS data, coalesce(s.accepted, false) AS accepted,
                       r.started_at AS at,
                       median(r.value) OVER (PARTITION BY r.run_id, r.bench_id, r.subject, r.metric) AS run_median
                FROM results r LEFT JOIN run_states s ON s.run_id = r.run_id"#,
    },
    // Earlier runs of every bench, as a query sees them.
    View {
        name: "history",
        sql: r#"SELECT bench, subject, metric, value, repeat, seed, machine, "commit", plan, data, accepted, at, run_median
                FROM measured WHERE status = 'ok' AND NOT git_dirty"#,
    },
];

/// The two tables of a gate on `bench` that judges `run_id`: the rows of that run, and those of runs of the same bench that
/// began before it. The texts stand in the query as literals.
pub(super) fn gate_views(run_id: &str, bench: &str) -> [(&'static str, String); 2] {
    let (run_id, bench) = (literal(run_id), literal(bench));
    let columns = r#"bench, subject, metric, value, repeat, seed, machine, "commit", plan, data"#;
    let current = format!(
        "SELECT {columns}, false AS accepted, at, run_median FROM measured WHERE run_id = {run_id} AND bench = {bench}"
    );
    let history = format!(
        "SELECT {columns}, accepted, at, run_median FROM measured
         WHERE status = 'ok' AND NOT git_dirty AND bench = {bench} AND run_id <> {run_id}
           AND suite IN (SELECT suite FROM measured WHERE run_id = {run_id} AND bench = {bench})
           AND at < (SELECT min(at) FROM measured WHERE run_id = {run_id})"
    );
    [("current", current), ("history", history)]
}

/// A text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_does_not_end_a_literal() {
        assert_eq!(literal("it's"), "'it''s'");
        assert!(gate_views("R", "x' OR true --")[0].1.contains("bench = 'x'' OR true --'"));
    }
}
