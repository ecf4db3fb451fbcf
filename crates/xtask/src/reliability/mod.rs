//! `cargo xtask reliability`: kills and power cuts at random moments, and what
//! they lost or left. Every figure in docs/reliability.md comes from here.

mod cuts;
mod kills;
mod orders;
mod sentinel;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use testkit::rng::Rng;

use self::orders::Kind;

pub(crate) const USAGE: &str = "\
cargo xtask reliability [--kills N] [--cuts N] [--seed N] [--write]

500 kills and 200 power cuts unless said otherwise, with the release binary (or
$COVE_BIN). --write puts the figures into docs/reliability.md.";

/// What the rounds of one fault found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    fault: String,
    /// Rounds done.
    rounds: usize,
    /// Rounds whose fault struck before the command's end.
    struck: usize,
    /// How many of them struck which command.
    kinds: BTreeMap<Kind, usize>,
    /// Effects acknowledged before a fault and looked for after it.
    acknowledged: usize,
    /// Acknowledged and not there, or not whole.
    lost: Vec<String>,
    /// Left behind by the first command after a fault, or when everything was removed.
    leaked: Vec<String>,
    /// Commands after a fault that failed.
    broken: Vec<String>,
    /// The slowest first command after a fault.
    recovery: Duration,
    /// Layers that a cut found durable by their redo logs only, and how many of
    /// them had to be made anew.
    unsettled: usize,
    made_anew: usize,
    /// Lines that the logs of running containers have, and those they lack.
    lines: u64,
    lines_lost: u64,
}

impl Tally {
    fn new(fault: &str) -> Self {
        Self {
            fault: fault.to_owned(),
            ..Self::default()
        }
    }

    fn round(&mut self, kind: Kind, struck: bool) {
        self.rounds += 1;
        if struck {
            self.struck += 1;
            *self.kinds.entry(kind).or_default() += 1;
        }
    }

    fn good(&self) -> bool {
        self.lost.is_empty() && self.leaked.is_empty() && self.broken.is_empty()
    }

    fn sum(&self) -> String {
        let (lost, leaked, broken) = (self.lost.len(), self.leaked.len(), self.broken.len());
        format!(
            "{}/{} struck, {lost} lost, {leaked} leaked, {broken} broken",
            self.struck, self.rounds
        )
    }

    fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} ms |",
            self.fault,
            self.rounds,
            self.struck,
            self.acknowledged,
            self.lost.len(),
            self.leaked.len(),
            self.broken.len(),
            self.recovery.as_millis()
        )
    }
}

/// Parses, runs both parts, prints and writes.
pub(crate) fn run(words: &[&str]) -> Result<String, String> {
    let (mut kills, mut cuts, mut write) = (500, 200, false);
    let (_, mut seed) = Rng::random();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let n = words.next().and_then(|n| n.parse::<u64>().ok());
            n.ok_or_else(|| format!("{word} takes a number"))
        };
        match *word {
            "--kills" => kills = number()?,
            "--cuts" => cuts = number()?,
            "--seed" => seed = number()?,
            "--write" => write = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    eprintln!("seed {seed}");
    let program = crate::bench::release_binary()?;
    let tallies = strike(&program, kills, cuts, seed)?;
    let text = report(&tallies);
    if write {
        let figures = format!("{} Seed {seed}.\n\n{text}", crate::docs::machine());
        crate::docs::replace_figures("docs/reliability.md", &figures)?;
    }
    let failures = failures(&tallies);
    if failures.is_empty() {
        Ok(text)
    } else {
        Err(format!("{text}\n{failures}"))
    }
}

fn strike(program: &Path, kills: u64, cuts: u64, seed: u64) -> Result<Vec<Tally>, String> {
    let mut tallies = kills::run(program, kills, &mut Rng::new(seed))?;
    tallies.push(cuts::run(program, cuts, &mut Rng::new(seed))?);
    Ok(tallies)
}

fn report(tallies: &[Tally]) -> String {
    let mut text = String::from(
        "| fault | rounds | struck before the end | looked for | lost | leaked | broken | slowest next command |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for tally in tallies {
        let _infallible = writeln!(text, "{}", tally.line());
        for (kind, n) in &tally.kinds {
            *kinds.entry(*kind).or_default() += n;
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{} {n}", kind.name()))
        .collect();
    let lines: u64 = tallies.iter().map(|tally| tally.lines).sum();
    let lost: u64 = tallies.iter().map(|tally| tally.lines_lost).sum();
    let unsettled: usize = tallies.iter().map(|tally| tally.unsettled).sum();
    let made_anew: usize = tallies.iter().map(|tally| tally.made_anew).sum();
    let _infallible = writeln!(
        text,
        "\nCommands struck: {}. Log of the container that ran through the kills: {lines} lines, \
         {lost} missing. Layers that a cut found with their redo log: {unsettled}, of which \
         {made_anew} were made anew.",
        kinds.join(", ")
    );
    text
}

fn failures(tallies: &[Tally]) -> String {
    let mut text = String::new();
    for tally in tallies.iter().filter(|tally| !tally.good()) {
        let parts = [
            ("lost", &tally.lost),
            ("leaked", &tally.leaked),
            ("broken", &tally.broken),
        ];
        for (what, list) in parts {
            for one in list.iter().take(20) {
                let _infallible = writeln!(text, "{what}: {one}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed every time: this is a test of the commands, not a search.
    #[test]
    fn a_short_run_finds_nothing() {
        let program = testkit::cove::program();
        let program = program.expect("the cove binary is built (cargo build -p cove)");
        let tallies = strike(&program, 40, 20, 4).unwrap();
        let failures = failures(&tallies);
        assert!(failures.is_empty(), "{}\n{failures}", report(&tallies));
    }
}
