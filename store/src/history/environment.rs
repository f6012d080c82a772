//! The environment of a measurement: what of the machine and the build changes results, and a fingerprint of it.
//!
//! Everything is read from `/proc`, `/sys` and what the build says of itself ([`BuildInfo`]). What cannot be read is none,
//! and counts as the text `unknown` in the fingerprint. No user name, host name or path is stored.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cells::Cells::{CountOrNull, FlagOrNull, LongOrNull, Text, TextOrNull, Texts, Time};
use super::cells::Column;
use super::rows::Micros;

/// Memory is rounded up to this many bytes: a new kernel reserves some more or less and is not another machine.
const MEMORY_STEP_BYTES: u64 = 256 << 20;
/// Longest file of `/proc` or `/sys` that is looked at, in bytes: `cpuinfo` of 1,024 cores has 2 MB.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// What the column of a value that cannot be read counts as.
const UNKNOWN: &str = "unknown";

/// The columns of [`FINGERPRINTED`] that the build decides; the others are the machine's.
const BUILD: &[&str] =
    &["rustc_version", "target_cpu", "rustflags", "opt_level", "lto", "features", "allocator", "dispatch"];

/// The columns that change results; the others explain.
const FINGERPRINTED: &[&str] = &[
    "os",
    "arch",
    "cpu_vendor",
    "cpu_model",
    "physical_core_count",
    "logical_core_count",
    "usable_core_count",
    "turbo",
    "smt",
    "memory_bytes",
    "memory_limit_bytes",
    "fs_type",
    "virtualised",
    "gpu_names",
    "rustc_version",
    "target_cpu",
    "rustflags",
    "opt_level",
    "lto",
    "features",
    "allocator",
    "dispatch",
];

/// What is known of a build; handed in, because the store is not the program that is measured. What is not known is none, never that
/// of another program. As JSON an object of these names, absent ones are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildInfo {
    /// First line of `rustc --version`.
    pub rustc_version: Option<String>,
    /// As `21.1.2`.
    pub llvm_version: Option<String>,
    /// As `native` or `x86-64-v3`.
    pub target_cpu: Option<String>,
    /// Compiler flags; words with a `/` are stored as `<path>`.
    pub rustflags: Option<String>,
    /// `0` to `3`, `s`, `z`.
    pub opt_level: Option<String>,
    /// `off`, `thin`, `fat`.
    pub lto: Option<String>,
    /// Code generation units per crate.
    pub codegen_unit_count: Option<u32>,
    /// Features of the measured crates, in any order; none if nobody knows them.
    pub features: Option<Vec<String>>,
    /// As `system`.
    pub allocator: Option<String>,
    /// Best kernel level of this processor: `portable`, `avx2`, `avx512`, `amx`, `cuda`.
    pub dispatch: Option<String>,
    /// blake3 of `Cargo.lock`, in hexadecimal digits.
    pub cargo_lock_hash: Option<String>,
    /// The service that runs the build, as `github`; none by hand.
    pub ci_provider: Option<String>,
}

impl BuildInfo {
    /// What is the same in both builds; where they differ nothing is known of the two together.
    #[must_use]
    pub fn common(self, other: &Self) -> Self {
        fn same<T: PartialEq>(own: Option<T>, other: &Option<T>) -> Option<T> {
            if own == *other { own } else { None }
        }
        Self {
            rustc_version: same(self.rustc_version, &other.rustc_version),
            llvm_version: same(self.llvm_version, &other.llvm_version),
            target_cpu: same(self.target_cpu, &other.target_cpu),
            rustflags: same(self.rustflags, &other.rustflags),
            opt_level: same(self.opt_level, &other.opt_level),
            lto: same(self.lto, &other.lto),
            codegen_unit_count: same(self.codegen_unit_count, &other.codegen_unit_count),
            features: same(self.features, &other.features),
            allocator: same(self.allocator, &other.allocator),
            dispatch: same(self.dispatch, &other.dispatch),
            cargo_lock_hash: same(self.cargo_lock_hash, &other.cargo_lock_hash),
            ci_provider: same(self.ci_provider, &other.ci_provider),
        }
    }

