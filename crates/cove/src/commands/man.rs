//! `man`: manual pages, made from the tables of the commands.

use std::path::Path;

use cove_flags::{Table, Takes};

use super::tables::system::ManFlags;
use super::tables::{Command, GROUPS, TOP};
use crate::outcome::{Failure, Outcome};
use crate::settings::{GlobalFlags, Session};
use crate::{build, output};

/// Prints a page, or writes all of them.
pub(crate) fn man(session: &Session, flags: &ManFlags, args: &[String]) -> Outcome {
    let pages = pages(&session.program);
    if !flags.output.is_empty() {
        for (name, text) in &pages {
            let path = Path::new(&flags.output).join(format!("{name}.1"));
            cove_sys::fs::write_atomic(&path, text.as_bytes(), false)
                .map_err(|error| Failure::plain(format!("write {}: {error}", path.display())))?;
        }
        return Ok(0);
    }
    let mut words = vec![session.program.as_str()];
    words.extend(args.iter().map(String::as_str));
    let name = words.join("-");
    let page = pages.into_iter().find(|(page, _)| *page == name);
    let (_, text) =
        page.ok_or_else(|| Failure::plain(format!("no manual page for '{}'", words.join(" "))))?;
    output::text(&text)?;
    Ok(0)
}

/// Every page with its name.
fn pages(program: &str) -> Vec<(String, String)> {
    let mut pages = vec![(program.to_owned(), top(program))];
    for (name, command) in TOP {
        pages.push(page(program, name, command));
    }
    for group in GROUPS {
        let mut text = head(program, group.name, group.about);
        let synopsis = format!("{program} {} COMMAND", group.name);
        write(
            &mut text,
            &[
                ".SH SYNOPSIS\n",
                ".B ",
                &escaped(&synopsis),
                "\n.SH COMMANDS\n",
            ],
        );
        for (name, command) in group.commands {
            entry(
                &mut text,
                program,
                &format!("{} {name}", group.name),
                command.about,
            );
            pages.push(page(program, &format!("{} {name}", group.name), command));
        }
        pages.push((format!("{program}-{}", group.name), text));
    }
    pages
}

/// The page of all commands.
fn top(program: &str) -> String {
    let mut text = head(program, "", "Runs containers, without a daemon");
    write(
        &mut text,
        &[
            ".SH SYNOPSIS\n.B ",
            &escaped(program),
            "\n[OPTIONS] COMMAND [ARG...]\n",
        ],
    );
    options(&mut text, "OPTIONS", GlobalFlags::TABLE);
    text.push_str(".SH COMMANDS\n");
    for (name, command) in TOP {
        entry(&mut text, program, name, command.about);
    }
    for group in GROUPS {
        entry(&mut text, program, group.name, group.about);
    }
    text
}

/// The page of one command, which is called by `words`.
fn page(program: &str, words: &str, command: &Command) -> (String, String) {
    let mut text = head(program, words, command.about);
    text.push_str(".SH SYNOPSIS\n");
    for (index, usage) in command.usage.iter().enumerate() {
        if index > 0 {
            text.push_str(".br\n");
        }
        let called = escaped(&format!("{program} {words}"));
        write(&mut text, &[".B ", &called, "\n", &escaped(usage), "\n"]);
    }
    text.push_str(".SH DESCRIPTION\n");
    lines(&mut text, command.about);
    let others: Vec<String> = command
        .aliases
        .iter()
        .filter(|alias| **alias != words)
        .map(|alias| format!("{program} {alias}"))
        .collect();
    if !others.is_empty() {
        write(
            &mut text,
            &[".PP\nAlso called ", &escaped(&others.join(", ")), ".\n"],
        );
    }
    options(&mut text, "OPTIONS", command.call.flags);
    write(
        &mut text,
        &[".SH SEE ALSO\n.BR ", &escaped(program), " (1)\n"],
    );
    (format!("{program}-{}", words.replace(' ', "-")), text)
}

/// What every page begins with.
fn head(program: &str, words: &str, about: &str) -> String {
    let name = [program, words].join(" ").trim_end().replace(' ', "-");
    let about = about
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    let date = build::date().map(|date| date.strftime("%Y-%m-%d").to_string());
    format!(
        ".TH {} 1 {} \"Cove {}\"\n.SH NAME\n{} \\- {}\n",
        escaped(&name.to_uppercase()),
        date.unwrap_or_else(|| "\"\"".to_owned()),
        build::VERSION,
        escaped(&name),
        escaped(about),
    )
}

/// One command in the list of many.
fn entry(text: &mut String, program: &str, words: &str, about: &str) {
    let page = format!("{program}-{}", words.replace(' ', "-"));
    write(text, &[".TP\n.BR ", &escaped(&page), " (1)\n"]);
    write(
        text,
        &[&escaped(about.lines().next().unwrap_or_default()), "\n"],
    );
}

fn options(text: &mut String, title: &str, table: &Table) {
    let flags = table.sorted();
    let mut shown = flags.iter().filter(|flag| !flag.help.is_empty()).peekable();
    if shown.peek().is_some() {
        write(text, &[".SH ", title, "\n"]);
    }
    for flag in shown {
        text.push_str(".TP\n");
        if flag.short != '\0' {
            write(text, &["\\fB\\-", &flag.short.to_string(), "\\fR, "]);
        }
        write(text, &["\\fB\\-\\-", &escaped(flag.long), "\\fR"]);
        if let Takes::Value(kind) = flag.takes {
            write(text, &[" \\fI", &escaped(kind), "\\fR"]);
        }
        text.push('\n');
        lines(text, flag.help);
    }
}

/// Lines that stay lines; what is laid out by blanks keeps them.
fn lines(text: &mut String, help: &str) {
    for (index, line) in help.lines().enumerate() {
        if line.is_empty() {
            text.push_str(".PP\n");
            continue;
        }
        if index > 0 && !text.ends_with(".PP\n") {
            text.push_str(".br\n");
        }
        write(text, &[&escaped(line), "\n"]);
    }
}

/// A text of which no character means anything to roff.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

fn write(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
}
