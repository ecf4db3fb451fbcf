//! What no compiler checks: file headers, lengths, forgotten files, fixed sleeps,
//! circles of modules, arms that hide variants, a document that a list has outrun.

mod circles;
mod modules;
mod source;
mod wildcards;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// No file is longer, whatever the reason.
const MOST_LINES: usize = 600;
/// The only homes of `unsafe`.
const UNSAFE_HOMES: &[&str] = &["cove-sys", "cove-sandbox", "cove-vm"];

/// Modules that still are a circle, by crate: this list only gets shorter.
const CIRCLES: &[(&str, &[&str])] = &[
    (
        "cove",
        &[
            "cli",
            "commands::completion",
            "commands::completion::bash",
            "commands::completion::common",
            "commands::completion::fish",
            "commands::completion::zsh",
            "commands::container",
            "commands::copy",
            "commands::exec",
            "commands::image",
            "commands::info",
            "commands::list",
            "commands::login",
            "commands::logs",
            "commands::man",
            "commands::request",
            "commands::run",
            "commands::security",
            "commands::system",
            "commands::tables",
            "commands::tables::container",
            "commands::tables::image",
            "commands::tables::run",
            "commands::tables::system",
            "help",
            "inspect::container",
        ],
    ),
    ("cove-engine", &["logging", "logging::attributes"]),
    (
        "cove-engine",
        &[
            "spec",
            "spec::mounts",
            "spec::profile",
            "spec::resources",
            "spec::security",
        ],
    ),
    (
        "cove-sandbox",
        &[
            "error",
            "lsm",
            "plan",
            "plan::env",
            "plan::idmap",
            "plan::mount",
            "plan::namespaces",
            "plan::process",
            "state",
        ],
    ),
    ("cove-storage", &["tree", "tree::metadata"]),
    ("cove-supervisor", &["logs::json", "logs::record"]),
    (
        "xtask",
        &[
            "bench",
            "bench::containers",
            "bench::logs",
            "bench::pull",
            "bench::runtime",
        ],
    ),
    (
        "xtask",
        &[
            "differ::bundles",
            "differ::bundles::generate",
            "differ::bundles::generate::caller",
            "differ::bundles::generate::linux",
            "differ::bundles::generate::more",
            "differ::bundles::generate::mounts",
            "differ::bundles::generate::process",
            "differ::bundles::host",
            "differ::bundles::known",
            "differ::bundles::normal",
            "differ::bundles::probe",
            "differ::bundles::run",
            "differ::bundles::sweep",
            "differ::bundles::world",
        ],
    ),
    (
        "xtask",
        &[
            "reliability",
            "reliability::cuts",
            "reliability::kills",
            "reliability::orders",
            "reliability::sentinel",
            "reliability::world",
        ],
    ),
];

/// Files in which `_ =>` still hides variants of ours: this list only gets shorter.
const WILDCARDS: &[&str] = &[];

