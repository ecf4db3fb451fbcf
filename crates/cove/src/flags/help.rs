//! The help of a command, laid out as cobra and pflag do it.

use super::{Flag, Kind};
use crate::spec::Command;

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
    let mut flags: Vec<&Flag> = command
        .flags
        .iter()
        .flat_map(|set| set.iter())
        .filter(|flag| !flag.usage.is_empty())
        .collect();
    if !flags.is_empty() {
        flags.sort_by_key(|flag| flag.long);
        text.push_str("\nOptions:\n");
        text.push_str(&options(&flags, columns));
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
pub(crate) fn options(flags: &[&Flag], columns: usize) -> String {
    let left: Vec<String> = flags.iter().map(|flag| left_column(flag)).collect();
    let widest = left.iter().map(String::len).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for (flag, left) in flags.iter().zip(&left) {
        let spaces = " ".repeat(widest - left.len());
        let usage = wrap(widest + 2, columns.saturating_sub(1), flag.usage);
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
    if let Kind::Value { type_name, .. } = flag.kind
        && !type_name.is_empty()
    {
        line.push(' ');
        line.push_str(type_name);
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

    fn any(_: &str) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn the_table_is_what_docker_prints_at_80_columns() {
        // `docker start --help`, without the checkpoint flags, and one of `docker attach`.
        let flags = [
            Flag::switch('a', "attach", "Attach STDOUT/STDERR and forward signals"),
            Flag::value(
                '\0',
                "detach-keys",
                "string",
                any,
                "Override the key sequence for detaching a container",
            ),
            Flag::switch('i', "interactive", "Attach container's STDIN"),
        ];
        let flags: Vec<&Flag> = flags.iter().collect();
        assert_eq!(
            options(&flags, 80),
            "  -a, --attach               Attach STDOUT/STDERR and forward signals\n\
             \x20     --detach-keys string   Override the key sequence for detaching a\n\
             \x20                            container\n\
             \x20 -i, --interactive          Attach container's STDIN\n"
        );
    }
}
