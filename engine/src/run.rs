//! Running a plan: contents of sources, then stage by stage.
//!
//! A stage is a named stream (stored as one Parquet file), an artifact, or an output. Streams are named by their Merkle
//! fingerprint, which holds the contents of the files they come from, so a stage whose file exists is done. From the
//! outputs backwards only what is missing is run:
//!
//! ```text
//! sources --hash--> plan --needed?--> streams (flows/*.parquet) --> artifacts (text/, vectors/) --> outputs --> ledger
//! ```
//!
//! The ledger is written last: a run that was stopped anywhere leaves the last build's record, whole files under
//! fingerprints that are still right, and a row cache that makes the next run shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;
use promptc_compiler::graph::{Graph, NodeId};
use promptc_compiler::hir::Hir;
use promptc_compiler::op::{Op, Scan};
use promptc_compiler::plan::{BuildRecord, Content, Plan, PlanError, Request, Rules, plan, plan_graph};
use promptc_compiler::types::Fp;
use promptc_store::failpoint::{Control, Site, is_broken};
use promptc_store::kv::Ledger;
use promptc_store::open::Store;
use promptc_store::sources::{self, FileEntry};

use crate::artifacts::Artifact;
use crate::context::{BadRow, Cancel, Event, Events, RunContext};
use crate::error::EngineError;
use crate::program::Program;
use crate::report::{NodeReport, NodeState, RunReport};
use crate::row_function::NodeStats;
use crate::session::{self, SessionSettings};
use crate::store_errors;

mod artifacts;
mod fits;
pub mod measured;
mod outputs;
pub mod search;
mod stages;
mod writing;

/// Settings of a run that do not change its results.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Outputs, streams or artifacts to bring about; empty: every output.
    pub targets: Vec<String>,
    /// Which rules of the optimizer apply.
    pub rules: Rules,
    /// Folder for outputs instead of the program's.
    pub out: Option<PathBuf>,
    /// Reads at most so many rows of each source. This one does change results, and is part of the fingerprints.
    pub limit: Option<u64>,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Memory for operators that gather rows; beyond it they spill to disk.
    pub memory_bytes: usize,
    /// Home folder for a leading `~` in paths.
    pub home: Option<PathBuf>,
}

/// Everything of a run that later stages read.
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    graph: &'a Graph,
    ctx: Arc<RunContext>,
    options: &'a RunOptions,
    files: BTreeMap<ScanKey, ScanFiles>,
    runtime: tokio::runtime::Handle,
    session: datafusion::prelude::SessionContext,
    /// Artifacts that are needed although no stage of the plan reads them.
    also: BTreeSet<NodeId>,
    /// Streams that are stored or can be scanned.
    tables: BTreeMap<NodeId, Arc<dyn TableProvider>>,
    artifacts: BTreeMap<NodeId, Arc<Artifact>>,
    stats: BTreeMap<NodeId, Arc<NodeStats>>,
    last: Option<BuildRecord>,
    /// Rows of streams and sources, as far as they were counted.
    rows: BTreeMap<NodeId, u64>,
    report: RunReport,
    folder: PathBuf,
    /// Under what this program's builds are remembered.
    identity: String,
    /// Namespace of this program's indexes in a shared data directory.
    namespace: String,
}

/// What tells sources apart while they are hashed: kind, folder, path.
type ScanKey = (String, String, String, String);

/// The files of a source as they are now.
#[derive(Debug, Clone)]
pub(crate) struct ScanFiles {
    files: Vec<FileEntry>,
    /// Hash of each file's content, in the order of `files`.
    hashes: Vec<[u8; 32]>,
    content: Content,
}

impl ScanFiles {
    /// Name and content hash of every file, for comparing with the next build.
    fn listing(&self) -> BTreeMap<&str, [u8; 32]> {
        self.files.iter().map(|file| file.name.as_str()).zip(self.hashes.iter().copied()).collect()
    }
}

/// Where the listing of a source's files is kept.
fn listing_key(identity: &str, source: &str) -> String {
    format!("files/{identity}/{source}")
}

fn scan_key(scan: &Scan) -> ScanKey {
    let part = scan.part.clone().unwrap_or_default();
    (scan.kind.clone(), scan.base.clone(), scan.path.clone(), part)
}

/// Plans a program against the files as they are now.
///
/// # Errors
/// Sources that cannot be read; unknown targets; areas that are not in this build.
pub fn plan_program(
    program: &Program,
    store: &Store,
    options: &RunOptions,
) -> Result<(Plan, Option<BuildRecord>), EngineError> {
    let files = contents(&program.checked.hir, Some(store), options)?;
    let plan = make_plan(&program.checked.hir, &files, options)?;
    Ok((plan, last_build(store, &program.identity())?))
}

