//! The script for zsh.

use cove_flags::{Flag, Offers, Takes};

use super::common::{Called, Typed, commands, filled, first_line, quoted, shown, top};
use crate::commands::tables::GROUPS;
use crate::settings::GlobalFlags;

/// The whole script.
pub(super) fn script(typed: &Typed<'_>) -> String {
    let mut words = described("", top());
    for group in GROUPS {
        let commands = group.commands.iter();
        words += &described(
            group.name,
            commands.map(|(name, command)| (*name, command.about)),
        );
    }
    let globals: String = shown(GlobalFlags::TABLE)
        .into_iter()
        .flat_map(specifications)
        .map(|specification| format!("        {specification} \\\n"))
        .collect();
    let table: String = commands().iter().map(branch).collect();
    let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    filled(
        include_str!("zsh.sh"),
        &[
            ("@COMMANDS@\n", &words),
            ("@TABLE@\n", &table),
            ("@GLOBALS@\n", &globals),
            ("@GROUPS@", &groups.join(" ")),
            ("@FUNCTION@", &format!("_{}", typed.program)),
            ("@PROGRAM@", typed.program),
            ("@PATH@", &quoted(typed.path)),
        ],
    )
}

/// The words behind `path`, and what each is about.
fn described<'a>(path: &str, words: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let words: String = words
        .map(|(name, about)| {
            let about = first_line(about).replace(':', "\\:");
            format!("            {}\n", quoted(&format!("{name}:{about}")))
        })
        .collect();
    format!(
        "    {})\n        commands=(\n{words}        )\n        ;;\n",
        quoted(path)
    )
}

/// The flags and arguments of one command.
fn branch(called: &Called) -> String {
    let command = called.command;
    let paths: Vec<String> = called.paths.iter().map(|path| quoted(path)).collect();
    let mut lines: Vec<String> = shown(command.call.flags)
        .into_iter()
        .flat_map(specifications)
        .collect();
    let last = command.offers.len().saturating_sub(1);
    for (index, offers) in command.offers.iter().enumerate() {
        let place = if index == last {
            "*".to_owned()
        } else {
            (index + 1).to_string()
        };
        lines.push(quoted(&format!("{place}:argument:{}", action(*offers))));
    }
    let ends = if command.interspersed { "" } else { " -A '-*'" };
    format!(
        "    {})\n        _arguments -s -S{ends} \\\n            {}\n        ;;\n",
        paths.join("|"),
        lines.join(" \\\n            ")
    )
}

/// A flag as `_arguments` is told of it, by its name and by its letter.
fn specifications(flag: &'static Flag) -> impl Iterator<Item = String> {
    let help: String = first_line(flag.help)
        .chars()
        .flat_map(|c| {
            let escape = matches!(c, '[' | ']' | '\\' | ':').then_some('\\');
            escape.into_iter().chain([c])
        })
        .collect();
    let short = (flag.short != '\0').then(|| format!("-{}", flag.short));
    [format!("--{}", flag.long)]
        .into_iter()
        .chain(short)
        .map(move |name| match flag.takes {
            Takes::Switch => quoted(&format!("*{name}[{help}]")),
            Takes::Value(kind) => {
                let glue = if name.starts_with("--") { '=' } else { '+' };
                let action = action(flag.offers);
                quoted(&format!("*{name}{glue}[{help}]:{kind}:{action}"))
            }
        })
}

fn action(offers: Offers) -> String {
    match offers {
        Offers::Nothing => " ".to_owned(),
        Offers::Containers => "_cove_containers".to_owned(),
        Offers::Running => "_cove_running".to_owned(),
        Offers::Images => "_cove_images".to_owned(),
        Offers::Objects => "_cove_objects".to_owned(),
        Offers::Files => "_files".to_owned(),
        Offers::Directories => "_directories".to_owned(),
        Offers::Copies => "_cove_copies".to_owned(),
        Offers::Words(words) => format!("({})", words.join(" ")),
    }
}
