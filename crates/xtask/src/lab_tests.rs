//! `cargo xtask lab-tests`: the tests that need a machine of their own.
//!
//! Such a test is called `lab_…` and ignored elsewhere:
//! `#[ignore = "needs the lab: cargo xtask lab-tests"]`. All of them run in one
//! boot, from the executables that `cargo test` builds anyway.

use std::time::Duration;

use serde_json::Value;
use testkit::cmd::Cmd;
use testkit::lab::Lab;

/// What such tests are called.
const PREFIX: &str = "lab_";

/// Builds, finds, boots once, runs.
pub(crate) fn run() -> Result<String, String> {
    let root = testkit::workspace();
    let built = Cmd::new("cargo")
        .args([
            "test",
            "--workspace",
            "--no-run",
            "--locked",
            "--message-format",
            "json",
        ])
        .directory(&root)
        .limit(Duration::from_secs(3600))
        .run();
    if !built.success() {
        return Err(built.to_string());
    }
    let mut lines = Vec::new();
    let mut count = 0;
    for (program, directory) in executables(&built.out()) {
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
                "echo \"== {program}\"; cd '{directory}' && '{program}' --ignored {PREFIX} --test-threads 1 || failed=1"
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
    if output.success() {
        Ok(format!("{}lab-tests: {count} passed", output.out()))
    } else {
        Err(output.to_string())
    }
}

/// Test executables and their packages' directories, from cargo's messages.
fn executables(messages: &str) -> Vec<(String, String)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let program = message["executable"].as_str()?.to_owned();
            let manifest = message["manifest_path"].as_str()?;
            Some((program, manifest.strip_suffix("/Cargo.toml")?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_test_executables_count() {
        let messages = r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/x","manifest_path":"/w/a/Cargo.toml"}
{"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/y","manifest_path":"/w/b/Cargo.toml"}
{"reason":"build-finished"}"#;
        assert_eq!(
            super::executables(messages),
            [("/t/x".to_owned(), "/w/a".to_owned())]
        );
    }
}