/// Checks every source file of the workspace.
pub(crate) fn check() -> Result<String, String> {
    let root = testkit::workspace();
    let mut files = Vec::new();
    find(&root.join("crates"), &mut files);
    files.sort();
    let mut wrong = Vec::new();
    let mut texts = BTreeMap::new();
    for path in &files {
        let text =
            testkit::files::text(path).ok_or_else(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(&root).unwrap_or(path);
        let text = texts.entry(name.to_owned()).or_insert(text);
        wrong.extend(
            judge(name, text)
                .into_iter()
                .map(|why| format!("{}: {why}", name.display())),
        );
        let of_cargo = name
            .components()
            .any(|c| ["src", "tests"].iter().any(|d| c.as_os_str() == *d));
        if of_cargo && let Some(why) = forgotten(path) {
            wrong.push(format!("{}: {why}", name.display()));
        }
    }
    wrong.extend(circles::judge(&texts, CIRCLES));
    wrong.extend(wildcards::judge(&texts, WILDCARDS));
    wrong.extend(crate::differ::check().err());
    if wrong.is_empty() {
        Ok(format!("tidy: {} files", files.len()))
    } else {
        Err(wrong.join("\n"))
    }
}

/// What is wrong with one file's text.
fn judge(name: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//! ") {
        wrong.push("the first line does not say with //! what the file is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        wrong.push(format!("{lines} lines; which second subject moved in?"));
    }
    let home = name
        .components()
        .nth(1)
        .map(|c| c.as_os_str().to_string_lossy().into_owned());
    let may_be_unsafe = home.is_some_and(|home| UNSAFE_HOMES.contains(&home.as_str()));
    let in_tests = name.components().any(|c| c.as_os_str() == "tests");
    let mut tests = in_tests;
    for (n, line) in text.lines().enumerate() {
        let n = n + 1;
        tests |= line.trim() == "#[cfg(test)]";
        // Split, so that these lines do not find themselves.
        if tests && line.contains(concat!("thread::", "sleep(")) {
            wrong.push(format!(
                "line {n}: a fixed sleep in a test; wait for the event"
            ));
        }
        if !may_be_unsafe && line.contains(concat!("expect(unsafe", "_code")) {
            wrong.push(format!(
                "line {n}: unsafe outside of {}",
                UNSAFE_HOMES.join(", ")
            ));
        }
        if line.contains('\t') || line.ends_with(' ') {
            wrong.push(format!("line {n}: a tab, or a space at the end"));
        }
    }
    wrong
}

/// A module file that nobody declares is never compiled.
fn forgotten(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    if ["lib", "main", "build"].contains(&stem) {
        return None;
    }
    let directory = path.parent()?;
    // The module's own name, and the directory whose root file declares it.
    let (module, place) = match stem {
        "mod" => (directory.file_name()?.to_str()?, directory.parent()?),
        stem => (stem, directory),
    };
    if place.file_name()? == "tests" {
        return Some("integration tests are one binary, tests/it".to_owned());
    }
    if ["bin", "examples", "benches"]
        .iter()
        .any(|d| place.ends_with(d))
    {
        return None;
    }
    let parents = ["lib.rs", "main.rs", "mod.rs"].map(|name| place.join(name));
    let beside = place.with_extension("rs");
    let declares = |parent: &Path| {
        testkit::files::text(parent).is_some_and(|text| {
            text.lines().map(str::trim).any(|line| {
                line == format!("mod {module};") || line.ends_with(&format!(" mod {module};"))
            })
        })
    };
    // `#[path]` may stand in any file beside.
    let named = || {
        let attribute = format!("path = \"{module}.rs\"");
        std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                testkit::files::text(&entry.path()).is_some_and(|text| text.contains(&attribute))
            })
    };
    let declared = parents
        .iter()
        .chain([&beside])
        .filter(|p| p.as_path() != path)
        .any(|p| declares(p))
        || named();
    (!declared).then(|| format!("no module declares {module}; it is never compiled"))
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_seen() {
        let sleep = concat!("//! x\n#[cfg(test)]\nmod t { std::thread::", "sleep(d) }");
        let long = format!("//! x\n{}", "\n".repeat(600));
        let table: &[(&str, &str, bool)] = &[
            ("crates/a/src/x.rs", "//! What it is.\n", true),
            ("crates/a/src/x.rs", "fn main() {}\n", false),
            ("crates/a/src/x.rs", sleep, false),
            (
                "crates/a/tests/it/x.rs",
                concat!("//! x\nthread::", "sleep(d)"),
                false,
            ),
            (
                "crates/a/src/x.rs",
                concat!("//! x\nthread::", "sleep(d)"),
                true,
            ),
            (
                "crates/a/src/x.rs",
                concat!("//! x\n#![expect(unsafe", "_code)]"),
                false,
            ),
            (
                "crates/cove-sys/src/x.rs",
                concat!("//! x\n#![expect(unsafe", "_code)]"),
                true,
            ),
            ("crates/a/src/x.rs", "//! x\nlet a; \n", false),
            ("crates/a/src/x.rs", &long, false),
        ];
        for (name, text, right) in table {
            assert_eq!(
                judge(name.as_ref(), text).is_empty(),
                *right,
                "{name}: {text:.40}"
            );
        }
    }

    #[test]
    fn a_file_without_a_declaration_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let src = directory.path().join("src");
        std::fs::create_dir_all(src.join("deep")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(src.join(name), text).unwrap();
        put("lib.rs", "pub mod known;\nmod deep;\n");
        put("known.rs", "");
        put("lost.rs", "");
        put("deep/mod.rs", "pub(crate) mod inner;\n");
        put("deep/inner.rs", "");
        put("deep/lost.rs", "");
        for (name, lost) in [
            ("known.rs", false),
            ("lost.rs", true),
            ("deep/mod.rs", false),
            ("deep/inner.rs", false),
            ("deep/lost.rs", true),
        ] {
            assert_eq!(forgotten(&src.join(name)).is_some(), lost, "{name}");
        }
    }
}
