//! `cargo xtask test`: runs every test of the workspace, one executable after
//! the other as `cargo test` does, and names the crate in front of each line.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use testkit::cmd::Cmd;

/// How long to wait for the last lines of a test program that has ended: only
/// something that it left behind can hold its output open.
const LAST_LINES: Duration = Duration::from_secs(5);

/// A test program that `cargo test` has built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The crate, and which of its test programs when it has several: `cove/it`.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: String,
    /// The directory of the crate, in which it runs.
    pub(crate) directory: String,
}

/// What the tests of all programs came to.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// Those that run in the lab.
    ignored: u64,
    /// The tests that failed, and the programs that ended otherwise.
    failures: Vec<String>,
}

/// Builds and runs everything; fails when a test does, after the last one.
pub(crate) fn run() -> Result<String, String> {
    let mut tally = Tally::default();
    for executable in build()? {
        run_one(&executable, &mut tally)?;
    }
    let sum = format!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.ignored
    );
    println!(
        "skipped here: {} tests that need the lab, which runs them",
        tally.ignored
    );
    if tally.failures.is_empty() {
        return Ok(sum);
    }
    Err(format!("failed:\n  {}\n{sum}", tally.failures.join("\n  ")))
}

/// The test programs of the workspace, built if they are not.
pub(crate) fn build() -> Result<Vec<Executable>, String> {
    let built = Cmd::new("cargo")
        .args(["test", "--workspace", "--no-run", "--locked"])
        .args(["--message-format", "json"])
        .directory(testkit::workspace())
        .limit(Duration::from_secs(3600))
        .run();
    if built.success() {
        Ok(executables(&built.out()))
    } else {
        Err(built.to_string())
    }
}

/// Test executables, from cargo's messages.
fn executables(messages: &str) -> Vec<Executable> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let program = message["executable"].as_str()?.to_owned();
            let directory = message["manifest_path"]
                .as_str()?
                .strip_suffix("/Cargo.toml")?;
            let package = directory.rsplit('/').next()?;
            let target = message["target"]["name"].as_str()?;
            let name = if target.replace('_', "-") == package {
                package.to_owned()
            } else {
                format!("{package}/{target}")
            };
            Some(Executable {
                name,
                program,
                directory: directory.to_owned(),
            })
        })
        .collect()
}

fn run_one(executable: &Executable, tally: &mut Tally) -> Result<(), String> {
    let Executable {
        name,
        program,
        directory,
    } = executable;
    let told = |e: std::io::Error| format!("{name}: {program}: {e}");
    let (reader, writer) = std::io::pipe().map_err(told)?;
    let mut command = Cmd::new(program).directory(directory).command();
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(told)?)
        .stderr(writer);
    let mut child = command.spawn().map_err(told)?;
    // It holds the pipe's other end.
    drop(command);
    let lines = forward(name.clone(), reader);
    let status = child.wait().map_err(told)?;
    let before = tally.failed;
    loop {
        match lines.recv_timeout(LAST_LINES) {
            Ok(line) => tally.note(name, &line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tally.failures.push(format!(
                    "{name}: a process that it left behind holds its output"
                ));
                break;
            }
        }
    }
    if !status.success() && tally.failed == before {
        tally.failures.push(format!("{name}: {status}"));
        tally.failed += 1;
    }
    Ok(())
}

/// Prints what a program says as it says it, and hands it on.
fn forward(name: String, reader: PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            println!("{name}: {}", text.trim_end_matches('\n'));
            if sender.send(text.into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

impl Tally {
    /// Reads a line of the test harness: a verdict, or the sum of a program.
    fn note(&mut self, name: &str, line: &str) {
        if let Some(test) = line
            .strip_prefix("test ")
            .and_then(|t| t.trim_end().strip_suffix(" ... FAILED"))
        {
            self.failures.push(format!("{name}: {test}"));
        }
        let Some((_, sums)) = line
            .strip_prefix("test result: ")
            .and_then(|t| t.split_once(". "))
        else {
            return;
        };
        for sum in sums.split("; ") {
            let Some((Ok(count), what)) = sum
                .split_once(' ')
                .map(|(n, what)| (n.parse::<u64>(), what))
            else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_executables_count() {
        let messages = r#"{"reason":"compiler-artifact","profile":{"test":true},"target":{"name":"x_y"},"executable":"/t/x","manifest_path":"/w/x-y/Cargo.toml"}
{"reason":"compiler-artifact","profile":{"test":true},"target":{"name":"it"},"executable":"/t/it","manifest_path":"/w/x-y/Cargo.toml"}
{"reason":"compiler-artifact","profile":{"test":false},"target":{"name":"y"},"executable":"/t/y","manifest_path":"/w/b/Cargo.toml"}
{"reason":"build-finished"}"#;
        let executable = |name: &str, program: &str| Executable {
            name: name.to_owned(),
            program: program.to_owned(),
            directory: "/w/x-y".to_owned(),
        };
        assert_eq!(
            executables(messages),
            [executable("x-y", "/t/x"), executable("x-y/it", "/t/it")]
        );
    }

    #[test]
    fn verdicts_are_counted_and_failures_named() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test d ... ignored, needs the lab",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ] {
            tally.note("x", &format!("{line}\n"));
        }
        assert_eq!((tally.passed, tally.failed, tally.ignored), (1, 1, 1));
        assert_eq!(tally.failures, ["x: a::c"]);
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        let mut tally = Tally::default();
        let program = Executable {
            name: "x".to_owned(),
            program: "/bin/false".to_owned(),
            directory: "/".to_owned(),
        };
        run_one(&program, &mut tally).unwrap();
        assert_eq!(tally.failures, ["x: exit status: 1"]);
        assert_eq!(tally.failed, 1);
    }
}
