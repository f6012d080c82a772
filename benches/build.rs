//! Burns into the benches how they were built: what only the compiler and cargo know, for the fingerprint of the environment.
//!
//! cargo tells a build script neither the profile's name nor its link-time optimisation; both are read from where it writes and from the
//! root manifest. `cargo bench` uses the profile `bench`, which writes where `release` does.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../Cargo.toml");
    println!("cargo:rerun-if-env-changed=RUSTFLAGS");
    let version = rustc_version();
    let line = |prefix: &str| version.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
    burn("RUSTC", line("rustc ").map(|rest| format!("rustc {rest}")));
    burn("LLVM", line("LLVM version: "));
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    let cpu =
        flags.split_once("target-cpu=").map(|(_, rest)| rest.split(' ').next().unwrap_or(rest).to_owned());
    burn("TARGET_CPU", Some(cpu.unwrap_or_else(|| "generic".to_owned())));
    burn("RUSTFLAGS", Some(flags));
    burn("OPT_LEVEL", std::env::var("OPT_LEVEL").ok());
    burn("FEATURES", Some(features()));
    let manifest = std::fs::read_to_string("../Cargo.toml").unwrap_or_default();
    let profile = profile().unwrap_or_default();
    burn("LTO", setting(&manifest, &profile, "lto"));
    burn("CODEGEN_UNITS", setting(&manifest, &profile, "codegen-units"));
}

/// Absent values are not set, so that `option_env!` gives none.
fn burn(name: &str, value: Option<String>) {
    if let Some(value) = value {
        println!("cargo:rustc-env=PROMPTC_BUILD_{name}={value}");
    }
}

fn rustc_version() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Features of this package that are on, sorted.
fn features() -> String {
    let prefix = "CARGO_FEATURE_";
    let mut names: Vec<String> = std::env::vars()
        .filter_map(|(name, _)| name.strip_prefix(prefix).map(|name| name.to_lowercase().replace('_', "-")))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    names.join(",")
}

/// The profile: the folder of the target folder that holds `build/<package>-<hash>/out`.
fn profile() -> Option<String> {
    let out = std::env::var("OUT_DIR").ok()?;
    let folder = Path::new(&out).ancestors().nth(3)?.file_name()?.to_str()?.to_owned();
    Some(match folder.as_str() {
        "debug" => "dev".to_owned(),
        "release" => "bench".to_owned(),
        _ => folder,
    })
}

/// The profile's value of a key, or that of the profile it inherits from; none where nothing is set.
fn setting(manifest: &str, profile: &str, key: &str) -> Option<String> {
    let own = format!("[profile.{profile}]");
    let in_table = |key: &str| {
        let table = manifest.lines().map(str::trim).skip_while(|line| *line != own).skip(1);
        let mut entries = table.take_while(|line| !line.starts_with('['));
        entries.find_map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = value.split('#').next().unwrap_or(value);
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let base = match profile {
        "bench" => Some("release".to_owned()),
        _ => in_table("inherits"),
    };
    in_table(key).or_else(|| setting(manifest, &base?, key))
}
