//! `promptc doctor --rebuild`: indexes of documents, anew from the log and its records.

use std::path::Path;

use promptc_engine::store::documents::{Derived, Documents, DocumentsError, Step};
use promptc_engine::store::open::Store;
use promptc_engine::store_errors;

use super::super::{Common, Outcome};
use crate::exit::Exit;

/// Builds the index of every collection that has it, and compares it with the records.
pub(super) fn rebuild(folder: &Path, derived: Derived, common: &Common) -> Outcome {
    let store = common.store(folder)?;
    let names = Documents::names(store.records()).map_err(store_errors::documents)?;
    let runtime = common.runtime()?;
    let mut built_count = 0;
    for name in names {
        let built = runtime.block_on(rebuild_one(&store, &name, derived));
        built_count += u32::from(built.map_err(store_errors::documents)?);
    }
    if built_count == 0 {
        println!("             no collection of documents has an index of {}", derived.name());
    }
    Ok(Exit::Ok)
}

/// Whether the collection has such an index.
async fn rebuild_one(store: &Store, name: &str, derived: Derived) -> Result<bool, DocumentsError> {
    let mut documents = Documents::open(store, name).await?;
    if !documents.params().derived().contains(&derived) {
        return Ok(false);
    }
    println!("collection   {name}");
    for notice in documents.notices() {
        println!("             {notice}");
    }
    let mut tell = |step| {
        if let Step::Read(derived, count) = step {
            println!("             {count} documents for {}", derived.name());
        }
    };
    let watermark = documents.rebuild(derived, &mut tell).await?;
    documents.apply(&mut |_| ()).await?;
    let agreement = documents.verify()?;
    println!(
        "             {} stands at write {watermark}; {} documents are the same in the records and in every index",
        derived.name(),
        agreement.documents
    );
    Ok(true)
}
