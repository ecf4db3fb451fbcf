//! Finding the command that is meant, running it, and telling how it ended.

use std::io::Write as _;

use cove_flags::{Flags, Stop};
use cove_model::go::quote;

use crate::build;
use crate::commands::tables::{self, Args, Command, Group, planned};
use crate::help;
use crate::outcome::{Failure, Outcome, Voice};
use crate::output;
use crate::settings::{self, GlobalFlags, Session};

/// Runs a whole command line and returns the exit status.
pub(crate) fn main(argv0: &str, args: &[String]) -> u8 {
    let program = settings::program_name(argv0);
    let (flags, words) = match settings::global(args) {
        Ok(read) => read,
        Err(Stop::Help) => return finish(program, program, print_top_help(program)),
        Err(mistake) => {
            let message = in_pflags_words(&mistake);
            let usage = format!("Usage:  {program} [OPTIONS] COMMAND [ARG...]");
            return usage_error(&message, &usage, program, 125);
        }
    };
    if flags.version {
        let line = format!(
            "Cove version {}, build {}",
            build::VERSION,
            build::short_commit()
        );
        return finish(program, program, output::line(&line).map(|()| 0));
    }
    let Some((word, rest)) = words.split_first() else {
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
    let roots = match settings::roots(&flags) {
        Ok(roots) => roots,
        Err(failure) => return finish(program, &path, Err(failure)),
    };
    let session = Session::new(program, path, roots);
    (command.call.run)(&session, command, rest)
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
    if let Some((_, command)) = tables::TOP.iter().find(|(name, _)| *name == word) {
        return Found::Command {
            path: format!("{program} {word}"),
            command,
            rest,
        };
    }
    let Some(group) = tables::GROUPS.iter().find(|group| group.name == word) else {
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

/// Reads the flags of a command, runs its function, and tells how it ended.
pub(crate) fn call<F: Flags + Default>(
    session: &Session,
    command: &Command,
    words: &[String],
    function: fn(&Session, &F, &[String]) -> Outcome,
) -> u8 {
    let mut flags = F::default();
    match read(session, command, &mut flags, words) {
        Ok(args) => finish(
            &session.program,
            &session.path,
            function(session, &flags, &args),
        ),
        Err(code) => code,
    }
}

/// The arguments between the flags, or the exit status when all was said.
fn read(
    session: &Session,
    command: &Command,
    flags: &mut dyn Flags,
    words: &[String],
) -> Result<Vec<String>, u8> {
    let path = &session.path;
    let args = match cove_flags::parse(flags, command.interspersed, words) {
        Ok(args) => args,
        Err(Stop::Help) => {
            let help = print_help(&session.program, path, command);
            return Err(finish(&session.program, path, help));
        }
        Err(mistake) => {
            let message = in_pflags_words(&mistake);
            return Err(usage_error(
                &message,
                &help::usage_line(path, command),
                path,
                125,
            ));
        }
    };
    let Some(complaint) = command.args.complaint(args.len()) else {
        return Ok(args);
    };
    let verb = if matches!(command.args, Args::AtLeast(_)) {
        "See"
    } else {
        "Run"
    };
    Err(tell(
        &format!(
            "{}: '{path}' {complaint}\n\n{}\n\n{verb} '{path} --help' for more information",
            session.program,
            help::usage_line(path, command)
        ),
        1,
    ))
}

/// A mistake as Go's pflag tells it.
pub(crate) fn in_pflags_words(stop: &Stop) -> String {
    match stop {
        Stop::Help => "pflag: help requested".to_owned(),
        Stop::Unknown(name) => format!("unknown flag: --{name}"),
        Stop::UnknownShort { letter, cluster } => {
            format!("unknown shorthand flag: '{letter}' in -{cluster}")
        }
        Stop::Syntax(text) => format!("bad flag syntax: --{text}"),
        Stop::Missing(flag) => format!("flag needs an argument: --{}", flag.long),
        Stop::MissingShort(flag) => {
            format!("flag needs an argument: '{0}' in -{0}", flag.short)
        }
        Stop::Invalid {
            flag,
            value,
            reason,
        } => format!(
            "invalid argument {} for {} flag: {reason}",
            quote(&value.to_string_lossy()),
            quote(&flag.shown())
        ),
    }
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
        let commands = tables::TOP
            .iter()
            .filter(|(name, _)| tables::COMMON.contains(name) == common);
        commands
            .map(|(name, command)| summary(name, command))
            .collect::<String>()
    };
    let groups: String = tables::GROUPS
        .iter()
        .map(|group| format!("  {:<11} {}\n", group.name, group.about))
        .collect();
    output::text(&format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nRuns containers, without a daemon\n\nCommon Commands:\n{}\nManagement Commands:\n{groups}\nCommands:\n{}\nGlobal Options:\n{}\nRun '{program} COMMAND --help' for more information on a command.\n",
        list(true),
        list(false),
        help::options(GlobalFlags::TABLE, output::columns()),
    ))?;
    Ok(0)
}

fn summary(name: &str, command: &Command) -> String {
    let about = command.about.lines().next().unwrap_or_default();
    format!("  {name:<11} {about}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tables::run::RunFlags;

    #[test]
    fn mistakes_are_told_in_pflags_words() {
        for (words, message) in [
            (&["--foo"] as &[&str], "unknown flag: --foo"),
            (&["--foo=1"], "unknown flag: --foo"),
            (&["-Z"], "unknown shorthand flag: 'Z' in -Z"),
            (&["-itZ"], "unknown shorthand flag: 'Z' in -Z"),
            (&["--memory"], "flag needs an argument: --memory"),
            (&["-m"], "flag needs an argument: 'm' in -m"),
            (&["-itm"], "flag needs an argument: 'm' in -m"),
            (
                &["-m", "bad"],
                "invalid argument \"bad\" for \"-m, --memory\" flag: invalid size: 'bad'",
            ),
            (
                &["--tty=maybe"],
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (&["--=x"], "bad flag syntax: --=x"),
        ] {
            let stop = cove_flags::parse(&mut RunFlags::default(), false, words).unwrap_err();
            assert_eq!(in_pflags_words(&stop), message, "{words:?}");
        }
    }
}
