//! Automation of this repository: `cargo xtask COMMAND`.

mod deps;
mod dist;
mod lab;
mod lab_tests;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  check-deps         dependencies between our crates follow the floors
  tidy               headers, lengths, forgotten files, fixed sleeps
  lab -- COMMAND     runs COMMAND in a virtual machine with cgroup v2
  lab-tests          runs the tests that need that machine
  dist               builds the release binary and packs it
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["check-deps"] => deps::check(),
        ["tidy"] => tidy::check(),
        ["lab-tests"] => lab_tests::run(),
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
