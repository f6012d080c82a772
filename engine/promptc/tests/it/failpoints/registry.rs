//! The table of sites, the source and the sweep name the same places.

use std::collections::BTreeMap;
use std::path::Path;

use promptc_engine::store::failpoint::Site;

use super::place::files_below;

/// Sites that the spec of this project asks for at least.
const SITES_MIN: usize = 60;

/// Every `Site::Name` in code, with how often.
fn named(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for part in text.split("Site::").skip(1) {
        let name: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
        *found.entry(name).or_default() += 1;
    }
    found
}

/// What is wrong between a table and the places in code.
fn faults(table: &[String], places: &BTreeMap<String, usize>) -> Vec<String> {
    let missing = table.iter().filter(|name| !places.contains_key(*name));
    let mut faults: Vec<String> = missing.map(|name| format!("{name} stands nowhere")).collect();
    let several = places.iter().filter(|(name, count)| **count > 1 && table.contains(name));
    faults.extend(several.map(|(name, count)| format!("{name} stands in {count} places")));
    faults
}

#[test]
fn every_site_of_the_table_stands_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut places = BTreeMap::new();
    for folder in ["store/src", "engine/src", "engine/promptc/src"] {
        for file in files_below(&root.join(folder)) {
            let is_code = file.extension().is_some_and(|suffix| suffix == "rs");
            if !is_code || file.to_string_lossy().contains("failpoint") {
                continue;
            }
            for (name, count) in named(&std::fs::read_to_string(&file).unwrap()) {
                *places.entry(name).or_default() += count;
            }
        }
    }
    let table: Vec<String> = Site::ALL.iter().map(|site| format!("{site:?}")).collect();
    assert!(table.len() >= SITES_MIN, "{} sites", table.len());
    assert_eq!(faults(&table, &places), Vec::<String>::new());
}

#[test]
fn a_site_without_place_or_with_two_is_noticed() {
    let places = named("reach(Site::One)?; reach(Site::Two)?; self.reach(Site::Two)");
    let table = ["One", "Two", "Three"].map(str::to_owned);
    assert_eq!(faults(&table, &places), ["Three stands nowhere", "Two stands in 2 places"]);
    assert_eq!(faults(&table[..1], &named("Site::One")), Vec::<String>::new());
}

/// Code that reads the machine or other people's files, and the door itself.
const BESIDE_THE_DOOR: [&str; 7] = [
    "medium/disk.rs",
    "failpoint/armed.rs",
    "history/code_hash.rs",
    "history/environment.rs",
    "history/git.rs",
    "history/ingest/",
    "history/noise.rs",
];

/// Calls on files that do not pass the door where they are counted.
fn past_the_door(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let words = ["rename(", "remove_", "create_dir", "write(", "copy(", "hard_link(", "read(", "File"];
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_past = |line: &&str| {
        let calls = words.iter().any(|word| line.contains(&format!("fs::{word}")));
        calls || line.contains("OpenOptions") || line.contains("std::fs") && line.contains("File")
    };
    lines.filter(is_past).collect()
}

#[test]
fn the_store_touches_files_through_the_counted_door() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../store/src");
    let mut found = Vec::new();
    for file in files_below(&source) {
        let name = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        if !BESIDE_THE_DOOR.iter().any(|beside| name.starts_with(beside)) {
            let text = std::fs::read_to_string(&file).unwrap();
            found.extend(past_the_door(&text).into_iter().map(|line| format!("{name}: {}", line.trim())));
        }
    }
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(past_the_door("fs::rename(a, b)?;\nlet x = std::fs::File::open(p);\n// fs::copy(\n").len(), 2);
}
