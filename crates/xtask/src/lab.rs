//! `cargo xtask lab -- COMMAND`: its output as it comes, its exit status.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use testkit::lab::Lab;

/// Boots, runs, prints; 125 when the lab itself fails.
pub(crate) fn run(words: &[&str]) -> ExitCode {
    let command = match words {
        ["--", rest @ ..] | rest if !rest.is_empty() => rest,
        _ => {
            eprintln!("cargo xtask lab -- COMMAND [ARGUMENT...]");
            return ExitCode::from(125);
        }
    };
    let machine = match Lab::new().limit(Duration::from_secs(3600)).start(command) {
        Ok(machine) => machine,
        Err(e) => return failed(&e),
    };
    let mut printed = (0, 0);
    while !machine.ends_within(Duration::from_millis(200)) && !machine.time_left().is_zero() {
        print(&machine.output(), &mut printed);
    }
    match machine.wait() {
        Ok(output) => {
            let code = output.code();
            print(&(output.stdout, output.stderr), &mut printed);
            ExitCode::from(u8::try_from(code).unwrap_or(125))
        }
        Err(e) => failed(&e),
    }
}

/// Prints what is new since the last call.
fn print((out, err): &(Vec<u8>, Vec<u8>), printed: &mut (usize, usize)) {
    // A closed pipe ends the printing, not the command.
    let _closed = std::io::stdout().write_all(out.get(printed.0..).unwrap_or_default());
    let _closed = std::io::stdout().flush();
    let _closed = std::io::stderr().write_all(err.get(printed.1..).unwrap_or_default());
    *printed = (out.len().max(printed.0), err.len().max(printed.1));
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("lab: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  {error}");
        source = error.source();
    }
    ExitCode::from(125)
}
