//! The tables of cases: one line each, four fields between ` :: `.
//!
//! ```text
//! name :: what is compared :: set-up :: command
//! ```
//!
//! Compared is the exit status and what is named: `status` (nothing more),
//! `out`, `err` or `all`. `sorted` beside it compares the lines in any order;
//! `alone` runs the case when no other one runs. Set-up (`-` for none) and
//! command are lines for `sh`, in a directory of the case's own. There, the
//! name of the peer (`docker`, `podman`, `runc`) is the peer in one world and
//! Cove in the other, and `$C` is a name for the case's containers, `$I` one
//! for its images (`$C-2` and `$I-2` too: what begins so is removed in the end).

/// Which program a case's peer is; the table's file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    Docker,
    Podman,
    Runc,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Runc => "runc",
        }
    }
}

impl Case {
    /// An old client of Docker's ends alike and speaks otherwise.
    pub(crate) fn for_old_client(mut self) -> Self {
        if self.peer == Peer::Docker {
            (self.compared.out, self.compared.err) = (false, false);
        }
        self
    }
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) peer: Peer,
    pub(crate) compared: Compared,
    /// Empty when there is none.
    pub(crate) setup: String,
    pub(crate) command: String,
}

/// What of two answers must be equal, besides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Compared {
    pub(crate) out: bool,
    pub(crate) err: bool,
    /// Lines in any order.
    pub(crate) sorted: bool,
    /// It looks at everything in its world, so nothing else may run in it.
    pub(crate) alone: bool,
}

/// The tables of this repository.
const TABLES: &[(&str, Peer, &str)] = &[
    ("run.txt", Peer::Docker, include_str!("../cases/run.txt")),
    ("life.txt", Peer::Docker, include_str!("../cases/life.txt")),
    (
        "looks.txt",
        Peer::Docker,
        include_str!("../cases/looks.txt"),
    ),
    (
        "images.txt",
        Peer::Docker,
        include_str!("../cases/images.txt"),
    ),
    (
        "changes.txt",
        Peer::Docker,
        include_str!("../cases/changes.txt"),
    ),
    (
        "mistakes.txt",
        Peer::Docker,
        include_str!("../cases/mistakes.txt"),
    ),
    (
        "podman.txt",
        Peer::Podman,
        include_str!("../cases/podman.txt"),
    ),
    ("runc.txt", Peer::Runc, include_str!("../cases/runc.txt")),
];

/// Every case there is, in the tables' order.
pub(crate) fn all() -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    for (file, peer, text) in TABLES {
        for case in parse(*peer, text).map_err(|e| format!("{file}: {e}"))? {
            if cases.iter().any(|other| other.name == case.name) {
                return Err(format!("{file}: {} is there twice", case.name));
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

/// The cases of one table. Lines that begin with `#` are remarks.
fn parse(peer: Peer, text: &str) -> Result<Vec<Case>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(n, line)| one(peer, line).map_err(|e| format!("line {}: {e}", n + 1)))
        .collect()
}

fn one(peer: Peer, line: &str) -> Result<Case, String> {
    let fields: Vec<&str> = line.split(" :: ").map(str::trim).collect();
    let [name, compared, setup, command] = fields.as_slice() else {
        return Err(format!("{} fields instead of 4", fields.len()));
    };
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(fit) {
        return Err(format!(
            "{name:?} is no name: small letters, digits, hyphens"
        ));
    }
    if command.is_empty() {
        return Err("no command".to_owned());
    }
    Ok(Case {
        name: (*name).to_owned(),
        peer,
        compared: words(compared)?,
        setup: if *setup == "-" { "" } else { setup }.to_owned(),
        command: (*command).to_owned(),
    })
}

fn words(text: &str) -> Result<Compared, String> {
    let mut compared = Compared::default();
    for word in text.split_whitespace() {
        match word {
            "status" => {}
            "out" => compared.out = true,
            "err" => compared.err = true,
            "all" => (compared.out, compared.err) = (true, true),
            "sorted" => compared.sorted = true,
            "alone" => compared.alone = true,
            other => return Err(format!("{other:?} is nothing to compare")),
        }
    }
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_can_be_read_and_is_large_enough() {
        let cases = all().unwrap();
        assert!(cases.len() >= 300, "{} cases", cases.len());
    }

    #[test]
    fn a_line_has_four_fields() {
        let text = "# remark\n\na-1 :: all sorted :: - :: docker ps | sort\n";
        let cases = parse(Peer::Docker, text).unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].command, "docker ps | sort");
        assert_eq!(cases[0].setup, "");
        assert!(cases[0].compared.sorted && cases[0].compared.err);
        for wrong in [
            "a :: all :: b",
            "A :: all :: - :: b",
            "a :: x :: - :: b",
            "a :: all :: - :: ",
        ] {
            assert!(parse(Peer::Docker, wrong).is_err(), "{wrong}");
        }
    }
}
