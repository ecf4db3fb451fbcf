//! Finding the command that is meant, running it, and telling how it ended.

use std::io::Write as _;

use crate::build;
use crate::flags::{self, Stop, help};
use crate::outcome::{Failure, Outcome, Voice};
use crate::output;
use crate::settings::{self, Session};
use crate::spec::{self, Args, Command, Group, planned};

/// Runs a whole command line and returns the exit status.
pub(crate) fn main(argv0: &str, args: &[String]) -> u8 {
    let program = settings::program_name(argv0);
    let matches = match settings::global(args) {
        Ok(matches) => matches,
        Err(Stop::Help) => return finish(program, program, print_top_help(program)),
        Err(Stop::Error(message)) => {
            let usage = format!("Usage:  {program} [OPTIONS] COMMAND [ARG...]");
            return usage_error(&message, &usage, program, 125);
        }
    };
    if matches.on("version") {
        let line = format!(
            "Cove version {}, build {}",
            build::VERSION,
            build::short_commit()
        );
        return finish(program, program, output::line(&line).map(|()| 0));
    }
    let Some((word, rest)) = matches.args.split_first() else {
        return finish(program, program, print_top_help(program));
    };
    let (path, command, rest) = match find(program, word, rest) {
        Found::Command {
            path,
            command,
            rest,
        } => (path, command, rest),
        Found::Help(outcome) => return finish(program, program, outcome),
        Found::Planned(message) | Found::Unknown(message) => return tell(&message, 1),
    };
    let roots = match settings::roots(&matches) {
        Ok(roots) => roots,
        Err(failure) => return finish(program, &path, Err(failure)),
    };
    let session = Session::new(program, path, roots);
    run(&session, command, rest)
}

enum Found<'a> {
    Command {
        path: String,
        command: &'static Command,
        rest: &'a [String],
    },
    Help(Outcome),
    /// Not built yet, in a sentence.
    Planned(String),
    Unknown(String),
}

fn find<'a>(program: &str, word: &str, rest: &'a [String]) -> Found<'a> {
    if word == "help" {
        return match rest
            .split_first()
            .map(|(word, rest)| find(program, word, rest))
        {
            None => Found::Help(print_top_help(program)),
            Some(Found::Command { path, command, .. }) => {
                Found::Help(print_help(program, &path, command))
            }
            Some(Found::Planned(said)) => Found::Planned(said),
            Some(Found::Unknown(_)) => {
                Found::Unknown(format!("unknown help topic: {}", rest.join(" ")))
            }
            Some(Found::Help(outcome)) => Found::Help(outcome),
        };
    }
    if let Some((_, command)) = spec::TOP.iter().find(|(name, _)| *name == word) {
        return Found::Command {
            path: format!("{program} {word}"),
            command,
            rest,
        };
    }
    let Some(group) = spec::GROUPS.iter().find(|group| group.name == word) else {
        if planned::has_word(word) {
            return Found::Planned(not_built(program, &format!("{program} {word}")));
        }
        return Found::Unknown(format!(
            "{program}: unknown command: {program} {word}\n\nRun '{program} --help' for more information"
        ));
    };
    let path = format!("{program} {word}");
    match rest.split_first() {
        None => Found::Help(print_group_help(&path, group)),
        Some((word, _)) if word == "--help" || word == "-h" => {
            Found::Help(print_group_help(&path, group))
        }
        Some((word, rest)) => match group.commands.iter().find(|(name, _)| name == word) {
            Some((_, command)) => Found::Command {
                path: format!("{path} {word}"),
                command,
                rest,
            },
            None if planned::has_word_of(group.name, word) => {
                Found::Planned(not_built(program, &format!("{path} {word}")))
            }
            None => Found::Unknown(format!(
                "{program}: unknown command: {path} {word}\n\nUsage:  {path}\n\nRun '{path} --help' for more information"
            )),
        },
    }
}

