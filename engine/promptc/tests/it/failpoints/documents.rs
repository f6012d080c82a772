//! Documents as a scenario: appended, deleted, applied to both indexes, built anew, and the log trimmed behind them.

use std::path::Path;

use promptc_engine::error::EngineError;
use promptc_engine::store::documents::{Derived, Document, DocumentParams, Documents, DocumentsError, trim};
use promptc_engine::store::kv::{Durability, LOG_RECORDS_KEPT};
use promptc_engine::store::open::Store;
use promptc_engine::store::text::TextParams;
use promptc_engine::store::vectors::Metric;
use promptc_engine::store_errors;

use super::library::open;

const NAME: &str = "notes";
const ROUNDS: u32 = 3;
const PER_ROUND: u32 = 4;

fn params() -> DocumentParams {
    let text = TextParams::default();
    DocumentParams { text: Some(text), vectors: Some((Metric::Cosine, 3)) }
}

fn document(id: String, number: u32) -> Document {
    let vector = vec![1.0, number as f32, (number * number) as f32];
    Document { id, text: format!("word{number} common"), vector }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The disturbed process. A document of each process alone is written past the log first and deleted in the end: where an index
/// held it and the log lost it, it would stay in the index. The records before it give its number to others then.
pub(super) fn write(folder: &Path) -> Result<(), EngineError> {
    let store = open(folder)?;
    for number in 0..LOG_RECORDS_KEPT + 40 {
        store.records().put(&number.to_be_bytes(), b"", Durability::Wal)?;
    }
    runtime().block_on(write_documents(&store)).map_err(store_errors::documents)
}

async fn write_documents(store: &Store) -> Result<(), DocumentsError> {
    let own = format!("own-{}", std::process::id());
    let mut documents = Documents::create(store, NAME, params()).await?;
    for round in 0..ROUNDS {
        if round == 1 {
            documents.append(&[document(own.clone(), 99)], Durability::None)?;
        }
        for number in round * 2..round * 2 + PER_ROUND {
            let id = format!("{number}");
            let levels = [Durability::Wal, Durability::GroupCommit];
            documents.append(&[document(id.clone(), number)], levels[number as usize % 2])?;
            println!("ack {id}");
        }
        documents.delete(&["never there"], Durability::Wal)?;
        documents.apply(&mut |_| ()).await?;
    }
    documents.delete(&[&own], Durability::GroupCommit)?;
    for derived in Derived::ALL {
        documents.rebuild(derived, &mut |_| ()).await?;
    }
    drop(documents);
    trim(store).await.map(drop)
}

/// Says which documents there are, after the three stores were compared. Those of single processes are left out.
pub(super) fn look(folder: &Path) -> Result<(), EngineError> {
    let store = open(folder)?;
    store.records().verify()?;
    runtime().block_on(look_at_documents(&store)).map_err(store_errors::documents)
}

async fn look_at_documents(store: &Store) -> Result<(), DocumentsError> {
    let mut documents = Documents::create(store, NAME, params()).await?;
    documents.apply(&mut |_| ()).await?;
    documents.verify()?;
    for number in 0..ROUNDS * 2 + PER_ROUND {
        if let Some(found) = documents.get(&number.to_string())? {
            println!("found document {}: {}", found.id, found.text);
        }
    }
    Ok(())
}