    /// This build, with what is not known of it from `other`, another witness of the same build.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        fn known<T: Clone>(own: Option<T>, other: &Option<T>) -> Option<T> {
            own.or_else(|| other.clone())
        }
        Self {
            rustc_version: known(self.rustc_version, &other.rustc_version),
            llvm_version: known(self.llvm_version, &other.llvm_version),
            target_cpu: known(self.target_cpu, &other.target_cpu),
            rustflags: known(self.rustflags, &other.rustflags),
            opt_level: known(self.opt_level, &other.opt_level),
            lto: known(self.lto, &other.lto),
            codegen_unit_count: known(self.codegen_unit_count, &other.codegen_unit_count),
            features: known(self.features, &other.features),
            allocator: known(self.allocator, &other.allocator),
            dispatch: known(self.dispatch, &other.dispatch),
            cargo_lock_hash: known(self.cargo_lock_hash, &other.cargo_lock_hash),
            ci_provider: known(self.ci_provider, &other.ci_provider),
        }
    }
}

/// One row of `env`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are the columns of the table, described in FORMAT.md")]
pub struct Environment {
    pub os: Option<String>,
    pub kernel: Option<String>,
    pub arch: Option<String>,
    pub cpu_vendor: Option<String>,
    pub cpu_model: Option<String>,
    pub cpu_stepping: Option<String>,
    pub microcode: Option<String>,
    pub cpu_flags: Option<String>,
    pub physical_core_count: Option<u32>,
    pub logical_core_count: Option<u32>,
    pub usable_core_count: Option<u32>,
    pub l1d_bytes: Option<u64>,
    pub l2_bytes: Option<u64>,
    pub l3_bytes: Option<u64>,
    pub numa_node_count: Option<u32>,
    pub governor: Option<String>,
    pub turbo: Option<bool>,
    pub smt: Option<bool>,
    pub memory_bytes: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub fs_type: Option<String>,
    pub disk_model: Option<String>,
    pub virtualised: Option<bool>,
    pub container: Option<String>,
    pub gpu_names: Vec<String>,
    pub gpu_driver: Option<String>,
    pub cuda_version: Option<String>,
    pub rustc_version: Option<String>,
    pub llvm_version: Option<String>,
    pub target_cpu: Option<String>,
    pub rustflags: Option<String>,
    pub opt_level: Option<String>,
    pub lto: Option<String>,
    pub codegen_unit_count: Option<u32>,
    pub features: Vec<String>,
    pub allocator: Option<String>,
    pub dispatch: Option<String>,
    pub cargo_lock_hash: Option<String>,
    pub host_hash: Option<String>,
    pub ci_provider: Option<String>,
    pub captured_at: Micros,
    /// The fingerprint; set by [`Environment::capture`] and [`Environment::sealed`].
    pub env_id: String,
    /// The text that the fingerprint is of.
    pub raw_json: String,
}

