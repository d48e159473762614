//! The rules of the tree: which crate may use which, how files begin, how long they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the tests of every crate may use.
const FOR_TESTS: &str = "clarion-corpus";

/// What each crate may use of ours. Arrows point down only.
const ARROWS: &[(&str, &[&str])] = &[
    ("clarion-model", &[]),
    ("clarion-proto", &["clarion-model"]),
    ("clarion-observability", &["clarion-model"]),
    ("clarion-storage", &["clarion-model", "clarion-proto", "clarion-observability"]),
    ("clarion-runtime", &["clarion-proto", "clarion-observability"]),
    (
        "clarion-router",
        &["clarion-model", "clarion-proto", "clarion-observability", "clarion-storage", "clarion-runtime"],
    ),
    (
        "clarion-channel",
        &["clarion-model", "clarion-proto", "clarion-observability", "clarion-storage", "clarion-runtime"],
    ),
    (
        "clarion-search",
        &["clarion-model", "clarion-proto", "clarion-observability", "clarion-storage", "clarion-runtime"],
    ),
    (
        "clarion-presence",
        &["clarion-model", "clarion-proto", "clarion-observability", "clarion-storage", "clarion-runtime"],
    ),
    ("clarion-voice", &["clarion-model", "clarion-proto", "clarion-observability", "clarion-runtime"]),
    (
        "clarion-gateway",
        &["clarion-model", "clarion-proto", "clarion-observability", "clarion-storage", "clarion-runtime"],
    ),
    (
        "clarion",
        &[
            "clarion-model",
            "clarion-proto",
            "clarion-observability",
            "clarion-storage",
            "clarion-runtime",
            "clarion-router",
            "clarion-presence",
            "clarion-channel",
            "clarion-search",
            "clarion-voice",
            "clarion-gateway",
        ],
    ),
    (
        "clarion-e2e",
        &[
            "clarion",
            "clarion-model",
            "clarion-proto",
            "clarion-observability",
            "clarion-storage",
            "clarion-runtime",
            "clarion-router",
            "clarion-presence",
            "clarion-channel",
            "clarion-search",
            "clarion-voice",
            "clarion-gateway",
        ],
    ),
    (
        "clarion-fuzz",
        &[
            "clarion-model",
            "clarion-proto",
            "clarion-observability",
            "clarion-storage",
            "clarion-channel",
            "clarion-search",
            "clarion-voice",
            "clarion-gateway",
        ],
    ),
    (FOR_TESTS, &[]),
    ("xtask", &["clarion-observability"]),
];

/// Of these there is one version in the tree.
const ONE_VERSION: &[&str] =
    &["tonic", "prost", "hyper", "http", "axum", "rustls", "opentelemetry", "opentelemetry_sdk", "metrics", "tokio"];

/// Longer files than this are named.
const LONG: usize = 400;
/// No file is longer than this.
const TOO_LONG: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

fn metadata() -> serde_json::Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable folder").flatten() {
            let path = entry.path();
            match path.file_name().and_then(|n| n.to_str()) {
                Some("target" | "node_modules" | "venv") => {}
                _ if path.is_dir() => walk(&path, found),
                Some(name) if name.ends_with(".rs") => found.push(path),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["crates", "fuzz", "xtask"] {
        walk(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "found the sources");
    found
}

#[test]
fn arrows_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    for package in packages.iter().filter(|p| p["source"].is_null()) {
        let name = package["name"].as_str().expect("name");
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table of arrows"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"].as_str().expect("name");
            let ours = used.starts_with("clarion");
            assert!(!ours || used == FOR_TESTS || allowed.contains(&used), "{name} may not use {used}");
        }
    }
}

#[test]
fn what_must_agree_with_itself_is_there_once() {
    let metadata = metadata();
    for one in ONE_VERSION {
        let versions: Vec<&str> = metadata["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .filter(|p| p["name"] == *one)
            .filter_map(|p| p["version"].as_str())
            .collect();
        assert!(versions.len() <= 1, "{one}: {versions:?}");
    }
}

#[test]
fn files_say_what_they_are_for() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("readable file");
        assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        assert!(!path.ends_with("mod.rs"), "{}: foo.rs + foo/, no mod.rs", path.display());
    }
}

#[test]
fn files_are_short() {
    for path in sources() {
        let lines = fs::read_to_string(&path).expect("readable file").lines().count();
        if lines > LONG {
            println!("{lines} lines: {}", path.display());
        }
        assert!(lines <= TOO_LONG, "{} has {lines} lines", path.display());
    }
}

#[test]
fn a_main_is_short() {
    for path in sources().iter().filter(|p| p.ends_with("src/main.rs") && !p.starts_with(root().join("xtask"))) {
        let lines = fs::read_to_string(path).expect("readable file").lines().count();
        assert!(lines <= 25, "{} has {lines} lines", path.display());
    }
}

#[test]
fn what_is_fuzzed_is_replayed() {
    let said = fs::read_to_string(root().join("docs/fuzzing.md")).expect("docs/fuzzing.md");
    let modules: Vec<String> = sources()
        .iter()
        .filter(|path| path.ends_with("src/fuzzing.rs"))
        .map(|path| fs::read_to_string(path).expect("readable file"))
        .collect();
    let programs = fs::read_dir(root().join("fuzz/src/bin")).expect("fuzz/src/bin").flatten();
    let mut names: Vec<String> =
        programs.filter_map(|program| Some(program.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    for name in &names {
        let replayed = format!("replay(\"{name}\"");
        assert!(modules.iter().any(|module| module.contains(&replayed)), "no test replays what is kept for {name}");
        assert!(said.contains(&format!("| `{name}` |")), "docs/fuzzing.md says nothing of {name}");
    }
    let corpora = fs::read_dir(root().join("fuzz/corpus")).expect("fuzz/corpus").flatten();
    let mut kept: Vec<String> = corpora.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    kept.sort();
    assert_eq!(kept, names);
}
