//! Configurations at random: each is run by Cove, runc and crun in worlds of
//! their own, and what the three do not agree on is shrunk and told.

mod compare;
mod expect;
mod facts;
mod generate;
mod host;
mod identity;
mod known;
mod normal;
mod probe;
mod run;
mod shrink;
mod sweep;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::cmd::{Cmd, Running};

pub(crate) use probe::{DONE, hook, report, wait};
pub(crate) use worker::work;

use sweep::Place;

const USAGE: &str = "\
cargo xtask differ bundles [OPTIONS]

  --seed N    where the configurations come from (1)
  --count N   how many (200)
  --jobs N    how many at a time (one for each processor)
  --only N    just this one, with everything that was seen
  --no-shrink tells differences as they come
Needs root, runc and crun. Exits with 1 when a difference is not known.";

/// What was asked for.
#[derive(Debug, Clone)]
struct Options {
    seed: u64,
    count: u64,
    jobs: u64,
    only: Option<u64>,
    shrink: bool,
}

/// Runs the half of `differ` that makes bundles.
pub(crate) fn run(words: &[&str]) -> Result<String, String> {
    let options = parse(words)?;
    let cove = program()?;
    let (text, open) = compare(&options, &cove)?;
    if open == 0 { Ok(text) } else { Err(text) }
}

/// The known differences as a table for the documents.
pub(crate) fn document() -> Result<String, String> {
    Ok(known::Known::load()?.table())
}

/// Text for the reader, and how many kinds of differences are not known.
fn compare(options: &Options, cove: &Path) -> Result<(String, usize), String> {
    let began = Instant::now();
    let place = Place::new(options.jobs).map_err(|e| e.to_string())?;
    let workers: Vec<Running> = (0..options.jobs)
        .map(|n| start(options, n, place.path(), cove))
        .collect::<Result<_, _>>()?;
    let mut kinds: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    let mut text = String::new();
    let (mut done, mut refused, mut hung) = (0, [0; 3], [0; 3]);
    for worker in workers {
        let output = worker.wait();
        if !output.success() {
            return Err(output.to_string());
        }
        if options.only.is_some() {
            return Ok((output.out(), 0));
        }
        for line in output.out().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                let _infallible = writeln!(text, "{line}");
                continue;
            };
            if let Some(n) = line["done"].as_u64() {
                done += n;
                add(&mut refused, &line["refused"]);
                add(&mut hung, &line["hung"]);
                continue;
            }
            let kind = line["kind"].as_str().unwrap_or_default().to_owned();
            let size = |v: &Value| v["trial"].to_string().len();
            let entry = kinds.entry(kind).or_insert_with(|| (0, line.clone()));
            entry.0 += 1;
            if line["shrunk"] == true && (entry.1["shrunk"] != true || size(&line) < size(&entry.1))
            {
                entry.1 = line;
            }
        }
    }
    for (kind, (count, example)) in &kinds {
        tell(&mut text, kind, *count, example);
    }
    let _infallible = write!(
        text,
        "{done} bundles of seed {} on cove, runc and crun in {:.0} s; refused by {}, {}, {}; hung: {}, {}, {}; {} kinds of differences that are not known",
        options.seed,
        began.elapsed().as_secs_f64(),
        refused[0],
        refused[1],
        refused[2],
        hung[0],
        hung[1],
        hung[2],
        kinds.len()
    );
    Ok((text, kinds.len()))
}

/// Adds a worker's numbers, one for each runtime, to the sums.
fn add(sums: &mut [u64; 3], numbers: &Value) {
    let numbers = numbers.as_array().into_iter().flatten();
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number.as_u64().unwrap_or(0);
    }
}

fn tell(text: &mut String, kind: &str, count: u64, example: &Value) {
    let _infallible = writeln!(
        text,
        "== {kind} ({count} times; bundle {})",
        example["index"]
    );
    let _infallible = writeln!(text, "{}", example["fact"].as_str().unwrap_or_default());
    for name in ["cove", "runc", "crun", "specification"] {
        let value = &example["values"][name];
        if let Some(value) = value.as_str() {
            let _infallible = writeln!(text, "  {name}: {value}");
        }
        if example["fact"] == "outcome"
            && let Some(said) = example["said"][name].as_str()
        {
            let _infallible = writeln!(text, "    {said}");
        }
    }
    let _infallible = writeln!(text, "  {}\n", example["trial"]);
}

/// Starts a worker in namespaces of its own.
fn start(options: &Options, n: u64, directory: &Path, cove: &Path) -> Result<Running, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let world = directory.join(format!("w{n}"));
    std::fs::create_dir(&world).map_err(|e| e.to_string())?;
    let key = sweep::group(n);
    let only = options.only.map(|n| n.to_string()).unwrap_or_default();
    // A world does not outlive this program, however that ends.
    let cmd = Cmd::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args([
            "-m",
            "-n",
            "-u",
            "-i",
            "-p",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(own)
        .arg("differ-worker")
        .args([options.seed, options.count, n, options.jobs].map(|n| n.to_string()))
        .arg(world)
        .arg(key)
        .arg(cove)
        .arg(only)
        .arg(if options.shrink { "shrink" } else { "" })
        .limit(Duration::from_secs(4 * 3600));
    Ok(cmd.start())
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let jobs = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let mut options = Options {
        seed: 1,
        count: 200,
        jobs,
        only: None,
        shrink: true,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--no-shrink" {
            options.shrink = false;
            continue;
        }
        let number = || {
            words
                .clone()
                .next()
                .and_then(|w| w.parse::<u64>().ok())
                .ok_or(USAGE)
        };
        match *word {
            "--seed" => options.seed = number()?,
            "--count" => options.count = number()?,
            "--jobs" => options.jobs = number()?.max(1),
            "--only" => {
                options.only = Some(number()?);
                options.jobs = 1;
            }
            _ => return Err(USAGE.to_owned()),
        }
        let _taken = words.next();
    }
    Ok(options)
}

/// `$COVE_BIN`, or the binary built beside this program.
fn program() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("COVE_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let beside = own.ancestors().skip(1).take(2).map(|d| d.join("cove"));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| "no binary: cargo build --package cove".to_owned())
}