pub(super) fn columns() -> Vec<Column<Environment>> {
    let list = [
        ("env_id", Text(|it: &Environment| &it.env_id)),
        ("os", TextOrNull(|it| it.os.as_deref())),
        ("kernel", TextOrNull(|it| it.kernel.as_deref())),
        ("arch", TextOrNull(|it| it.arch.as_deref())),
        ("cpu_vendor", TextOrNull(|it| it.cpu_vendor.as_deref())),
        ("cpu_model", TextOrNull(|it| it.cpu_model.as_deref())),
        ("cpu_stepping", TextOrNull(|it| it.cpu_stepping.as_deref())),
        ("microcode", TextOrNull(|it| it.microcode.as_deref())),
        ("cpu_flags", TextOrNull(|it| it.cpu_flags.as_deref())),
        ("physical_core_count", CountOrNull(|it| it.physical_core_count)),
        ("logical_core_count", CountOrNull(|it| it.logical_core_count)),
        ("usable_core_count", CountOrNull(|it| it.usable_core_count)),
        ("l1d_bytes", LongOrNull(|it| it.l1d_bytes)),
        ("l2_bytes", LongOrNull(|it| it.l2_bytes)),
        ("l3_bytes", LongOrNull(|it| it.l3_bytes)),
        ("numa_node_count", CountOrNull(|it| it.numa_node_count)),
        ("governor", TextOrNull(|it| it.governor.as_deref())),
        ("turbo", FlagOrNull(|it| it.turbo)),
        ("smt", FlagOrNull(|it| it.smt)),
        ("memory_bytes", LongOrNull(|it| it.memory_bytes)),
        ("memory_limit_bytes", LongOrNull(|it| it.memory_limit_bytes)),
        ("fs_type", TextOrNull(|it| it.fs_type.as_deref())),
        ("disk_model", TextOrNull(|it| it.disk_model.as_deref())),
        ("virtualised", FlagOrNull(|it| it.virtualised)),
        ("container", TextOrNull(|it| it.container.as_deref())),
        ("gpu_names", Texts(|it| &it.gpu_names)),
        ("gpu_driver", TextOrNull(|it| it.gpu_driver.as_deref())),
        ("cuda_version", TextOrNull(|it| it.cuda_version.as_deref())),
        ("rustc_version", TextOrNull(|it| it.rustc_version.as_deref())),
        ("llvm_version", TextOrNull(|it| it.llvm_version.as_deref())),
        ("target_cpu", TextOrNull(|it| it.target_cpu.as_deref())),
        ("rustflags", TextOrNull(|it| it.rustflags.as_deref())),
        ("opt_level", TextOrNull(|it| it.opt_level.as_deref())),
        ("lto", TextOrNull(|it| it.lto.as_deref())),
        ("codegen_unit_count", CountOrNull(|it| it.codegen_unit_count)),
        ("features", Texts(|it| &it.features)),
        ("allocator", TextOrNull(|it| it.allocator.as_deref())),
        ("dispatch", TextOrNull(|it| it.dispatch.as_deref())),
        ("cargo_lock_hash", TextOrNull(|it| it.cargo_lock_hash.as_deref())),
        ("host_hash", TextOrNull(|it| it.host_hash.as_deref())),
        ("ci_provider", TextOrNull(|it| it.ci_provider.as_deref())),
        ("captured_at", Time(|it| it.captured_at)),
        ("raw_json", Text(|it| &it.raw_json)),
    ];
    list.into_iter().map(|(name, cells)| Column { name, cells }).collect()
}

