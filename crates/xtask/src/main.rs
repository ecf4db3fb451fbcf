//! Automation of this repository: `cargo xtask COMMAND`.

mod bench;
mod deps;
mod differ;
mod dist;
mod docs;
mod lab;
mod lab_tests;
mod reliability;
mod test_run;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  check-deps         dependencies between our crates follow the floors
  tidy               headers, lengths, forgotten files, fixed sleeps, circles of modules
  test               runs all tests, with each line named after its crate
  lab -- COMMAND     runs COMMAND in a virtual machine with cgroup v2
  lab-tests          runs the tests that need that machine
  bench NAME         Cove and its peers: oci, run, exec, logs, pull, ps, parallel, density, all
  reliability        kills and power cuts at random moments; counts what is lost and left
  differ commands    command lines on Cove and on docker, podman, runc, side by side
  differ bundles     OCI configurations at random on Cove, runc and crun
  dist               builds the release binary and packs it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["check-deps"] => deps::check(),
        ["tidy"] => tidy::check(),
        ["test"] => test_run::run(),
        ["lab-tests"] => lab_tests::run(),
        ["bench", rest @ ..] => bench::run(rest),
        ["reliability", rest @ ..] => reliability::run(rest),
        ["differ", rest @ ..] => differ::run(rest),
        // Started by the benchmark itself.
        ["worker", rest @ ..] => bench::worker::serve(rest),
        ["without-sync", rest @ ..] => bench::nosync::exec(rest),
        // Started by `differ bundles` itself; the last two in containers and as hooks.
        ["differ-worker", rest @ ..] => differ::bundles::work(rest),
        ["differ-probe", rest @ ..] => return probed(differ::bundles::report(rest)),
        ["differ-wait"] => differ::bundles::wait(),
        ["differ-hook", kind, log, status] => differ::bundles::hook(kind, log, status),
        ["dist"] => dist::build(),
        ["lab", rest @ ..] => return lab::run(rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// How the probe ends: with a status that nothing else has.
fn probed(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::from(differ::bundles::DONE),
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
