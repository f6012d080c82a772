//! What changed between two versions of a stream.

use std::collections::HashMap;

use super::{Flow, FlowError, RowId};

/// The rows that make the new version out of the old one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowDiff {
    /// Rows of the new flow (numbers, ascending) whose identity the old one does not have.
    pub added: Vec<u32>,
    /// Rows of the new flow (numbers, ascending) that the old one has with other content.
    pub changed: Vec<u32>,
    /// Identities that only the old flow has, in its order.
    pub removed: Vec<RowId>,
    /// Identities of the rows in `changed`, in the same order.
    pub changed_ids: Vec<RowId>,
    /// Number of rows that are the same in both.
    pub unchanged: u64,
}

impl FlowDiff {
    /// Whether both flows hold the same rows, whatever their order.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Rows of the new flow that a derived index must take in: added and changed, ascending.
    pub fn to_insert(&self) -> Vec<u32> {
        let mut rows = [self.added.as_slice(), self.changed.as_slice()].concat();
        rows.sort_unstable();
        rows
    }

    /// Identities that a derived index must drop first: removed and changed.
    pub fn to_remove(&self) -> Vec<RowId> {
        [self.removed.as_slice(), self.changed_ids.as_slice()].concat()
    }
}

/// Compares two versions of a stream by the identity and content hash of their rows; the order of rows is not compared.
/// Cost: 32 bytes per row of both files are read; memory about 60 bytes per row of the old one.
///
/// # Errors
/// [`FlowError::Damaged`] if one of the files does not hold what was written.
pub fn diff(old: &Flow, new: &Flow) -> Result<FlowDiff, FlowError> {
    let old_ids = old.ids()?;
    let mut old_rows: HashMap<RowId, RowId> = old_ids.iter().copied().zip(old.contents()?).collect();
    let mut flow_diff = FlowDiff::default();
    for (row_idx, (id, content)) in (0u32..).zip(new.ids()?.into_iter().zip(new.contents()?)) {
        match old_rows.remove(&id) {
            None => flow_diff.added.push(row_idx),
            Some(old_content) if old_content == content => flow_diff.unchanged += 1,
            Some(_) => {
                flow_diff.changed.push(row_idx);
                flow_diff.changed_ids.push(id);
            }
        }
    }
    flow_diff.removed = old_ids.into_iter().filter(|id| old_rows.contains_key(id)).collect();
    Ok(flow_diff)
}
