//! Burns in how the binary was built: what only the compiler and cargo know, for the fingerprint of the environment.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTFLAGS");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output();
    let version =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = |prefix: &str| version.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default();
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    let cpu =
        flags.split_once("target-cpu=").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("generic");
    let release = line("rustc ");
    burn("RUSTC", &if release.is_empty() { String::new() } else { format!("rustc {release}") });
    burn("LLVM", line("LLVM version: "));
    burn("TARGET_CPU", cpu);
    burn("RUSTFLAGS", &flags);
    burn("OPT_LEVEL", &std::env::var("OPT_LEVEL").unwrap_or_default());
}

fn burn(name: &str, value: &str) {
    println!("cargo:rustc-env=PROMPTC_BUILD_{name}={value}");
}
