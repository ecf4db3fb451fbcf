//! The help of a command, laid out as cobra and pflag do it.

use cove_flags::{Flag, Table, Takes};

use crate::commands::tables::Command;

/// The whole help text of `command`, called `path` (`cove run`), for a
/// terminal of `columns`.
pub(crate) fn of_command(program: &str, path: &str, command: &Command, columns: usize) -> String {
    let mut text = format!("{}\n\n{}\n", usage_line(path, command), command.about);
    if command.aliases.len() > 1 {
        let names: Vec<String> = command
            .aliases
            .iter()
            .map(|alias| format!("{program} {alias}"))
            .collect();
        text.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let options = options(command.call.flags, columns);
    if !options.is_empty() {
        text.push_str("\nOptions:\n");
        text.push_str(&options);
    }
    text
}

/// The `Usage:` lines of `command`.
pub(crate) fn usage_line(path: &str, command: &Command) -> String {
    let lines: Vec<String> = command
        .usage
        .iter()
        .map(|usage| format!("{path} {usage}").trim_end().to_owned())
        .collect();
    format!("Usage:  {}", lines.join("\n\t"))
}

/// The table of flags, its right column wrapped before `columns`.
pub(crate) fn options(table: &Table, columns: usize) -> String {
    let mut flags = table.sorted();
    flags.retain(|flag| !flag.help.is_empty());
    let left: Vec<String> = flags.iter().map(|flag| left_column(flag)).collect();
    let widest = left.iter().map(String::len).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (flag, left) in flags.iter().zip(&left) {
        let spaces = " ".repeat(widest - left.len());
        let usage = wrap(widest + 2, columns.saturating_sub(1), flag.help);
        text.push_str(&format!("{left} {spaces} {usage}\n"));
    }
    text
}

fn left_column(flag: &Flag) -> String {
    let mut line = if flag.short == '\0' {
        format!("      --{}", flag.long)
    } else {
        format!("  -{}, --{}", flag.short, flag.long)
    };
    if let Takes::Value(name) = flag.takes {
        line.push(' ');
        line.push_str(name);
    }
    line
}

/// pflag's `wrap`: `indent` columns on the left, `width` in all. Byte counts
/// serve, as every help text is ASCII.
fn wrap(indent: usize, width: usize, text: &str) -> String {
    let mut indent = indent;
    let mut room = width.saturating_sub(indent);
    let mut out = String::new();
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        out.push('\n');
        out.push_str(&" ".repeat(indent));
    }
    let margin = format!("\n{}", " ".repeat(indent));
    if room < 24 {
        return text.replace('\n', &out);
    }
    const SLOP: usize = 5;
    let room = room - SLOP;
    let (first, mut rest) = split(room, SLOP, text);
    out.push_str(&first.replace('\n', &margin));
    while !rest.is_empty() {
        let (line, after) = split(room, SLOP, rest);
        out.push_str(&margin);
        out.push_str(&line.replace('\n', &margin));
        rest = after;
    }
    out
}

/// pflag's `wrapN`: the text up to a blank before `at`, and the rest.
fn split(at: usize, slop: usize, text: &str) -> (&str, &str) {
    if at + slop > text.len() || !text.is_char_boundary(at) {
        return (text, "");
    }
    match text[..at].rfind([' ', '\t', '\n']) {
        None | Some(0) => (text, ""),
        Some(blank) => match text[..at].rfind('\n') {
            Some(line) if line > 0 && line < blank => (&text[..line], &text[line + 1..]),
            _ => (&text[..blank], &text[blank + 1..]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_docker_prints_at_80_columns() {
        assert_eq!(
            options(crate::commands::tables::container::StartFlags::TABLE, 80),
            "  -a, --attach               Attach STDOUT/STDERR and forward signals\n\
             \x20     --detach-keys string   Override the key sequence for detaching a\n\
             \x20                            container\n\
             \x20 -i, --interactive          Attach container's STDIN\n"
        );
    }
}
