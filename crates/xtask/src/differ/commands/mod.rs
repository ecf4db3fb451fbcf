//! Command lines side by side: a table of cases, run on Cove and on its peers.

mod case;
mod known;
mod normal;
mod random;
mod report;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::case::Case;
use self::known::Known;
use self::report::Found;
use self::world::Stage;

const USAGE: &str = "\
cargo xtask differ commands [OPTIONS]

Runs every case of crates/xtask/src/differ/cases on Cove (the binary beside
this program, or $COVE_BIN) and on its peer, and prints what differs and is not
listed in known.txt, and what is listed and does not differ.

  --filter TEXT   only cases whose name contains TEXT
  --every N       only every Nth case
  --jobs N        cases at a time (default: twice the processors)
  --all           prints listed differences too

  --random N      instead of the tables, N command lines at random, of `create`
                  and `run`, on Cove and Docker
  --seed S        which ones (default: a new seed, which is told)";

struct Options {
    filter: String,
    every: usize,
    jobs: usize,
    listed_too: bool,
    random: Option<usize>,
    seed: Option<usize>,
}

/// Parses, runs, prints.
pub(crate) fn run(words: &[&str]) -> Result<String, String> {
    let options = parse(words)?;
    if let Some(count) = options.random {
        let seed = options
            .seed
            .map_or_else(|| testkit::rng::Rng::random().1 % 100_000, |s| s as u64);
        let (text, clean) = random::run(seed, count, options.jobs)?;
        return if clean { Ok(text) } else { Err(text) };
    }
    let found = compare(&options)?;
    let text = report::text(&found, options.listed_too);
    if found.is_clean() {
        Ok(text)
    } else {
        Err(text)
    }
}

/// The document's part about command lines.
pub(crate) fn document() -> Result<String, String> {
    Ok(known::document(&known::all()?, &case::all()?))
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut options = Options {
        filter: String::new(),
        every: 1,
        jobs: 2 * processors,
        listed_too: false,
        random: None,
        seed: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let n = words.next().and_then(|n| n.parse::<usize>().ok());
            n.filter(|n| *n > 0)
                .ok_or_else(|| format!("{word} takes a number above 0"))
        };
        match *word {
            "--every" => options.every = number()?,
            "--jobs" => options.jobs = number()?,
            "--random" => options.random = Some(number()?),
            "--seed" => options.seed = Some(number()?),
            "--all" => options.listed_too = true,
            "--filter" => options.filter = words.next().ok_or(USAGE)?.to_string(),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn compare(options: &Options) -> Result<Found, String> {
    let (cases, known) = (case::all()?, known::all()?);
    let lost = known::without_case(&known, &cases);
    if !lost.is_empty() {
        return Err(format!("known.txt names no case: {}", lost.join(", ")));
    }
    let new = world::client_is_new();
    let chosen: Vec<Case> = cases
        .into_iter()
        .map(|case| if new { case } else { case.for_old_client() })
        .filter(|case| case.name.contains(&options.filter))
        .step_by(options.every)
        .collect();
    let peers: BTreeSet<case::Peer> = chosen.iter().map(|case| case.peer).collect();
    let stage = Stage::new()?;
    for peer in peers {
        stage.prepare(peer)?;
    }
    let mut found = Found::default();
    let (alone, together): (Vec<Case>, Vec<Case>) =
        chosen.into_iter().partition(|case| case.compared.alone);
    // What is not as listed is asked again when nothing else runs: the machine
    // may have been busy.
    let mut again = Vec::new();
    for (case, answers) in on_both(&stage, together, options.jobs)? {
        let known = listed(&known, &case);
        if report::surprises(&case, &answers, known) {
            again.push(case);
        } else {
            found.add(&case, &answers, known);
        }
    }
    stage.clear();
    again.extend(alone);
    for (case, answers) in on_both(&stage, again, 1)? {
        found.add(&case, &answers, listed(&known, &case));
    }
    Ok(found)
}

fn listed<'a>(known: &'a [Known], case: &Case) -> Option<&'a Known> {
    known.iter().find(|k| k.covers(&case.name))
}

/// Runs cases on both worlds, several at a time.
fn on_both(
    stage: &Stage,
    cases: Vec<Case>,
    jobs: usize,
) -> Result<Vec<(Case, report::Answers)>, String> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(cases.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some((n, case)) = {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        cases.get(n).map(|case| (n, case))
                    } {
                        let (theirs, ours) = stage.worlds(case.peer)?;
                        let both = report::Answers {
                            peer: theirs.answer(case),
                            cove: ours.answer(case),
                        };
                        answers
                            .lock()
                            .map_err(|_| "a worker failed".to_owned())?
                            .push((n, both));
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker failed".to_owned())??;
        }
        Ok::<(), String>(())
    })?;
    let mut answers = answers
        .into_inner()
        .map_err(|_| "a worker failed".to_owned())?;
    answers.sort_by_key(|(n, _)| *n);
    Ok(answers
        .into_iter()
        .zip(cases)
        .map(|((_, answers), case)| (case, answers))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What continuous integration does of it: a fixed part of every table.
    #[test]
    fn a_part_of_the_tables_agrees() {
        let options = parse(&["--every", "16"]).unwrap();
        let found = compare(&options).unwrap();
        assert!(found.is_clean(), "{}", report::text(&found, false));
    }

    #[test]
    fn options_are_read() {
        let options = parse(&["--filter", "run", "--jobs", "3", "--all"]).unwrap();
        assert_eq!((options.filter.as_str(), options.jobs), ("run", 3));
        assert!(options.listed_too);
        for wrong in [&["--jobs", "0"][..], &["--every"], &["x"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
