//! `cargo xtask lab-tests`: the tests that need a machine of their own.
//!
//! Such a test is called `lab_…` and ignored elsewhere:
//! `#[ignore = "needs the lab: cargo xtask lab-tests"]`. All of them run in one
//! boot, from the executables that `cargo test` builds anyway.

use std::time::Duration;

use testkit::cmd::Cmd;
use testkit::lab::Lab;

use crate::test_run::{self, Executable};

/// What such tests are called.
const PREFIX: &str = "lab_";

/// Begins the line that stands before what a program prints.
const HEADER: &str = "== ";

/// Builds, finds, boots once, runs.
pub(crate) fn run() -> Result<String, String> {
    let mut lines = Vec::new();
    let mut count = 0;
    for executable in test_run::build()? {
        let Executable {
            name,
            program,
            directory,
        } = executable;
        let listed = Cmd::new(&program)
            .args(["--list", "--ignored", PREFIX])
            .run()
            .out();
        let tests = listed
            .lines()
            .filter(|line| line.ends_with(": test"))
            .count();
        if tests > 0 {
            count += tests;
            lines.push(format!(
                "echo \"{HEADER}{name}\"; cd '{directory}' && '{program}' --ignored {PREFIX} --test-threads 1 || failed=1"
            ));
        }
    }
    if count == 0 {
        return Ok("lab-tests: none".to_owned());
    }
    let script = format!("failed=0; {}; exit $failed", lines.join("; "));
    let output = Lab::new()
        .limit(Duration::from_secs(1200))
        .run(&["sh", "-c", &script])
        .map_err(|e| e.to_string())?;
    println!("{}", named(&output.out()));
    if output.success() {
        Ok(format!("lab-tests: {count} passed"))
    } else {
        Err(format!("lab-tests: {}\n{}", output.status, output.err()))
    }
}

/// The output of all programs, with the name of each before its lines.
fn named(output: &str) -> String {
    let mut name = "lab";
    let mut lines = Vec::new();
    for line in output.lines() {
        match line.strip_prefix(HEADER) {
            Some(next) => name = next,
            None => lines.push(format!("{name}: {line}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_named_after_the_header_before_them() {
        let output =
            "boot\n== cove/it\nrunning 1 test\ntest x ... ok\n== cove-sandbox\nrunning 2 tests\n";
        assert_eq!(
            super::named(output),
            "lab: boot\ncove/it: running 1 test\ncove/it: test x ... ok\ncove-sandbox: running 2 tests"
        );
    }
}
