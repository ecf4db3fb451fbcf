//! Cove's one binary: the command line, the names it answers to, the exit
//! status. What it does is in the engine; what it shows is Docker's.

mod attach;
mod build;
mod cli;
mod commands;
mod hello;
mod help;
mod outcome;
mod output;
mod parse;
mod progress;
mod settings;
mod signals;
mod terminal;
mod zone;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    cove_sys::exec::wait_for_own_children();
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    match Path::new(&argv0).file_name().and_then(|name| name.to_str()) {
        Some(cove_engine::supervise::ARGV0) => return exit_code(cove_engine::supervise::main()),
        Some(cove_engine::settle::ARGV0) => return exit_code(cove_engine::settle::main(&args)),
        Some(cove_engine::init::ARGV0) => return exit_code(cove_engine::init::main(&args)),
        Some("cove-oci") => return cove_runc::main(&args, build::COMMIT),
        _ => {}
    }
    if args.first().is_some_and(|word| word == "oci") {
        return cove_runc::main(&args[1..], build::COMMIT);
    }
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        match arg.into_string() {
            Ok(word) => words.push(word),
            Err(arg) => {
                output::note(&format!(
                    "cove: the argument {} is not valid UTF-8",
                    arg.display()
                ));
                return ExitCode::from(125);
            }
        }
    }
    ExitCode::from(cli::main(&argv0.to_string_lossy(), &words))
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(255))
}
