//! How this bench was built: what `build.rs` burnt in, and the kernels of this processor.
//!
//! As the JSON that a slice leaves and that the recorder reads as the history's `BuildInfo`: the names are its fields. What is not
//! known is null.

use promptc_kernels::Kernels;
use serde_json::{Value, json};

/// What is known of the build.
pub(crate) fn built() -> Value {
    let features = option_env!("PROMPTC_BUILD_FEATURES").unwrap_or_default();
    let features: Vec<&str> = features.split(',').filter(|name| !name.is_empty()).collect();
    let unit_count = option_env!("PROMPTC_BUILD_CODEGEN_UNITS").and_then(|count| count.parse::<u32>().ok());
    json!({
        "rustc_version": option_env!("PROMPTC_BUILD_RUSTC"),
        "llvm_version": option_env!("PROMPTC_BUILD_LLVM"),
        "target_cpu": option_env!("PROMPTC_BUILD_TARGET_CPU"),
        "rustflags": option_env!("PROMPTC_BUILD_RUSTFLAGS"),
        "opt_level": option_env!("PROMPTC_BUILD_OPT_LEVEL"),
        "lto": option_env!("PROMPTC_BUILD_LTO"),
        "codegen_unit_count": unit_count,
        "features": features,
        "allocator": "system",
        "dispatch": Kernels::best().level().name(),
    })
}