/// Runs a program and remembers the build.
///
/// # Errors
/// [`EngineError`]; outputs that were not finished are as before.
pub async fn run(
    program: &Program,
    store: Arc<Store>,
    options: &RunOptions,
    events: Arc<dyn Events>,
    cancel: Cancel,
) -> Result<RunReport, EngineError> {
    let started = Instant::now();
    let hir = &program.checked.hir;
    let files = contents(hir, Some(&store), options)?;
    let plan = make_plan(hir, &files, options)?;
    let identity = program.identity();
    let last = last_build(&store, &identity)?;
    let folder = options.out.clone().unwrap_or_else(|| program.folder().to_path_buf());
    let ctx = RunContext::new(store.clone(), cancel, events);
    outputs::check(
        &plan.graph,
        program,
        &folder,
        store.dir(),
        files.values().flat_map(|found| &found.files),
    )?;
    let mut run = Run::new(&plan, Arc::new(ctx), options, files, last, folder, identity.clone())?;
    if is_broken(Control::RecordFirst) {
        run.remember()?;
    }
    run.stages().await?;
    run.gather_quarantine()?;
    run.remember()?;
    let mut report = run.report();
    report.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(report)
}

/// Runs one graph of a program (a test's) in a store of its own and gives the tables of its streams. Writes are not part of it.
///
/// # Errors
/// [`EngineError`].
pub async fn run_graph(
    hir: &Hir,
    graph: &Graph,
    roots: &[NodeId],
    store: Arc<Store>,
    options: &RunOptions,
) -> Result<BTreeMap<String, Arc<dyn TableProvider>>, EngineError> {
    let request = Request { targets: &[], rules: options.rules, contents: &|_| None };
    let plan = plan_graph(hir, graph, roots, &request);
    let ctx = RunContext::new(store, Cancel::default(), Arc::new(crate::context::Silent));
    let (folder, identity) = (PathBuf::from("."), "test".to_owned());
    let mut run = Run::new(&plan, Arc::new(ctx), options, BTreeMap::new(), None, folder, identity)?;
    run.stages().await?;
    let streams = plan.graph.streams.iter();
    Ok(streams.filter_map(|(name, id)| Some((name.clone(), run.tables.get(id)?.clone()))).collect())
}

fn make_plan(
    hir: &Hir,
    files: &BTreeMap<ScanKey, ScanFiles>,
    options: &RunOptions,
) -> Result<Plan, EngineError> {
    let contents = |scan: &Scan| files.get(&scan_key(scan)).map(|found| found.content);
    let request = Request { targets: &options.targets, rules: options.rules, contents: &contents };
    let limited;
    let hir = match options.limit {
        None => hir,
        Some(limit) => {
            limited = with_limit(hir, limit);
            &limited
        }
    };
    plan(hir, &request).map_err(|error| match error {
        PlanError::UnknownTarget(target) => EngineError::Unknown(target.to_string()),
        PlanError::Unavailable(diagnostics) => {
            let what = diagnostics.iter().map(|found| found.message.clone()).collect::<Vec<_>>().join("; ");
            EngineError::Row { code: "E2002", message: what }
        }
    })
}

fn with_limit(hir: &Hir, limit: u64) -> Hir {
    let mut hir = hir.clone();
    for node in &mut hir.graph.nodes {
        if let Op::Scan(scan) = &mut node.op {
            scan.limit = Some(scan.limit.map_or(limit, |own| own.min(limit)));
        }
    }
    hir
}

/// Files and content hashes of the sources that the targets need.
fn contents(
    hir: &Hir,
    store: Option<&Store>,
    options: &RunOptions,
) -> Result<BTreeMap<ScanKey, ScanFiles>, EngineError> {
    let roots = promptc_compiler::plan::select(&hir.graph, &options.targets)
        .map_err(|target| EngineError::Unknown(target.to_string()))?;
    let reached = reachable(&hir.graph, &roots);
    // What this build cannot do is said before any file is looked at.
    for id in &reached {
        if let Op::Unavailable { area, what } = &hir.graph.node(*id).op {
            return Err(EngineError::Unavailable { area: area.clone(), what: what.clone() });
        }
    }
    scan_files(&hir.graph, &reached, store, options)
}

