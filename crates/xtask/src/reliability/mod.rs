//! `cargo xtask reliability`: kills and power cuts at random moments, and what
//! they lost or left. Every figure in docs/reliability.md comes from here.

mod cuts;
mod kills;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use testkit::rng::Rng;

pub(crate) const USAGE: &str = "\
cargo xtask reliability [--kills N] [--cuts N] [--seed N] [--write]

500 kills and 200 power cuts unless said otherwise, with the release binary (or
$COVE_BIN). --write puts the figures into docs/reliability.md.";

/// What one part found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Rounds done.
    rounds: usize,
    /// Rounds whose fault struck before the command's end.
    struck: usize,
    /// Effects acknowledged before a fault and looked for after it.
    acknowledged: usize,
    /// Acknowledged and not there, or not whole.
    lost: Vec<String>,
    /// Left behind after everything was removed.
    leaked: Vec<String>,
    /// Commands after a fault that failed.
    broken: Vec<String>,
    /// The slowest first command after a fault.
    recovery: Duration,
}

impl Tally {
    fn good(&self) -> bool {
        self.lost.is_empty() && self.leaked.is_empty() && self.broken.is_empty()
    }

    fn line(&self, what: &str) -> String {
        format!(
            "| {what} | {} | {} | {} | {} | {} | {} | {} ms |",
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
    let killed = kills::run(&program, kills, &mut Rng::new(seed))?;
    let cut = cuts::run(&program, cuts, &mut Rng::new(seed))?;
    let mut text = String::from(
        "| fault | rounds | struck before the end | acknowledged | lost | leaked | broken | slowest recovery |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let _infallible = writeln!(
        text,
        "{}\n{}",
        killed.line("kill -9"),
        cut.line("power cut")
    );
    if write {
        let figures = format!("{} Seed {seed}.\n\n{text}", crate::docs::machine());
        crate::docs::replace_figures("docs/reliability.md", &figures)?;
    }
    if killed.good() && cut.good() {
        return Ok(text);
    }
    for tally in [&killed, &cut] {
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
    Err(text)
}
