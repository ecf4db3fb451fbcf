//! Where two answers differ, and how that is told.

use std::fmt::Write as _;

use super::case::Case;
use super::known::{Kind, Known};
use super::world::Answer;

/// What both worlds said.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) peer: Answer,
    pub(crate) cove: Answer,
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    agree: usize,
    listed: usize,
    /// Differ, and nobody said why.
    differ: Vec<String>,
    /// Told only when asked.
    told: Vec<String>,
    /// Listed without a difference.
    stale: Vec<String>,
}

impl Found {
    pub(crate) fn add(&mut self, case: &Case, answers: &Answers, known: Option<&Known>) {
        match (differ(case, answers), known) {
            (false, None) => self.agree += 1,
            (false, Some(_)) => {
                self.agree += 1;
                if surprises(case, answers, known) {
                    self.stale.push(case.name.clone());
                }
            }
            (true, None) => self.differ.push(describe(case, answers)),
            (true, Some(known)) => {
                self.listed += 1;
                self.told.push(format!(
                    "{}    listed: {}\n",
                    describe(case, answers),
                    known.reason
                ));
            }
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.differ.is_empty() && self.stale.is_empty()
    }
}

/// Whether the answers are not what the list says of them.
pub(crate) fn surprises(case: &Case, answers: &Answers, known: Option<&Known>) -> bool {
    match known {
        None => differ(case, answers),
        // Half of a pattern may agree, a name alone must not; and who compares
        // less than the case says sees less.
        Some(known) => {
            known.name == case.name
                && known.kind != Kind::Mending
                && (case.compared.out || case.compared.err)
                && !differ(case, answers)
        }
    }
}

/// Whether what the case compares is not the same.
pub(crate) fn differ(case: &Case, answers: &Answers) -> bool {
    let (peer, cove) = (&answers.peer, &answers.cove);
    let compared = case.compared;
    // A set-up that fails in both worlds compares nothing.
    peer.status.is_none()
        || peer.status != cove.status
        || (compared.out && !same(&peer.out, &cove.out, compared.sorted))
        || (compared.err && !same(&peer.err, &cove.err, compared.sorted))
}

fn same(a: &[String], b: &[String], sorted: bool) -> bool {
    if !sorted {
        return a == b;
    }
    let in_order = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    in_order(a) == in_order(b)
}

/// All of it, the figures last.
pub(crate) fn text(found: &Found, listed_too: bool) -> String {
    let mut text = String::new();
    if listed_too {
        text.extend(found.told.iter().map(String::as_str));
    }
    text.extend(found.differ.iter().map(String::as_str));
    for name in &found.stale {
        let _infallible = writeln!(text, "{name}: listed in known.txt and does not differ");
    }
    let cases = found.agree + found.listed + found.differ.len();
    let _infallible = write!(
        text,
        "{cases} cases: {} agree, {} differ as listed, {} differ, {} listed in vain",
        found.agree,
        found.listed,
        found.differ.len(),
        found.stale.len()
    );
    text
}

fn describe(case: &Case, answers: &Answers) -> String {
    let peer = case.peer.name();
    let mut text = format!("{}\n", case.name);
    if !case.setup.is_empty() {
        let _infallible = writeln!(text, "    {}", case.setup);
    }
    let _infallible = writeln!(text, "  $ {}", case.command);
    let (p, c) = (&answers.peer, &answers.cove);
    let status = |answer: &Answer| {
        answer
            .status
            .map_or_else(|| "set-up failed".to_owned(), |s| s.to_string())
    };
    if p.status != c.status || p.status.is_none() {
        let _infallible = writeln!(text, "    status: {peer} {}, cove {}", status(p), status(c));
    }
    let failed = p.status.is_none() || c.status.is_none();
    for (what, theirs, ours, compared) in [
        ("out", &p.out, &c.out, case.compared.out),
        (
            "err",
            &p.err,
            &c.err,
            case.compared.err || failed || p.status != c.status,
        ),
    ] {
        if compared && theirs != ours {
            lines(&mut text, what, theirs, ours);
        }
    }
    text
}

/// The lines that only one of two texts has.
fn lines(text: &mut String, what: &str, theirs: &[String], ours: &[String]) {
    const MOST: usize = 12;
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    let (minus, plus) = (only(theirs, ours), only(ours, theirs));
    for (sign, all) in [('-', &minus), ('+', &plus)] {
        for line in all.iter().take(MOST) {
            let _infallible = writeln!(text, "    {what} {sign} {line}");
        }
        if all.len() > MOST {
            let _infallible = writeln!(text, "    {what} {sign} … {} more", all.len() - MOST);
        }
    }
    if minus.is_empty() && plus.is_empty() {
        let _infallible = writeln!(
            text,
            "    {what}: the same lines in another order or number"
        );
    }
}