/// Files and content hashes of the scans among these nodes of a graph.
fn scan_files(
    graph: &Graph,
    reached: &BTreeSet<NodeId>,
    store: Option<&Store>,
    options: &RunOptions,
) -> Result<BTreeMap<ScanKey, ScanFiles>, EngineError> {
    let mut found = BTreeMap::new();
    for id in reached.iter().copied() {
        let Op::Scan(scan) = &graph.node(id).op else { continue };
        let key = scan_key(scan);
        if found.contains_key(&key) {
            continue;
        }
        let spec = crate::ops::scan::spec(scan)?;
        let name = graph.streams.iter().find(|(_, stream)| *stream == id).map_or("", |(name, _)| name);
        let named = |error| store_errors::source(error).about(&format!("source `{name}`"));
        let files = sources::resolve(&spec, options.home.as_deref()).map_err(named)?;
        let memo = store.map(Store::ledger);
        let (hash, hashes) = sources::content_hash(&files, memo).map_err(store_errors::source)?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        let content = Content { hash: Fp(hash), rows: None, bytes };
        found.insert(key, ScanFiles { files, hashes, content });
    }
    Ok(found)
}

/// The roots and everything that they read, inputs first.
fn reachable(graph: &Graph, roots: &[NodeId]) -> BTreeSet<NodeId> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<NodeId> = roots.to_vec();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(graph.node(id).inputs.iter().copied());
        }
    }
    seen
}

/// Where the rows that a stage left out are kept.
fn quarantine_key(fp: &Fp) -> String {
    format!("quarantine/{fp}")
}

/// Drops what the ledger keeps by fingerprint and no program's last build has any more, so that it does not grow with every edit, and
/// graphs of indexes whose folder below `dir` is gone.
fn forget_unused(ledger: &Ledger, dir: &Path) -> Result<(), EngineError> {
    let mut used = BTreeSet::new();
    for (_, bytes) in ledger.entries("build/")? {
        // A record of another format says nothing of its fingerprints: then nothing is dropped.
        let Some(record) = String::from_utf8(bytes).ok().and_then(|text| BuildRecord::parse(&text).ok())
        else {
            return Ok(());
        };
        used.extend(record.nodes.iter().map(|node| node.fp.to_string()));
    }
    let mut unused = Vec::new();
    for prefix in ["quarantine/", "idf/", "scorer/", "fusion/", "tuning/"] {
        let names = ledger.names(prefix)?.into_iter();
        unused.extend(names.filter(|name| !used.contains(&name[prefix.len()..])));
    }
    for name in ledger.names(artifacts::GRAPH)? {
        let folder = &name[artifacts::GRAPH.len()..];
        if !dir.join(folder).exists() {
            artifacts::forget_graph(ledger, folder)?;
        }
    }
    let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
    Ok(ledger.remove_all(&unused)?)
}

/// The rows that the stages of these fingerprints left out, each once, and the greatest count of a stage.
pub(crate) fn left_out(
    store: &Store,
    fps: impl Iterator<Item = Fp>,
) -> Result<(u64, BTreeSet<BadRow>), EngineError> {
    let (mut largest, mut rows) = (0, BTreeSet::new());
    for fp in fps {
        let Some(bytes) = store.ledger().get(&quarantine_key(&fp))? else { continue };
        let (count, found): (u64, Vec<BadRow>) =
            serde_json::from_slice(&bytes).map_err(|error| EngineError::internal("the quarantine", error))?;
        largest = largest.max(count);
        rows.extend(found);
    }
    Ok((largest, rows))
}

fn build_key(identity: &str) -> String {
    format!("build/{identity}")
}

/// The record of the last successful build of a program.
///
/// # Errors
/// A store that cannot be read. A record of another format is none.
pub fn last_build(store: &Store, identity: &str) -> Result<Option<BuildRecord>, EngineError> {
    let bytes = store.ledger().get(&build_key(identity))?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| BuildRecord::parse(&text).ok()))
}

