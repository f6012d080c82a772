//! SQL functions of the statistics.

use datafusion::prelude::SessionContext;

/// Registers every function of this module.
pub fn register(_ctx: &SessionContext) {}
