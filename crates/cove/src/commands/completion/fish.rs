//! The script for fish.

use cove_flags::{Offers, Table, Takes};

use super::common::{Called, Typed, commands, filled, first_line, shown, top};
use crate::commands::tables::GROUPS;
use crate::settings::GlobalFlags;

/// The whole script.
pub(super) fn script(typed: &Typed<'_>) -> String {
    let program = typed.program;
    let commands = commands();
    let mut table = words(program, "", top());
    table += &flags(program, &[String::new()], GlobalFlags::TABLE);
    let mut values = takes_values(&[String::new()], GlobalFlags::TABLE);
    for group in GROUPS {
        let named = group.commands.iter();
        table += &words(
            program,
            group.name,
            named.map(|(name, command)| (*name, command.about)),
        );
    }
    for called in &commands {
        table += &flags(program, &called.paths, called.command.call.flags);
        table += &arguments(program, called);
        values += &takes_values(&called.paths, called.command.call.flags);
    }
    let ends: Vec<String> = commands
        .iter()
        .filter(|called| !called.command.interspersed)
        .flat_map(|called| called.paths.iter().map(|path| quoted(path)))
        .collect();
    let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    filled(
        include_str!("fish.sh"),
        &[
            ("@VALUES@\n", &values),
            ("@TABLE@\n", &table),
            ("@GROUPS@", &groups.join(" ")),
            ("@ENDS@", &ends.join(" ")),
            ("@PROGRAM@", program),
            ("@PATH@", &quoted(typed.path)),
        ],
    )
}

/// The words behind `path`, and what each is about.
fn words<'a>(program: &str, path: &str, words: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let condition = quoted(&format!("__cove_argument 0 {}", quoted(path)));
    words
        .map(|(name, about)| {
            let about = quoted(first_line(about));
            format!("complete -c {program} -n {condition} -a {name} -d {about}\n")
        })
        .collect()
}

fn flags(program: &str, paths: &[String], table: &Table) -> String {
    let condition = condition("__cove_flags", paths);
    let mut text = String::new();
    for flag in shown(table) {
        text += &format!("complete -c {program} -n {condition} -l {}", flag.long);
        if flag.short != '\0' {
            text += &format!(" -s {}", flag.short);
        }
        if let Takes::Value(_) = flag.takes {
            text += &format!(" -r{}", offered(flag.offers));
        }
        text += &format!(" -d {}\n", quoted(first_line(flag.help)));
    }
    text
}

fn arguments(program: &str, called: &Called) -> String {
    let offers = called.command.offers;
    let mut text = String::new();
    for (index, offers) in offers.iter().enumerate() {
        let test = if index + 1 == called.command.offers.len() {
            "__cove_arguments"
        } else {
            "__cove_argument"
        };
        let condition = condition(&format!("{test} {index}"), &called.paths);
        if *offers != Offers::Nothing {
            text += &format!("complete -c {program} -n {condition}{}\n", offered(*offers));
        }
    }
    text
}

/// What is asked before something is offered.
fn condition(test: &str, paths: &[String]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    quoted(&format!("{test} {}", paths.join(" ")))
}

fn takes_values(paths: &[String], table: &Table) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    let mut names = Vec::new();
    for flag in shown(table) {
        if let Takes::Value(_) = flag.takes {
            names.push(format!("--{}", flag.long));
            if flag.short != '\0' {
                names.push(format!("-{}", flag.short));
            }
        }
    }
    if names.is_empty() {
        return String::new();
    }
    format!(
        "        case {}\n            printf '%s\\n' {}\n",
        paths.join(" "),
        names.join(" ")
    )
}

fn offered(offers: Offers) -> String {
    match offers {
        Offers::Nothing => " -f".to_owned(),
        Offers::Containers => " -f -a '(__cove_containers)'".to_owned(),
        Offers::Running => " -f -a '(__cove_running)'".to_owned(),
        Offers::Images => " -f -a '(__cove_images)'".to_owned(),
        Offers::Objects => " -f -a '(__cove_objects)'".to_owned(),
        Offers::Files => " -F".to_owned(),
        Offers::Directories => " -f -a '(__fish_complete_directories)'".to_owned(),
        Offers::Copies => " -F -a '(__cove_copies)'".to_owned(),
        Offers::Words(words) => format!(" -f -a '{}'", words.join(" ")),
    }
}

/// A text as one word: fish knows two escapes between its quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
