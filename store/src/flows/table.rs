//! A flow as a table of SQL: one partition, in file order, with the row count known.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};

use super::read::Part;
use super::{Flow, FlowError};

/// Batches that may wait between the reading thread and the plan.
const WAITING_BATCHES: usize = 2;

/// A flow that DataFusion can scan.
#[derive(Debug, Clone)]
pub struct FlowTable {
    flow: Flow,
    schema: SchemaRef,
}

impl Flow {
    /// The flow as a table with the flow's own columns.
    pub fn table_provider(&self) -> Arc<FlowTable> {
        Arc::new(FlowTable { flow: self.clone(), schema: self.schema().clone() })
    }

    /// The flow as a table that also shows `~row` and `~content`.
    pub fn table_provider_with_hidden(&self) -> Arc<FlowTable> {
        Arc::new(FlowTable { flow: self.clone(), schema: self.stored_schema().clone() })
    }
}

#[async_trait::async_trait]
impl TableProvider for FlowTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        Ok(Arc::new(FlowScan::new(self.flow.clone(), schema, limit)))
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(row_count_statistics(&self.schema, self.flow.rows()))
    }
}

/// The plan node that reads a flow.
#[derive(Debug)]
struct FlowScan {
    flow: Flow,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl FlowScan {
    fn new(flow: Flow, schema: SchemaRef, limit: Option<usize>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { flow, limit, properties: Arc::new(properties) }
    }
}

impl DisplayAs for FlowScan {
    fn fmt_as(&self, _kind: DisplayFormatType, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.flow.path().file_stem().unwrap_or_default().to_string_lossy();
        write!(formatter, "FlowScan: {name}, rows={}", self.flow.rows())?;
        self.limit.map_or(Ok(()), |limit| write!(formatter, ", limit={limit}"))
    }
}

impl ExecutionPlan for FlowScan {
    fn name(&self) -> &'static str {
        "FlowScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a flow has one partition, not {partition}");
        }
        let schema = self.schema();
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, WAITING_BATCHES);
        let sender = builder.tx();
        let flow = self.flow.clone();
        let mut left = self.limit.unwrap_or(usize::MAX);
        // Reading blocks, so it has its own thread; a closed channel means that nobody wants more rows.
        builder.spawn_blocking(move || {
            for batch in flow.rows_of(&columns, &Part::All).map_err(external)? {
                let batch = batch.map_err(external)?;
                let batch = batch.slice(0, left.min(batch.num_rows()));
                left -= batch.num_rows();
                if sender.blocking_send(Ok(batch)).is_err() || left == 0 {
                    break;
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> Result<Arc<Statistics>> {
        let row_count = self.flow.rows().min(self.limit.map_or(u64::MAX, |limit| limit as u64));
        Ok(Arc::new(row_count_statistics(&self.schema(), row_count)))
    }
}

fn row_count_statistics(schema: &SchemaRef, row_count: u64) -> Statistics {
    let num_rows = usize::try_from(row_count).map_or(Precision::Absent, Precision::Exact);
    Statistics { num_rows, ..Statistics::new_unknown(schema) }
}

fn external(error: FlowError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
