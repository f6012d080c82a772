//! Division by zero in the SQL of a program's gate: null, so that the requirement over it is undecided.
//!
//! Floats divided by zero are infinite in SQL, and an infinite ratio passes every floor.

use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};

/// The same plan with null where a divisor is zero. Names of columns stay.
///
/// # Errors
/// Those of DataFusion's planner.
pub(super) fn null_on_zero(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(guarded)?.update_data(|expr| name.restore(expr)))
        })?;
        // Columns become nullable, which the plans above must know.
        rewritten.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(rewritten.data)
}

fn guarded(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Divide | Operator::Modulo), right }) => {
            let right = Box::new(nullif(*right, lit(0)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        other => Transformed::no(other),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn nothing_is_divided_by_zero() {
        let session = SessionContext::new();
        let sql = "SELECT 1.0 / 0.0 AS a, 7 / 0 AS b, 7 % 0 AS c, 6 / 3 AS d, sum(x / 0) AS e, \
                   (SELECT max(x) / 0 FROM (VALUES (1.5)) AS u(x)) AS f FROM (VALUES (1.5), (2.5)) AS t(x)";
        let plan = session.state().create_logical_plan(sql).await.unwrap();
        let plan = null_on_zero(plan).unwrap();
        let batches = session.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        let nulls: Vec<bool> = batches[0].columns().iter().map(|column| column.is_null(0)).collect();
        assert_eq!(nulls, [true, true, true, false, true, true]);
        let names: Vec<String> =
            batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    }
}
