//! The engine as its faces meet it: called in this process, without a command
//! line.
//!
//! It has a harness of its own: this process has one thread when a program is
//! executed in an instance, and this executable is what supervisors are.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where by failing"
)]

mod harness;
mod life;
mod pulls;
mod recovery;
mod scratch;
mod support;
mod updates;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use harness::Test;

/// The named functions, with their names.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*]
    };
}

const TESTS: &[Test] = tests![
    life::a_run_gives_its_output_and_status,
    life::input_reaches_it_and_signals_too,
    life::a_log_is_followed_until_the_end,
    life::a_program_beside_it_has_a_terminal_of_its_own,
    life::what_is_removed_leaves_nothing,
    pulls::one_that_is_cancelled_leaves_nothing,
    recovery::an_attachment_outlives_a_supervisor,
    recovery::what_a_killed_supervisor_left_is_cleared_away,
    scratch::what_a_program_writes_becomes_a_layer,
    updates::of_two_at_once_none_is_lost,
];

fn main() -> ExitCode {
    cove_sys::exec::wait_for_own_children();
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let status = match Path::new(&argv0).file_name().and_then(|name| name.to_str()) {
        Some(cove_engine::supervise::ARGV0) => cove_engine::supervise::main(),
        Some(cove_engine::settle::ARGV0) => cove_engine::settle::main(&args),
        Some(cove_engine::init::ARGV0) => cove_engine::init::main(&args),
        _ => return harness::run(TESTS, &args),
    };
    ExitCode::from(u8::try_from(status).unwrap_or(255))
}
