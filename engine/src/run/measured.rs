//! One graph of a program, run over the program's files in a store of the caller's: what a bench repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use datafusion::catalog::TableProvider;
use promptc_compiler::graph::{Graph, NodeId};
use promptc_compiler::hir::Hir;
use promptc_compiler::op::{Op, Scan};
use promptc_compiler::plan::{Plan, Request, plan_graph};
use promptc_compiler::types::Fp;
use promptc_store::open::Store;

use super::{Run, RunOptions, ScanFiles, ScanKey, reachable, scan_files, scan_key};
use crate::context::{Cancel, Events, RunContext};
use crate::error::EngineError;
use crate::report::RunReport;

/// Under what the indexes of a measured graph are kept in its store.
const IDENTITY: &str = "bench";

/// A graph with the files that it reads, listed and hashed once for all repetitions.
#[derive(Debug)]
pub struct GraphInputs<'a> {
    hir: &'a Hir,
    graph: &'a Graph,
    options: &'a RunOptions,
    files: BTreeMap<ScanKey, ScanFiles>,
}

/// What one run of a graph gave.
pub struct GraphOutput {
    /// Rows of the first root, hidden keys included.
    pub table: Option<Arc<dyn TableProvider>>,
    /// Node by node.
    pub report: RunReport,
    /// Time of every row of the first root in nanoseconds, in row order, or why there is none. Only if asked for.
    pub row_ns: Result<Vec<u64>, &'static str>,
}

/// Who listens to a run of a graph and what it takes.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Listens.
    pub events: Arc<dyn Events>,
    /// Stops it.
    pub cancel: Cancel,
    /// Whether the time of every row is taken.
    pub times_rows: bool,
}

impl<'a> GraphInputs<'a> {
    /// Lists and hashes the files of all sources of a graph.
    ///
    /// # Errors
    /// Sources that cannot be read; areas that are not in this build.
    pub fn new(hir: &'a Hir, graph: &'a Graph, options: &'a RunOptions) -> Result<Self, EngineError> {
        let reached: BTreeSet<NodeId> = graph.nodes.iter().map(|node| node.id).collect();
        for node in &graph.nodes {
            if let Op::Unavailable { area, what } = &node.op {
                return Err(EngineError::Unavailable { area: area.clone(), what: what.clone() });
            }
        }
        let files = scan_files(graph, &reached, None, options)?;
        Ok(Self { hir, graph, options, files })
    }

    /// Fingerprint of what is computed for these roots, whatever stands in the files.
    #[must_use]
    pub fn plan_hash(&self, roots: &[NodeId]) -> Fp {
        self.plan(roots, &|_| None).root
    }

    /// Hash over the contents of all files that the roots are computed from.
    #[must_use]
    pub fn data_hash(&self, roots: &[NodeId]) -> Fp {
        let scans = reachable(self.graph, roots).into_iter().filter_map(|id| match &self.graph.node(id).op {
            Op::Scan(scan) => self.files.get(&scan_key(scan)),
            _ => None,
        });
        let mut hashes: Vec<[u8; 32]> = scans.map(|found| found.content.hash.0).collect();
        hashes.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("promptc 2026 bench data v1");
        for hash in &hashes {
            hasher.update(hash);
        }
        Fp(*hasher.finalize().as_bytes())
    }

    fn plan(
        &self,
        roots: &[NodeId],
        contents: &dyn Fn(&Scan) -> Option<promptc_compiler::plan::Content>,
    ) -> Plan {
        let request = Request { targets: &[], rules: self.options.rules, contents };
        plan_graph(self.hir, self.graph, roots, &request)
    }

    /// Brings the roots about in a store. What the store has already is not computed again.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn run(
        &self,
        roots: &[NodeId],
        store: Arc<Store>,
        around: &Surroundings,
    ) -> Result<GraphOutput, EngineError> {
        let plan =
            self.plan(roots, &|scan: &Scan| self.files.get(&scan_key(scan)).map(|found| found.content));
        let ctx = RunContext {
            times_rows: around.times_rows,
            ..RunContext::new(store, around.cancel.clone(), around.events.clone())
        };
        let (folder, files) = (PathBuf::from("."), self.files.clone());
        let mut run = Run::new(&plan, Arc::new(ctx), self.options, files, None, folder, IDENTITY.to_owned())?;
        run.stages().await?;
        run.gather_quarantine()?;
        let root = plan.roots.first().copied();
        let table = root.and_then(|root| run.tables.get(&root).cloned());
        let row_ns = match root {
            Some(root) if around.times_rows => run.row_times(root),
            _ => Err("the time of rows was not asked for"),
        };
        Ok(GraphOutput { table, report: run.report(), row_ns })
    }
}

impl Run<'_> {
    /// Time of each row of `root` in the row-wise operators that directly lead to it, in row order. Expressions, as of
    /// `derive`, are computed for many rows at once and have no time of a row.
    fn row_times(&self, root: NodeId) -> Result<Vec<u64>, &'static str> {
        const LEFT_OUT: &str = "rows were left out of the run after they were timed";
        let rows = self.rows.get(&root).and_then(|rows| usize::try_from(*rows).ok()).ok_or(LEFT_OUT)?;
        let mut total = vec![0; rows];
        let mut is_timed = rows == 0;
        let mut next = Some(root);
        while let Some(at) = next.filter(|at| keeps_rows(&self.graph.node(*at).op)) {
            if let Some(stats) = self.stats.get(&at) {
                let row_ns = stats.row_ns.lock().unwrap_or_else(PoisonError::into_inner);
                if !row_ns.is_empty() && row_ns.len() != rows {
                    return Err(LEFT_OUT);
                }
                is_timed |= !row_ns.is_empty();
                total.iter_mut().zip(row_ns.iter()).for_each(|(total, ns)| *total += ns);
            }
            next = self.graph.node(at).inputs.first().copied();
        }
        if is_timed { Ok(total) } else { Err("no operator that works row by row leads to the run") }
    }
}

/// Whether an operator gives one row for each row, in the same order.
fn keeps_rows(op: &Op) -> bool {
    matches!(
        op,
        Op::Select { .. }
            | Op::Derive { .. }
            | Op::Rename { .. }
            | Op::Project { .. }
            | Op::Compress(_)
            | Op::Embed { .. }
            | Op::Retrieve(_)
            | Op::Fuse { .. }
            | Op::Assemble(_)
    )
}
