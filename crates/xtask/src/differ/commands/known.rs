//! The differences that stay, and why: `known.txt`, from which the document is
//! made.
//!
//! ```text
//! name :: kind :: reason
//! ```
//!
//! The name is a case's, or the beginning of several with `*` behind it;
//! for command lines at random, `field NAME` is a field of `inspect`, and
//! `flag NAME says WORDS` a flag that one of the two refuses with these words.

use std::fmt::Write as _;

use super::case::Case;

const LIST: &str = include_str!("../known.txt");

/// Why a difference stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The newest Docker does as Cove does; the peer at hand is older.
    Newest,
    /// On purpose.
    Design,
    /// The peer's answer is a fault.
    Fault,
    /// Not built yet, and refused in words.
    Later,
    /// Somebody is mending it; a list with such lines is no final one.
    Mending,
}

const KINDS: &[(&str, Kind, &str)] = &[
    ("design", Kind::Design, "On purpose"),
    (
        "newest",
        Kind::Newest,
        "As the newest Docker, which is newer than the peer that was asked",
    ),
    ("fault", Kind::Fault, "Where the peer's answer is a fault"),
    ("later", Kind::Later, "Not built yet"),
    ("mending", Kind::Mending, "Being mended"),
];

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

impl Known {
    pub(crate) fn covers(&self, case: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => self.name == case,
        }
    }

    /// Whether it is about command lines at random.
    pub(crate) fn random(&self) -> bool {
        self.name.contains(' ')
    }

    /// The flag that one of the two refuses, and the words of that.
    pub(crate) fn refusal(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix("flag ")?.split_once(" says ")
    }
}

/// The list.
pub(crate) fn all() -> Result<Vec<Known>, String> {
    parse(LIST).map_err(|e| format!("known.txt: {e}"))
}

/// The lines that name no case of `cases`.
pub(crate) fn without_case<'a>(known: &'a [Known], cases: &[Case]) -> Vec<&'a str> {
    let fits = |k: &&Known| !k.random() && !cases.iter().any(|c| k.covers(&c.name));
    known.iter().filter(fits).map(|k| k.name.as_str()).collect()
}

/// The part of the document that is about command lines.
pub(crate) fn document(known: &[Known], cases: &[Case]) -> String {
    let mut text = String::new();
    for (_, kind, title) in KINDS {
        let mut first = true;
        for one in known.iter().filter(|k| k.kind == *kind) {
            if std::mem::take(&mut first) {
                let _infallible = write!(text, "### {title}\n\n");
            }
            let example = cases.iter().find(|c| one.covers(&c.name));
            let what = example.map_or_else(
                || one.name.clone(),
                |case| format!("`{}`", case.command.replace('`', "'")),
            );
            let _infallible = writeln!(text, "- {what}: {}", one.reason);
        }
        if !first {
            text.push('\n');
        }
    }
    text
}

pub(super) fn parse(text: &str) -> Result<Vec<Known>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut all: Vec<Known> = Vec::new();
    for (n, line) in lines {
        let fields: Vec<&str> = line.split(" :: ").map(str::trim).collect();
        let known = match fields.as_slice() {
            [name, kind, reason] if !reason.is_empty() => KINDS
                .iter()
                .find(|(word, ..)| word == kind)
                .map(|(_, kind, _)| Known {
                    name: (*name).to_owned(),
                    kind: *kind,
                    reason: (*reason).to_owned(),
                }),
            _ => None,
        };
        let known = known.filter(|k| !k.name.starts_with("flag ") || k.refusal().is_some());
        let known = known.ok_or_else(|| format!("line {}: {line}", n + 1))?;
        if all.iter().any(|other| other.name == known.name) {
            return Err(format!("line {}: {} is there twice", n + 1, known.name));
        }
        all.push(known);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read_and_names_cases() {
        let (known, cases) = (all().unwrap(), super::super::case::all().unwrap());
        assert_eq!(without_case(&known, &cases), Vec::<&str>::new());
    }

    #[test]
    fn a_line_has_a_kind_and_a_reason() {
        let refused = parse("flag --a says no b :: fault :: c").unwrap();
        assert_eq!(refused[0].refusal(), Some(("--a", "no b")));
        assert!(parse("a-* :: newest :: because").unwrap()[0].covers("a-b"));
        for wrong in [
            "a :: newest",
            "a :: x :: y",
            "a :: fault :: y\na :: fault :: z",
            "flag --a :: fault :: y",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
