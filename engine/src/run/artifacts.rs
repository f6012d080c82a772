//! Stages that bring an index up to date, and the graphs that are kept for them.

use std::iter;
use std::sync::Arc;

use promptc_compiler::graph::NodeId;
use promptc_compiler::op::{self, Index};
use promptc_store::kv::ledger::Ledger;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::artifacts::Artifact;
use crate::context::Event;
use crate::error::EngineError;
use crate::ops;
use crate::ops::codes::Kept;
use crate::report::{NodeReport, NodeState};

/// Prefix of the ledger's names for the graph of an index: the folder of the index follows. There is one for each.
pub(super) const GRAPH: &str = "graph/";
/// Prefix of the names of its parts: the folder and a number follow.
const GRAPH_PART: &str = "graph-part/";
/// Bytes of a part.
const GRAPH_PART_BYTES: usize = 4 << 20;

/// What the ledger says of a graph. It is written behind all parts, and removed before them.
#[derive(Debug, Serialize, Deserialize)]
struct GraphHead {
    /// Of the rows, and of what the links depend on beside them.
    fp: String,
    parts: usize,
}

fn part_name(folder: &str, part: usize) -> String {
    format!("{GRAPH_PART}{folder}/{part:06}")
}

fn graph_head(ledger: &Ledger, folder: &str) -> Option<GraphHead> {
    let bytes = ledger.get_memos(&[format!("{GRAPH}{folder}")]).pop().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// The links that were kept for an index in this folder, if they are those of `fp` and whole.
fn kept_graph(ledger: &Ledger, folder: &str, fp: &str) -> Option<Vec<u8>> {
    let head = graph_head(ledger, folder).filter(|head| head.fp == fp)?;
    let mut graph = Vec::new();
    for part in 0..head.parts {
        graph.extend(ledger.get_memos(&[part_name(folder, part)]).pop().flatten()?);
    }
    Some(graph)
}

fn keep_graph(ledger: &Ledger, folder: &str, fp: &str, graph: &[u8]) -> Result<(), EngineError> {
    forget_graph(ledger, folder)?;
    let mut parts = 0;
    for bytes in graph.chunks(GRAPH_PART_BYTES) {
        ledger.put_memos(&[(part_name(folder, parts).as_str(), bytes)])?;
        parts += 1;
    }
    let head = serde_json::to_vec(&GraphHead { fp: fp.to_owned(), parts });
    let head = head.map_err(|error| EngineError::internal("index", error.to_string()))?;
    Ok(ledger.put_memos(&[(format!("{GRAPH}{folder}").as_str(), head.as_slice())])?)
}

/// Removes the graph of an index, if there is one.
pub(super) fn forget_graph(ledger: &Ledger, folder: &str) -> Result<(), EngineError> {
    let parts = graph_head(ledger, folder).map_or(0, |head| head.parts);
    let names: Vec<String> = iter::once(format!("{GRAPH}{folder}"))
        .chain((0..parts).map(|part| part_name(folder, part)))
        .collect();
    Ok(ledger.remove_all(&names.iter().map(String::as_str).collect::<Vec<_>>())?)
}

/// What the links of a graph depend on.
fn graph_fp(params: &op::Index, flow_fp: &str) -> String {
    let Index { column, metric, m, ef_build, seed, kind, .. } = params;
    let text = format!("{flow_fp} {column:?} {metric} {kind} {m} {ef_build} {seed:?}");
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

impl Run<'_> {
    /// Brings an index up to date.
    pub(super) async fn index(&mut self, id: NodeId, params: &op::Index) -> Result<(), EngineError> {
        let name = self.stage_name(id);
        let node = self.graph.node(id);
        let input = node.inputs[0];
        let store = &self.ctx.store;
        let flow_path = self.stream_path(input);
        let tuning_key = format!("tuning/{}", self.plan.fps[id.0 as usize]);
        let folder = self.index_folder(id, params);
        let target = ops::index::Target {
            params,
            params_fp: &self.plan.params_fps[id.0 as usize].short(32),
            flow_path: &flow_path,
            flow_fp: &self.stream_fp(input),
            flows_dir: &store.flows_dir(),
            key: &self.graph.node(input).key,
            dir: store.dir().join(&folder),
        };
        let ledger = store.ledger();
        let graph_fp = graph_fp(params, &self.stream_fp(input));
        let has_codes = matches!(params.kind.as_str(), "auto" | "hnsw");
        let mut known = Kept { tuning: if has_codes { ledger.get(&tuning_key)? } else { None }, graph: None };
        if known.is_of_graph(params) {
            known.graph = kept_graph(ledger, &folder, &graph_fp);
        }
        let watch = |linked: usize, _: usize| {
            self.ctx.events.event(Event::Rows { name: name.clone(), rows: linked as u64 });
            self.ctx.check_interrupt().is_ok()
        };
        let ops::index::BuiltIndex { index, change, notices, found } =
            ops::index::build(&target, known, &watch).await?;
        self.ctx.check_interrupt()?;
        if let Some(graph) = &found.graph {
            keep_graph(ledger, &folder, &graph_fp, graph)?;
        }
        if let Some(tuning) = &found.tuning {
            ledger.put_all(&[(tuning_key.as_str(), tuning.as_slice())])?;
        }
        for notice in notices {
            let (code, message) = notice.split_once(": ").unwrap_or(("W2301", &notice));
            self.warn(code, format!("index `{name}`: {message}"));
        }
        let rows = change.reused + change.computed;
        self.artifacts.insert(id, Arc::new(Artifact::Index(Box::new(index))));
        self.report.nodes.push(NodeReport {
            name,
            op: "index".to_owned(),
            state: if change.computed + change.deleted == 0 { NodeState::Reused } else { NodeState::Ran },
            rows,
            reused: change.reused,
            computed: change.computed,
            deleted: change.deleted,
            elapsed_ms: 0.0,
            is_stage: true,
        });
        Ok(())
    }

    pub(super) fn warn(&mut self, code: &str, message: String) {
        let known = promptc_compiler::diagnostic::Code::parse(code).map_or("W2301", |code| code.text());
        self.ctx.events.event(Event::Warning { code: known, message: message.clone() });
        self.report.warnings.push((known.to_owned(), message));
    }
}