impl Environment {
    /// The environment of this process. Cost: some thirty small files, about a millisecond.
    #[must_use]
    pub fn capture(build: &BuildInfo) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let captured_at = Micros::try_from(now.as_micros()).unwrap_or(Micros::MAX);
        let mut environment = Self { captured_at, ..Self::default() };
        environment.add_system();
        environment.add_processor();
        environment.add_memory_and_disk();
        environment.add_accelerators();
        environment.add_build(build);
        environment.sealed()
    }

    /// The environment with its fingerprint computed from the other fields.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.raw_json = self.canonical();
        self.env_id = blake3::hash(self.raw_json.as_bytes()).to_hex()[..32].to_owned();
        self
    }

    /// Whether `raw_json`, the fingerprinted columns of another environment, are of the same machine: equal but for the build.
    #[must_use]
    pub(super) fn is_machine_of(&self, raw_json: &str) -> bool {
        let machine = |text: &str| {
            let mut columns: Map<String, Value> = serde_json::from_str(text).ok()?;
            columns.retain(|name, _| !BUILD.contains(&name.as_str()));
            Some(columns)
        };
        machine(&self.raw_json).is_some_and(|own| Some(own) == machine(raw_json))
    }

    /// The fingerprint: the first 16 bytes of blake3 over the canonical JSON, in hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        blake3::hash(self.canonical().as_bytes()).to_hex()[..32].to_owned()
    }

    /// The fingerprinted columns as one JSON object, names sorted, no white space, `unknown` for null.
    fn canonical(&self) -> String {
        let all = columns();
        let chosen = all.iter().filter(|column| FINGERPRINTED.contains(&column.name));
        let object: Map<String, Value> = chosen
            .map(|column| {
                let value = column.cells.json(self);
                (column.name.to_owned(), if value.is_null() { UNKNOWN.into() } else { value })
            })
            .collect();
        // serde_json keeps the names of an object sorted unless a feature says otherwise; sorted here in any case.
        let sorted: std::collections::BTreeMap<&String, &Value> = object.iter().collect();
        serde_json::to_string(&sorted).expect("invariant: texts, numbers and flags are JSON")
    }

    fn add_system(&mut self) {
        let release = read("/etc/os-release");
        let entry = |key: &str| {
            let lines = release.as_deref()?.lines();
            let value = lines.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key)?.1;
            Some(value.trim_matches('"').to_owned())
        };
        let words = [Some(std::env::consts::OS.to_owned()), entry("ID"), entry("VERSION_ID")];
        self.os = Some(words.into_iter().flatten().collect::<Vec<_>>().join(" "));
        self.arch = Some(std::env::consts::ARCH.to_owned());
        self.kernel = line("/proc/sys/kernel/osrelease");
        self.container = container();
        // The id is 128 random bits; its keyed hash says whether two runs share a machine and nothing else.
        self.host_hash = line("/etc/machine-id").filter(|id| !id.is_empty()).map(|id| {
            let mut hasher = blake3::Hasher::new_derive_key("promptc benchmark history, host, version 1");
            hasher.update(id.as_bytes());
            hasher.finalize().to_hex()[..32].to_owned()
        });
    }

    fn add_processor(&mut self) {
        let text = read("/proc/cpuinfo").unwrap_or_default();
        let entries: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let first = |names: &[&str]| {
            let found = entries.iter().find(|(name, value)| names.contains(name) && !value.is_empty());
            found.map(|(_, value)| (*value).to_owned())
        };
        self.cpu_vendor = first(&["vendor_id", "CPU implementer"]);
        self.cpu_model = first(&["model name", "CPU part"]);
        self.cpu_stepping = first(&["stepping", "CPU revision"]);
        self.microcode = first(&["microcode"]);
        self.cpu_flags = first(&["flags", "Features"]).map(|flags| {
            flags.split_whitespace().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
        });
        let has_hypervisor =
            self.cpu_flags.as_deref().map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
        self.virtualised =
            if Path::new("/sys/hypervisor/type").exists() { Some(true) } else { has_hypervisor };
        let logical = entries.iter().filter(|(name, _)| *name == "processor").count();
        self.logical_core_count = u32::try_from(logical).ok().filter(|count| *count > 0);
        self.physical_core_count = physical_cores(&entries);
        self.usable_core_count =
            std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
        self.l1d_bytes = cache_bytes(1);
        self.l2_bytes = cache_bytes(2);
        self.l3_bytes = cache_bytes(3);
        self.numa_node_count = numa_nodes();
        self.governor = line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        self.smt = flag("/sys/devices/system/cpu/smt/active");
        self.turbo = flag("/sys/devices/system/cpu/intel_pstate/no_turbo")
            .map(|is_off| !is_off)
            .or_else(|| flag("/sys/devices/system/cpu/cpufreq/boost"));
    }

    fn add_memory_and_disk(&mut self) {
        let total = read("/proc/meminfo").and_then(|text| {
            let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            kilobytes.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        });
        self.memory_bytes = total.map(|kilobytes| (kilobytes * 1024).next_multiple_of(MEMORY_STEP_BYTES));
        self.memory_limit_bytes = memory_limit();
        if let Some((fs_type, device)) = mount_of_working_folder() {
            self.fs_type = Some(fs_type);
            let block = format!("/sys/dev/block/{device}");
            let models = ["device/model", "../device/model"].map(|tail| line(&format!("{block}/{tail}")));
            self.disk_model = models.into_iter().flatten().next();
        }
    }

    fn add_accelerators(&mut self) {
        let mut folders: Vec<_> = fs::read_dir("/proc/driver/nvidia/gpus")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        folders.sort();
        let model = |folder: &std::path::PathBuf| {
            let text = read(&folder.join("information").to_string_lossy())?;
            Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
        };
        self.gpu_names = folders.iter().filter_map(model).collect();
        self.gpu_names.sort();
        self.gpu_driver = line("/proc/driver/nvidia/version")
            .and_then(|text| text.split_whitespace().find(|word| is_version(word)).map(str::to_owned));
        self.cuda_version = read("/usr/local/cuda/version.json").and_then(|text| {
            let value: Value = serde_json::from_str(&text).ok()?;
            Some(value.get("cuda")?.get("version")?.as_str()?.to_owned())
        });
    }

    fn add_build(&mut self, build: &BuildInfo) {
        let build = build.clone();
        self.rustc_version = build.rustc_version;
        self.llvm_version = build.llvm_version;
        self.target_cpu = build.target_cpu;
        self.rustflags = build.rustflags.map(|flags| without_paths(&flags));
        self.opt_level = build.opt_level;
        self.lto = build.lto;
        self.codegen_unit_count = build.codegen_unit_count;
        let features = build.features.unwrap_or_else(|| vec![UNKNOWN.to_owned()]);
        let features: BTreeSet<String> = features.into_iter().collect();
        self.features = features.into_iter().collect();
        self.allocator = build.allocator;
        self.dispatch = build.dispatch;
        self.cargo_lock_hash = build.cargo_lock_hash;
        self.ci_provider = build.ci_provider;
    }
}

