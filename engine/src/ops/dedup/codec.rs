//! The physical node of `dedup` as bytes, for an engine that sends plans to other processes.
//!
//! ```text
//! u32 little-endian: length of the parameters | parameters as JSON | output schema: an Arrow IPC stream without batches
//! ```
//!
//! A `PhysicalExtensionCodec` of such an engine calls [`encode`] and [`decode`]; the inputs of the node are its business, and
//! the receiver brings the [`RunContext`], for the row cache is on its side.

use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::physical_plan::ExecutionPlan;
use promptc_compiler::op::Dedup;
use serde::{Deserialize, Serialize};

use super::{DedupExec, PLACE, Setup};
use crate::context::RunContext;
use crate::error::EngineError;
use crate::row_function::NodeStats;

/// Format of the bytes.
const VERSION: u32 = 1;
/// Bytes of the length in front.
const PREFIX: usize = 4;

#[derive(Serialize, Deserialize)]
struct Parameters {
    version: u32,
    dedup: Dedup,
    key: Vec<String>,
    row_params: [u8; 32],
}

/// The bytes of a `dedup` node; `None` for any other node.
///
/// # Errors
/// A schema that Arrow cannot write.
pub fn encode(plan: &dyn ExecutionPlan) -> Option<Result<Vec<u8>, EngineError>> {
    let node = plan.downcast_ref::<DedupExec>()?;
    Some(encode_setup(&node.setup))
}

fn encode_setup(setup: &Setup) -> Result<Vec<u8>, EngineError> {
    let parameters = Parameters {
        version: VERSION,
        dedup: setup.params.clone(),
        key: setup.key.clone(),
        row_params: setup.row_params,
    };
    let parameters = serde_json::to_vec(&parameters).map_err(|error| EngineError::internal(PLACE, error))?;
    let len = u32::try_from(parameters.len()).map_err(|error| EngineError::internal(PLACE, error))?;
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend(parameters);
    StreamWriter::try_new(&mut bytes, &setup.schema)?.finish()?;
    Ok(bytes)
}

/// The node that [`encode`] wrote, over `input`. Its counts are new.
///
/// # Errors
/// Bytes of another format or version, or damaged ones.
pub fn decode(
    bytes: &[u8],
    input: Arc<dyn ExecutionPlan>,
    ctx: Arc<RunContext>,
) -> Result<Arc<dyn ExecutionPlan>, EngineError> {
    let damaged = || EngineError::internal(PLACE, "not the bytes of a dedup node");
    let (len, rest) = bytes.split_first_chunk::<PREFIX>().ok_or_else(damaged)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| damaged())?;
    let (parameters, schema) = rest.split_at_checked(len).ok_or_else(damaged)?;
    let Parameters { version, dedup, key, row_params } =
        serde_json::from_slice(parameters).map_err(|error| EngineError::internal(PLACE, error))?;
    if version != VERSION {
        return Err(EngineError::internal(PLACE, format!("a dedup node of version {version}")));
    }
    let schema = StreamReader::try_new(schema, None)?.schema();
    let setup = Setup::new(dedup, key, schema, row_params, ctx, Arc::new(NodeStats::default()))?;
    Ok(Arc::new(DedupExec::new(input, Arc::new(setup))))
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, StringArray, UInt64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use promptc_store::open::{Store, StoreOptions};

    use super::*;
    use crate::context::{Cancel, Silent};

    #[tokio::test]
    async fn a_node_does_the_same_after_the_way_through_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_bytes: 1 << 20, read_only: false };
        let store = Store::open(&folder.path().join("data"), &options);
        let ctx = Arc::new(RunContext::new(Arc::new(store.unwrap()), Cancel::default(), Arc::new(Silent)));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("text", DataType::Utf8, false),
        ]));
        let text = "the same eight words stand in this row twice";
        let rows = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(UInt64Array::from(vec![1, 2, 3])),
                Arc::new(StringArray::from(vec![text, "something else", text])),
            ],
        );
        let input: Arc<dyn ExecutionPlan> =
            MemorySourceConfig::try_new_exec(&[vec![rows.unwrap()]], schema.clone(), None).unwrap();
        let dedup = Dedup {
            column: "text".into(),
            spans: None,
            unit: "row".into(),
            by: "exact".into(),
            jaccard: 0.8,
            shingle: 5,
            permutations: 128,
            min_words: 12,
        };
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new(
            "copies",
            DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            false,
        ));
        let schema = Arc::new(Schema::new(fields));
        let setup = Setup::new(
            dedup,
            vec!["id".into()],
            schema,
            [7; 32],
            ctx.clone(),
            Arc::new(NodeStats::default()),
        );
        let node: Arc<dyn ExecutionPlan> = Arc::new(DedupExec::new(input.clone(), Arc::new(setup.unwrap())));
        let bytes = encode(node.as_ref()).unwrap().unwrap();
        let again = decode(&bytes, input.clone(), ctx.clone()).unwrap();
        assert_eq!(encode(again.as_ref()).unwrap().unwrap(), bytes);
        assert!(encode(input.as_ref()).is_none());
        let session = SessionContext::new();
        let first = collect(node, session.task_ctx()).await.unwrap();
        let second = collect(again, session.task_ctx()).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(first.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        for end in [0, 3, 4, 40, bytes.len() / 2] {
            assert!(decode(&bytes[..end], input.clone(), ctx.clone()).is_err(), "{end} bytes");
        }
    }
}
