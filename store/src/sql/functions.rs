//! The statistics as functions of SQL.
//!
//! | function | kind | answer |
//! |---|---|---|
//! | `paired_test(base, cand, direction [, label])` | aggregate | `{rel, p, ci_low, ci_high, pair_count, needed_pairs, dropped_count}` |
//! | `perm_test(base, cand, seed)` | aggregate | the same |
//! | `bootstrap_ci(value, level, seed)` | aggregate | `{low, mid, high, dropped_count}` |
//! | `mann_whitney(value, side)` | aggregate | `{u, z, p, rel, dropped_count}` |
//! | `hodges_lehmann(value, side)` | aggregate | number |
//! | `theil_sen(x, y)` | aggregate | `{slope, low, high, p, dropped_count}` |
//! | `mad(value)` | aggregate | number |
//! | `change_points(value, seq, window, p [, min_rel [, mode]])` | aggregate | list of `{seq, rel, p, mean_before, mean_after}` |
//! | `wilson(successes, count, level)` | scalar | `{low, high}` |
//! | `bench_change_points(history_id)` | table | rows of the same struct |
//! | `bench_history(bench_id [, metric])` | table | rows of `series` |
//!
//! An aggregate keeps the values of its group as they come and hands all of them to [`stats`](super::stats), which sorts them first: the answer
//! depends neither on partitions nor on the order of rows. A row with a null or a number that is none counts as dropped. A group with
//! nothing to compute from has the answer null, and a series without change points an empty list.

mod aggregate;
mod answer;
mod arguments;
mod tables;
mod wilson;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::SessionContext;

use self::aggregate::{Aggregate, Statistic};

pub use tables::register_tables;

/// Makes the aggregates and the scalar functions known to a session.
pub fn register(ctx: &SessionContext) {
    for statistic in Statistic::ALL {
        ctx.register_udaf(AggregateUDF::new_from_impl(Aggregate::new(statistic)));
    }
    ctx.register_udf(ScalarUDF::new_from_impl(wilson::Wilson::new()));
}

fn change_points() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Aggregate::new(Statistic::ChangePoints)))
}
