//! One of the programs that run trials: process 1 of a world.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::compare::{Difference, differences};
use super::generate::trial;
use super::known::Known;
use super::run::{ALL, Report, run};
use super::shrink::shrink;
use super::world::World;

/// Runs every `step`th trial and prints a line of JSON for each difference.
pub(crate) fn work(words: &[&str]) -> Result<String, String> {
    let [seed, count, first, step, directory, key, cove, only, small] = words else {
        return Err("differ-worker is started by differ".to_owned());
    };
    let number = |word: &str| word.parse::<u64>().map_err(|e| e.to_string());
    let (seed, count) = (number(seed)?, number(count)?);
    let world = World::new(Path::new(directory), key, Path::new(cove))?;
    let known = Known::load()?;
    if let Ok(index) = number(only) {
        return whole(&world, &known, seed, index);
    }
    let mut seen = BTreeSet::new();
    let (mut done, mut refused, mut hung) = (0, [0; 3], [0; 3]);
    let mut index = number(first)?;
    while index < count {
        let trial = trial(seed, index, &world.ground);
        let reports = all(&world, &trial)?;
        for (n, report) in reports.iter().enumerate() {
            refused[n] += u64::from(report.facts.get("outcome") != Some("runs"));
            hung[n] += u64::from(report.hung);
        }
        for difference in differences(&trial, &reports, &known) {
            let kind = difference.kind();
            let new = seen.insert(kind.clone());
            let mut line = (trial.clone(), difference, reports.clone());
            if new && *small == "shrink" {
                line = smallest(&world, &known, &trial, &kind)?.unwrap_or(line);
            }
            let (trial, difference, reports) = line;
            tell(&trial, &difference, &reports, index, new)?;
        }
        done += 1;
        index += number(step)?;
    }
    Ok(json!({"done": done, "refused": refused, "hung": hung}).to_string())
}

fn all(world: &World, trial: &Value) -> Result<Vec<Report>, String> {
    ALL.iter()
        .map(|runtime| run(world, trial, *runtime))
        .collect()
}

/// How long one trial is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);

type Shown = (Value, Difference, Vec<Report>);

/// The smallest trial that shows a difference of the same kind.
fn smallest(
    world: &World,
    known: &Known,
    trial: &Value,
    kind: &str,
) -> Result<Option<Shown>, String> {
    let mut best = None;
    let began = Instant::now();
    let _smallest = shrink(trial, |trial| {
        // A trial that hangs takes long; a large one is better than no end.
        if began.elapsed() > SHRINKING {
            return Ok(false);
        }
        let reports = all(world, trial)?;
        let found = differences(trial, &reports, known);
        let same = found.into_iter().find(|d| d.kind() == kind);
        let shows = same.is_some();
        if let Some(difference) = same {
            best = Some((trial.clone(), difference, reports));
        }
        Ok::<_, String>(shows)
    })?;
    Ok(best)
}

fn tell(
    trial: &Value,
    difference: &Difference,
    reports: &[Report],
    index: u64,
    shrunk: bool,
) -> Result<(), String> {
    let mut values = json!({"specification": difference.due});
    let mut said = json!({});
    for ((runtime, value), report) in ALL.iter().zip(&difference.values).zip(reports) {
        values[runtime.name()] = json!(value);
        said[runtime.name()] = json!(report.said);
    }
    let line = json!({
        "kind": difference.kind(),
        "fact": difference.fact,
        "values": values,
        "said": said,
        "index": index,
        "shrunk": shrunk,
        "trial": trial,
    });
    writeln!(std::io::stdout(), "{line}").map_err(|e| e.to_string())
}

/// One trial with all that was seen, for a reader.
fn whole(world: &World, known: &Known, seed: u64, index: u64) -> Result<String, String> {
    use std::fmt::Write as _;
    let trial = trial(seed, index, &world.ground);
    let reports = all(world, &trial)?;
    let mut text = format!("{trial:#}\n");
    for (runtime, report) in ALL.iter().zip(&reports) {
        let _infallible = writeln!(text, "-- {}: {}", runtime.name(), report.said);
        for (name, value) in &report.facts.0 {
            let _infallible = writeln!(text, "{name} = {value}");
        }
    }
    for difference in differences(&trial, &reports, known) {
        let _infallible = writeln!(text, "-- {difference:?}");
    }
    Ok(text)
}
