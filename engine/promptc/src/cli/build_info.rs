//! What this binary knows of its own build, for the environment of a measurement.

use promptc_engine::store::history::{BuildInfo, Environment};

/// The environment that measurements of this process are made in.
pub(super) fn environment() -> Environment {
    let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
    Environment::capture(&BuildInfo {
        rustc_version: text(option_env!("PROMPTC_BUILD_RUSTC")),
        llvm_version: text(option_env!("PROMPTC_BUILD_LLVM")),
        target_cpu: text(option_env!("PROMPTC_BUILD_TARGET_CPU")),
        rustflags: text(option_env!("PROMPTC_BUILD_RUSTFLAGS")),
        opt_level: text(option_env!("PROMPTC_BUILD_OPT_LEVEL")),
        features: Some(Vec::new()),
        allocator: Some("system".to_owned()),
        ..BuildInfo::default()
    })
}