/// One sentence: who types the name of a command knows what it would do.
fn not_built(program: &str, path: &str) -> String {
    format!("{program}: '{path}' is not built yet; '{program} --help' lists what is")
}

fn run(session: &Session, command: &'static Command, args: &[String]) -> u8 {
    let path = &session.path;
    let matches = match flags::parse(command.flags, command.interspersed, args) {
        Ok(matches) => matches,
        Err(Stop::Help) => {
            return finish(
                &session.program,
                path,
                print_help(&session.program, path, command),
            );
        }
        Err(Stop::Error(message)) => {
            return usage_error(&message, &help::usage_line(path, command), path, 125);
        }
    };
    if let Some(complaint) = command.args.complaint(matches.args.len()) {
        let verb = if matches!(command.args, Args::AtLeast(_)) {
            "See"
        } else {
            "Run"
        };
        return tell(
            &format!(
                "{}: '{path}' {complaint}\n\n{}\n\n{verb} '{path} --help' for more information",
                session.program,
                help::usage_line(path, command)
            ),
            1,
        );
    }
    finish(&session.program, path, (command.run)(session, &matches))
}

/// Tells what went wrong and gives the exit status.
fn finish(program: &str, path: &str, outcome: Outcome) -> u8 {
    let failure = match outcome {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let Failure {
        message,
        code,
        voice,
    } = failure;
    match voice {
        Voice::Silent => code,
        Voice::Plain => tell(&message, code),
        Voice::Engine => tell(&format!("Error: {message}"), code),
        Voice::Run => tell(
            &format!("{program}: {message}\n\nRun '{path} --help' for more information"),
            code,
        ),
    }
}

fn usage_error(message: &str, usage: &str, path: &str, code: u8) -> u8 {
    tell(
        &format!("{message}\n\n{usage}\n\nRun '{path} --help' for more information"),
        code,
    )
}

fn tell(message: &str, code: u8) -> u8 {
    // Where nobody listens the exit status still says it.
    writeln!(std::io::stderr(), "{message}").unwrap_or(());
    code
}

fn print_help(program: &str, path: &str, command: &Command) -> Outcome {
    output::text(&help::of_command(program, path, command, output::columns()))?;
    Ok(0)
}

fn print_group_help(path: &str, group: &Group) -> Outcome {
    // Words that only repeat another command are not shown.
    let mut seen: Vec<*const Command> = Vec::new();
    let mut lines = String::new();
    for &(name, command) in group.commands {
        if seen.contains(&std::ptr::from_ref(command)) {
            continue;
        }
        seen.push(command);
        lines.push_str(&summary(name, command));
    }
    output::text(&format!(
        "Usage:  {path} COMMAND\n\n{}\n\nCommands:\n{lines}\nRun '{path} COMMAND --help' for more information on a command.\n",
        group.about
    ))?;
    Ok(0)
}

fn print_top_help(program: &str) -> Outcome {
    let list = |common: bool| {
        let commands = spec::TOP
            .iter()
            .filter(|(name, _)| spec::COMMON.contains(name) == common);
        commands
            .map(|(name, command)| summary(name, command))
            .collect::<String>()
    };
    let groups: String = spec::GROUPS
        .iter()
        .map(|group| format!("  {:<11} {}\n", group.name, group.about))
        .collect();
    let globals: Vec<&flags::Flag> = settings::GLOBAL.iter().collect();
    output::text(&format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nRuns containers, without a daemon\n\nCommon Commands:\n{}\nManagement Commands:\n{groups}\nCommands:\n{}\nGlobal Options:\n{}\nRun '{program} COMMAND --help' for more information on a command.\n",
        list(true),
        list(false),
        help::options(&globals, output::columns()),
    ))?;
    Ok(0)
}

fn summary(name: &str, command: &Command) -> String {
    let about = command.about.lines().next().unwrap_or_default();
    format!("  {name:<11} {about}\n")
}