/// The text of a small file; none if it cannot be read.
fn read(path: &str) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first line of a file, trimmed; none if it is empty.
fn line(path: &str) -> Option<String> {
    let text = read(path)?;
    let first = text.lines().next()?.trim();
    (!first.is_empty()).then(|| first.to_owned())
}

fn flag(path: &str) -> Option<bool> {
    match line(path)?.as_str() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// Pairs of package and core in `/proc/cpuinfo`; none where it does not say.
fn physical_cores(entries: &[(&str, &str)]) -> Option<u32> {
    let mut package = "";
    let mut cores = BTreeSet::new();
    for (name, value) in entries {
        match *name {
            "physical id" => package = value,
            "core id" => {
                cores.insert((package, *value));
            }
            _ => {}
        }
    }
    u32::try_from(cores.len()).ok().filter(|count| *count > 0)
}

/// Bytes of the first core's data or unified cache of `level`.
fn cache_bytes(level: u32) -> Option<u64> {
    (0..8).find_map(|index| {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let found: u32 = line(&format!("{folder}/level"))?.parse().ok()?;
        let kind = line(&format!("{folder}/type"))?;
        if found != level || kind == "Instruction" {
            return None;
        }
        let size = line(&format!("{folder}/size"))?;
        let (digits, unit) =
            size.split_at(size.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(size.len()));
        let scale = match unit {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        digits.parse::<u64>().ok().map(|count| count * scale)
    })
}

fn numa_nodes() -> Option<u32> {
    let entries = fs::read_dir("/sys/devices/system/node").ok()?;
    let is_node = |name: &str| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let count = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_node)).count();
    u32::try_from(count).ok().filter(|count| *count > 0)
}

/// The kind of container, from the marks that the runtimes leave; none outside one.
fn container() -> Option<String> {
    if Path::new("/.dockerenv").exists() {
        return Some("docker".into());
    }
    if Path::new("/run/.containerenv").exists() {
        return Some("podman".into());
    }
    let groups = read("/proc/1/cgroup")?;
    ["kubepods", "docker", "lxc"].into_iter().find(|name| groups.contains(name)).map(str::to_owned)
}

/// The memory limit of this process's control group; none without a limit.
fn memory_limit() -> Option<u64> {
    let own = read("/proc/self/cgroup")
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)))
        .unwrap_or_default();
    let files = [
        format!("/sys/fs/cgroup{}/memory.max", own.trim_end_matches('/')),
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    let limit: u64 = files.iter().find_map(|path| line(path))?.parse().ok()?;
    // Version 1 says "no limit" by the largest multiple of a page.
    (limit < 1 << 60).then_some(limit)
}

/// Type of the file system that the working folder is on, and its device as `major:minor`.
fn mount_of_working_folder() -> Option<(String, String)> {
    let folder = std::env::current_dir().ok()?;
    let table = read("/proc/self/mountinfo")?;
    let mut best: Option<(usize, String, String)> = None;
    for line in table.lines() {
        let Some((mount, source)) = line.split_once(" - ") else { continue };
        let mut words = mount.split(' ').skip(2);
        let (Some(device), Some(point)) = (words.next(), words.nth(1)) else { continue };
        let Some(fs_type) = source.split(' ').next() else { continue };
        let depth = Path::new(point).components().count();
        let is_nearer = best.as_ref().is_none_or(|(best_depth, ..)| depth >= *best_depth);
        if folder.starts_with(point) && is_nearer {
            best = Some((depth, fs_type.to_owned(), device.to_owned()));
        }
    }
    best.map(|(_, fs_type, device)| (fs_type, device))
}

