//! What the scripts of all shells are made of.

use cove_flags::{Flag, Offers, Table};

use crate::commands::tables::{Command, GROUPS, TOP};

/// What is typed to run us.
pub(super) struct Typed<'a> {
    /// Its name.
    pub(super) program: &'a str,
    /// Where it is, unless it was found by its name: then it will be again.
    pub(super) path: &'a str,
}

/// A command with all words that call it.
pub(super) struct Called {
    /// The words.
    pub(super) paths: Vec<String>,
    /// The command.
    pub(super) command: &'static Command,
}

/// Every command once.
pub(super) fn commands() -> Vec<Called> {
    let top = TOP
        .iter()
        .map(|(name, command)| ((*name).to_owned(), *command));
    let grouped = GROUPS.iter().flat_map(|group| {
        let commands = group.commands.iter();
        commands.map(|(name, command)| (format!("{} {name}", group.name), *command))
    });
    let mut all: Vec<Called> = Vec::new();
    for (path, command) in top.chain(grouped) {
        match all
            .iter_mut()
            .find(|known| std::ptr::eq(known.command, command))
        {
            Some(known) => known.paths.push(path),
            None => all.push(Called {
                paths: vec![path],
                command,
            }),
        }
    }
    all
}

/// The words of the top level, and what each is about.
pub(super) fn top() -> impl Iterator<Item = (&'static str, &'static str)> {
    let commands = TOP.iter().map(|(name, command)| (*name, command.about));
    commands.chain(GROUPS.iter().map(|group| (group.name, group.about)))
}

/// The flags of a table that help shows.
pub(super) fn shown(table: &Table) -> Vec<&'static Flag> {
    let mut flags = table.sorted();
    flags.retain(|flag| !flag.help.is_empty());
    flags
}

/// One line of a text.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What is offered, in one word.
pub(super) fn word(offers: Offers) -> String {
    match offers {
        Offers::Nothing => "nothing".to_owned(),
        Offers::Containers => "containers".to_owned(),
        Offers::Running => "running".to_owned(),
        Offers::Images => "images".to_owned(),
        Offers::Objects => "objects".to_owned(),
        Offers::Files => "files".to_owned(),
        Offers::Directories => "directories".to_owned(),
        Offers::Copies => "copies".to_owned(),
        Offers::Words(words) => words.join(","),
    }
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Puts values in the places of a script.
pub(super) fn filled(script: &str, places: &[(&str, &str)]) -> String {
    let mut text = script.to_owned();
    for (place, value) in places {
        text = text.replace(place, value);
    }
    text
}
