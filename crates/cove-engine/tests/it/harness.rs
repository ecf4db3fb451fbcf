//! Runs tests one after the other in one thread.

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Runs the tests whose names have one of the words of `args` in them.
pub(crate) fn run(tests: &[Test], args: &[OsString]) -> ExitCode {
    let words: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let lists = words.contains(&"--list");
    let wanted: Vec<_> = words
        .into_iter()
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word));
    let mut failed = Vec::new();
    for (name, test) in tests.iter().filter(|(name, _)| chosen(name)) {
        if lists {
            println!("{name}: test");
            continue;
        }
        let passed = panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {failed:?}");
    ExitCode::FAILURE
}
