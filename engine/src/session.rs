//! The DataFusion session of a run: one partition, so that row order is part of the result; bounded memory with spill.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::EngineError;
use crate::ops::dedup::DedupPlanner;

/// Limits of a session.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Memory of operators that gather rows.
    pub memory_bytes: usize,
    /// Folder for what does not fit.
    pub temporary: PathBuf,
}

/// A session that knows the engine's extension nodes.
///
/// # Errors
/// A temporary folder that cannot be used.
pub fn session(settings: &SessionSettings) -> Result<SessionContext, EngineError> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(settings.batch_rows)
        .with_information_schema(false);
    // DataFusion 54.1 pushes a field access below the unnest that makes the record, where it is still a list.
    config.options_mut().optimizer.enable_leaf_expression_pushdown = false;
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![settings.temporary.clone()]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_query_planner(Arc::new(EnginePlanner))
        .build();
    Ok(SessionContext::new_with_state(state))
}

#[derive(Debug)]
struct EnginePlanner;

#[async_trait]
impl QueryPlanner for EnginePlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &SessionState,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(DedupPlanner)]);
        planner.create_physical_plan(plan, state).await
    }
}
