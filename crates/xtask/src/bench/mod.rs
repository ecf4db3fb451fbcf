//! `cargo xtask bench`: Cove and its peers, one after the other in each round.

mod containers;
pub(crate) mod docker;
mod logs;
pub(crate) mod nosync;
mod pull;
mod runtime;
pub(crate) mod table;
pub(crate) mod worker;

use std::path::PathBuf;
use std::time::Duration;

use table::Row;
use testkit::cove::Cove;
use testkit::image::busybox;
use testkit::registry::Registry;
use testkit::roots::Roots;

pub(crate) const USAGE: &str = "\
cargo xtask bench [--rounds N] [--write] oci|run|exec|logs|pull|ps|parallel|density|all

Runs the release binary (or $COVE_BIN). --write puts the table into docs/performance.md.";

/// Parses, runs, prints; an error when a target is not met.
pub(crate) fn run(words: &[&str]) -> Result<String, String> {
    let (mut rounds, mut write, mut what) = (None, false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--rounds" => {
                let n = words
                    .next()
                    .and_then(|n| n.parse::<usize>().ok())
                    .filter(|n| *n > 0);
                rounds = Some(n.ok_or("--rounds takes a number above 0")?);
            }
            "--write" => write = true,
            name if what.is_none() => what = Some(name),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let stage = Stage::new()?;
    type Bench = fn(&Stage, usize) -> Result<Vec<Row>, String>;
    // Each with the rounds that make its median steady.
    let all: &[(&str, Bench, usize)] = &[
        ("oci", runtime::oci, 200),
        ("run", runtime::run, 100),
        ("parallel", runtime::parallel, 20),
        ("exec", containers::exec, 50),
        ("ps", containers::ps, 20),
        ("density", containers::density, 1),
        ("logs", logs::run, 3),
        ("pull", pull::run, 3),
    ];
    let wanted = what.ok_or(USAGE)?;
    let mut rows = Vec::new();
    for (name, bench, usual) in all.iter().filter(|(n, ..)| wanted == "all" || wanted == *n) {
        eprintln!("bench {name} ...");
        match bench(&stage, rounds.unwrap_or(*usual)) {
            Ok(more) => rows.extend(more),
            // The others still say something.
            Err(e) if wanted == "all" => rows.push(Row::failed(name, &e)),
            Err(e) => return Err(e),
        }
    }
    if rows.is_empty() {
        return Err(USAGE.to_owned());
    }
    let text = table::render(&rows);
    if write {
        crate::docs::replace_figures("docs/performance.md", &table::document(&rows))?;
    }
    if rows.iter().all(Row::met) {
        Ok(text)
    } else {
        Err(format!("{text}\na target is not met"))
    }
}

/// What every benchmark stands on.
pub(crate) struct Stage {
    /// The binary under measurement.
    pub(crate) program: PathBuf,
    /// A registry with `busybox`.
    pub(crate) registry: Registry,
}

impl Stage {
    fn new() -> Result<Self, String> {
        let program = release_binary()?;
        let registry = Registry::start();
        registry.push("busybox:latest", &busybox::image());
        Ok(Self { program, registry })
    }

    /// The reference of busybox in the registry.
    pub(crate) fn busybox(&self) -> String {
        self.registry.reference("busybox:latest")
    }

    /// New roots, without an image.
    pub(crate) fn bare(&self) -> Cove {
        Cove::at(&self.program, Roots::new())
    }

    /// New roots that have busybox.
    pub(crate) fn cove(&self) -> Result<Cove, String> {
        let cove = self.bare();
        succeed(&cove, &["pull", "-q", &self.busybox()])?;
        Ok(cove)
    }
}

/// Runs a command that prepares a measurement.
pub(crate) fn succeed(cove: &Cove, words: &[&str]) -> Result<String, String> {
    let output = cove.cmd(words).limit(Duration::from_secs(300)).run();
    if output.success() {
        Ok(output.out().trim().to_owned())
    } else {
        Err(output.to_string())
    }
}

/// `$COVE_BIN` or the release binary.
pub(crate) fn release_binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("COVE_BIN") {
        return Ok(path.into());
    }
    // Beside target/<triple>/debug/xtask.
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = own
        .ancestors()
        .nth(2)
        .map(|d| d.join("release/cove"))
        .filter(|p| p.is_file());
    path.ok_or_else(|| "no release binary: cargo build --release --package cove".to_owned())
}