/// The file of a named stream of a build, if it is still there. Nodes of a stream are named `stream/number operator`; the
/// last one gives its rows.
#[must_use]
pub fn stream_file(store: &Store, build: &BuildRecord, stream: &str) -> Option<PathBuf> {
    let nodes = build.nodes.iter().rev().filter(|node| node.name.split('/').next() == Some(stream));
    nodes
        .map(|node| store.flows_dir().join(format!("{}.parquet", node.fp.short(32))))
        .find(|path| path.exists())
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        ctx: Arc<RunContext>,
        options: &'a RunOptions,
        files: BTreeMap<ScanKey, ScanFiles>,
        last: Option<BuildRecord>,
        folder: PathBuf,
        identity: String,
    ) -> Result<Self, EngineError> {
        let settings = SessionSettings {
            batch_rows: options.batch_rows,
            memory_bytes: options.memory_bytes,
            temporary: ctx.store.tmp_dir(),
        };
        Ok(Self {
            plan,
            graph: &plan.graph,
            session: session::session(&settings)?,
            ctx,
            options,
            files,
            runtime: tokio::runtime::Handle::current(),
            also: BTreeSet::new(),
            tables: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            stats: BTreeMap::new(),
            last,
            rows: BTreeMap::new(),
            report: RunReport { plan: plan.root.to_string(), ..RunReport::default() },
            folder,
            namespace: blake3::hash(identity.as_bytes()).to_hex()[..8].to_owned(),
            identity,
        })
    }

    /// Writes the build's record, which makes it the last build, and drops stream files that nothing refers to any more.
    fn remember(&self) -> Result<(), EngineError> {
        let record = BuildRecord::of(self.plan, &|id| self.known_rows(id)).to_text();
        let uses: Vec<String> = self.used_files();
        let uses_value = promptc_store::kv::ledger::uses_value(uses.iter().map(String::as_str));
        let (build_key, uses_key) =
            (build_key(&self.identity), promptc_store::kv::ledger::uses_key(&self.identity));
        let ledger = self.ctx.store.ledger();
        let mut entries: Vec<(String, Vec<u8>)> =
            vec![(build_key, record.into_bytes()), (uses_key, uses_value)];
        for node in &self.graph.nodes {
            let Op::Scan(scan) = &node.op else { continue };
            let Some(found) = self.files.get(&scan_key(scan)) else { continue };
            let listing =
                serde_json::to_vec(&found.listing()).map_err(|error| EngineError::internal("run", error))?;
            entries.push((listing_key(&self.identity, &self.stage_name(node.id)), listing));
        }
        let entries: Vec<(&str, &[u8])> =
            entries.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        store_errors::reach(Site::BuildBeforeRecord)?;
        ledger.put_all(&entries)?;
        store_errors::reach(Site::BuildAfterRecord)?;
        self.ctx.store.rows().advance()?;
        store_errors::reach(Site::BuildBeforeForget)?;
        forget_unused(ledger, self.ctx.store.dir())?;
        if !self.report.is_idle() {
            store_errors::reach(Site::BuildBeforeCollect)?;
            let leftovers = promptc_store::doctor::unreferenced(&self.ctx.store);
            let removed = leftovers.and_then(|leftovers| promptc_store::doctor::remove(&leftovers));
            removed.map_err(|error| EngineError::Store {
                code: error.code(),
                message: error.to_string(),
                help: Some(error.help()),
            })?;
        }
        Ok(())
    }

    /// Rows that the stages of this plan left out, now or when they were run: a stage that is reused still lacks them.
    fn gather_quarantine(&mut self) -> Result<(), EngineError> {
        let fps = self.graph.nodes.iter().map(|node| self.plan.fps[node.id.0 as usize]);
        let (largest, rows) = left_out(&self.ctx.store, fps)?;
        // The same bad rows of a source are met by every stage that reads it; beyond the rows kept only the count is known.
        self.report.quarantined = largest.max(rows.len() as u64);
        self.report.quarantine = rows.into_iter().collect();
        Ok(())
    }

    /// Rows of a node: counted now, or known from the last build of the same fingerprint.
    fn known_rows(&self, id: NodeId) -> Option<u64> {
        self.rows.get(&id).copied().or_else(|| {
            let last = self.last.as_ref()?;
            last.nodes.iter().find(|node| node.fp == self.plan.fps[id.0 as usize]).and_then(|node| node.rows)
        })
    }

    fn report(mut self) -> RunReport {
        for (code, subject, rows) in self.ctx.tallies.counts() {
            let what = match code {
                "W2201" => "texts were cut to the model's tokens, and their vectors stand for the beginning,",
                "W2402" => "the ratio was not reached",
                _ => "a `keep` constraint was not met",
            };
            let message = format!("`{subject}`: {what} in {rows} of the rows computed now");
            self.ctx.events.event(Event::Warning { code, message: message.clone() });
            self.report.warnings.push((code.to_owned(), message));
        }
        self.report.source_bytes = self.files.values().map(|found| found.content.bytes).sum();
        self.report
    }

    /// A stage that had nothing to do.
    fn push_reused(&mut self, id: NodeId, name: &str) {
        let rows = self.known_rows(id).unwrap_or(0);
        self.report.nodes.push(NodeReport {
            name: name.to_owned(),
            op: promptc_compiler::fingerprint::op_name(&self.graph.node(id).op).to_owned(),
            state: NodeState::Reused,
            rows,
            reused: rows,
            computed: 0,
            deleted: 0,
            elapsed_ms: 0.0,
            is_stage: true,
        });
    }
}