fn is_version(word: &str) -> bool {
    word.contains('.')
        && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Compiler flags without folders of the machine they were typed on.
fn without_paths(flags: &str) -> String {
    let words = flags.split_whitespace().map(|word| if word.contains(['/', '\\']) { "<path>" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_changes_with_what_changes_results_and_with_nothing_else() {
        let base = Environment::capture(&BuildInfo::default());
        assert_eq!(base.id(), base.env_id);
        assert_eq!(base.env_id.len(), 32);
        let explained =
            Environment { kernel: Some("9.9".into()), captured_at: 1, microcode: None, ..base.clone() };
        assert_eq!(explained.id(), base.env_id);
        let other = Environment { rustc_version: Some("rustc 9.9".into()), ..base.clone() };
        assert_ne!(other.id(), base.env_id);
        let unknown = Environment { fs_type: None, ..base.clone() };
        assert!(unknown.sealed().raw_json.contains(r#""fs_type":"unknown""#));
    }

    #[test]
    fn what_is_not_known_of_a_build_is_unknown_and_what_differs_too() {
        let text = |text: &str| Some(text.to_owned());
        let one = BuildInfo { opt_level: text("3"), lto: text("fat"), ..BuildInfo::default() };
        let two = BuildInfo {
            opt_level: text("3"),
            lto: text("off"),
            rustc_version: text("r"),
            ..BuildInfo::default()
        };
        assert_eq!(one.clone().common(&two), BuildInfo { opt_level: text("3"), ..BuildInfo::default() });
        let both = one.clone().or(&two);
        assert_eq!((both.lto, both.rustc_version), (text("fat"), text("r")));
        let unknown = Environment::capture(&BuildInfo::default());
        assert_eq!(unknown.features, ["unknown"]);
        for name in BUILD {
            let column = columns().into_iter().find(|column| column.name == *name).unwrap();
            let cell = column.cells.json(&unknown);
            assert!(cell.is_null() || cell == serde_json::json!(["unknown"]), "{name}: {cell}");
        }
        let none = Environment::capture(&BuildInfo { features: Some(Vec::new()), ..BuildInfo::default() });
        assert_ne!(none.id(), unknown.id());
        let read: BuildInfo = serde_json::from_str(r#"{"lto":"fat","opt_level":"3"}"#).unwrap();
        assert_eq!(read, one);
    }

    #[test]
    fn a_machine_is_told_from_others_whatever_is_built() {
        let own = Environment::capture(&BuildInfo::default());
        let built = Environment::capture(&BuildInfo { opt_level: Some("3".into()), ..BuildInfo::default() });
        assert!(built.env_id != own.env_id && own.is_machine_of(&built.raw_json));
        let other = Environment { memory_bytes: Some(1), ..own.clone() }.sealed();
        assert!(!own.is_machine_of(&other.raw_json) && !own.is_machine_of("{"));
        assert!(BUILD.iter().all(|name| FINGERPRINTED.contains(name)));
    }

    #[test]
    fn every_fingerprinted_name_is_a_column() {
        let names: Vec<&str> = columns().iter().map(|column| column.name).collect();
        let missing: Vec<_> = FINGERPRINTED.iter().filter(|name| !names.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn features_are_sorted_and_flags_hold_no_path() {
        let build = BuildInfo {
            features: Some(vec!["b".into(), "a".into(), "b".into()]),
            rustflags: Some("-C target-cpu=native --remap-path-prefix=/home/name=x".into()),
            ..BuildInfo::default()
        };
        let environment = Environment::capture(&build);
        assert_eq!(environment.features, ["a", "b"]);
        assert_eq!(environment.rustflags.as_deref(), Some("-C target-cpu=native <path>"));
    }

    #[test]
    fn cores_are_counted_by_package_and_core() {
        let entries = [
            ("physical id", "0"),
            ("core id", "0"),
            ("physical id", "0"),
            ("core id", "0"),
            ("physical id", "1"),
            ("core id", "0"),
        ];
        assert_eq!(physical_cores(&entries), Some(2));
        assert_eq!(physical_cores(&[("processor", "0")]), None);
    }

    #[test]
    fn versions_are_told_from_words() {
        assert!(is_version("535.129.03"));
        assert!(!is_version("x86_64") && !is_version("1.") && !is_version("12"));
    }
}
