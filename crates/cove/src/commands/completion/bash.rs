//! The script for bash.

use cove_flags::{Offers, Table, Takes};

use super::common::{Typed, commands, filled, quoted, shown, top, word};
use crate::commands::tables::{GROUPS, NoFlags};
use crate::settings::GlobalFlags;

/// The whole script.
pub(super) fn script(typed: &Typed<'_>) -> String {
    let names = |names: Vec<&str>| names.join(",");
    let mut table = branch(
        &[String::new()],
        GlobalFlags::TABLE,
        &names(top().map(|(name, _)| name).collect()),
        false,
    );
    for group in GROUPS {
        let words = names(group.commands.iter().map(|(name, _)| *name).collect());
        table += &branch(&[group.name.to_owned()], NoFlags::TABLE, &words, false);
    }
    for called in commands() {
        let command = called.command;
        let arguments: Vec<String> = command.offers.iter().copied().map(word).collect();
        table += &branch(
            &called.paths,
            command.call.flags,
            &arguments.join(" "),
            !command.interspersed,
        );
    }
    let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
    filled(
        include_str!("bash.sh"),
        &[
            ("@TABLE@\n", &table),
            ("@GROUPS@", &groups.join(" ")),
            ("@FUNCTION@", &format!("_cove_complete_{}", typed.program)),
            ("@PROGRAM@", typed.program),
            ("@PATH@", &quoted(typed.path)),
        ],
    )
}

/// What the script knows of one command.
fn branch(paths: &[String], flags: &Table, arguments: &str, ends: bool) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    let (mut switches, mut values) = (Vec::new(), Vec::new());
    for flag in shown(flags) {
        let short = (flag.short != '\0').then(|| format!("-{}", flag.short));
        for name in [format!("--{}", flag.long)].into_iter().chain(short) {
            match (flag.takes, flag.offers) {
                (Takes::Switch, _) => switches.push(name),
                (Takes::Value(_), Offers::Nothing) => values.push(format!("{name}:")),
                (Takes::Value(_), offers) => values.push(format!("{name}:{}", word(offers))),
            }
        }
    }
    format!(
        "    {})\n        switches='{}'\n        values='{}'\n        arguments='{arguments}'\n        ends={}\n        ;;\n",
        paths.join(" | "),
        switches.join(" "),
        values.join(" "),
        if ends { "1" } else { "" }
    )
}
