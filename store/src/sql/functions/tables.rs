//! Table functions over the view `series`.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Column, RecursionUnnestOption, ScalarValue, UnnestOptions, plan_err};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use datafusion::prelude::SessionContext;

use super::answer::change_point_fields;
use super::change_points;

/// The usual window and level of change points.
const WINDOW: i64 = 50;
const LEVEL: f64 = 0.001;

/// Makes `bench_change_points('history_id')` and `bench_history('bench_id' [, 'metric'])` known to a session. `series` has the columns
/// of the view of that name; `this_env` is the environment of this machine.
pub fn register_tables(ctx: &SessionContext, series: Arc<dyn TableProvider>, this_env: &str) {
    ctx.register_udtf("bench_change_points", Arc::new(ChangePointRows { series: Arc::clone(&series) }));
    ctx.register_udtf("bench_history", Arc::new(HistoryRows { series, this_env: this_env.to_owned() }));
}

struct ChangePointRows {
    series: Arc<dyn TableProvider>,
}

struct HistoryRows {
    series: Arc<dyn TableProvider>,
    this_env: String,
}

impl fmt::Debug for ChangePointRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bench_change_points")
    }
}

impl fmt::Debug for HistoryRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bench_history")
    }
}

impl TableFunctionImpl for ChangePointRows {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [history_id] = texts("bench_change_points", args.exprs(), &["history_id"])?[..] else {
            return plan_err!(
                "`bench_change_points` has {} arguments, expected 1: history_id",
                args.exprs().len()
            );
        };
        let points = change_points().call(vec![col("value"), col("commit_seq"), lit(WINDOW), lit(LEVEL)]);
        // A list and its item must not share a name: DataFusion would look for the item's fields in the list.
        let list = Column::from_name("points");
        let item = RecursionUnnestOption {
            input_column: list.clone(),
            output_column: Column::from_name("point"),
            depth: 1,
        };
        let field = |name: &str| get_field(col("point"), name).alias(name);
        let fields: Vec<Expr> = change_point_fields().iter().map(|of| field(of.name())).collect();
        let plan = LogicalPlanBuilder::scan("series", provider_as_source(Arc::clone(&self.series)), None)?
            .filter(col("history_id").eq(lit(history_id)))?
            .aggregate(Vec::<Expr>::new(), vec![points.alias("points")])?
            .unnest_columns_with_options(
                vec![list],
                UnnestOptions { recursions: vec![item], ..UnnestOptions::new() },
            )?
            .project(fields)?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

impl TableFunctionImpl for HistoryRows {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let given = texts("bench_history", args.exprs(), &["bench_id", "metric"])?;
        let Some((bench_id, metric)) = given.split_first() else {
            return plan_err!("`bench_history` has no arguments, expected 1 to 2: bench_id, metric");
        };
        let wanted = col("bench_id").eq(lit(*bench_id)).and(col("env_id").eq(lit(self.this_env.as_str())));
        let wanted = metric.iter().fold(wanted, |wanted, metric| wanted.and(col("metric").eq(lit(*metric))));
        let plan = LogicalPlanBuilder::scan("series", provider_as_source(Arc::clone(&self.series)), None)?
            .filter(wanted)?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

/// The arguments, which are all texts.
fn texts<'a>(function: &str, exprs: &'a [Expr], names: &[&str]) -> Result<Vec<&'a str>> {
    if exprs.len() > names.len() {
        return plan_err!(
            "`{function}` has {} arguments, expected at most {}: {}",
            exprs.len(),
            names.len(),
            names.join(", ")
        );
    }
    let text = |(expr, name): (&'a Expr, &&str)| match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Ok(text.as_str())
        }
        other => plan_err!("`{function}` has {name} = {other}, expected a text"),
    };
    exprs.iter().zip(names).map(text).collect()
}
