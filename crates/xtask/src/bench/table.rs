//! Medians, ratios and the table that shows them.

use std::fmt::Write as _;
use std::time::Duration;

/// One line of the result.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    ours: String,
    peer: String,
    figure: String,
    target: String,
    met: bool,
}

impl Row {
    /// Our median against a peer's: the ratio must not be above `most`.
    pub(crate) fn ratio(what: &str, ours: Duration, peer: (&str, Duration), most: f64) -> Self {
        let ratio = ours.as_secs_f64() / peer.1.as_secs_f64();
        Self {
            what: what.to_owned(),
            ours: time(ours),
            peer: format!("{} {}", peer.0, time(peer.1)),
            figure: format!("{ratio:.2} x"),
            target: format!("<= {most} x"),
            met: ratio <= most,
        }
    }

    /// A figure of ours against a limit: at most, or at least.
    pub(crate) fn limit(what: &str, ours: f64, unit: &str, limit: Limit) -> Self {
        let (target, met) = match limit {
            Limit::AtMost(most) => (format!("<= {most:.2} {unit}"), ours <= most),
            Limit::AtLeast(least) => (format!(">= {least:.2} {unit}"), ours >= least),
        };
        let ours = format!("{ours:.2} {unit}");
        Self {
            what: what.to_owned(),
            ours: ours.clone(),
            peer: "-".to_owned(),
            figure: ours,
            target,
            met,
        }
    }

    /// The same line with a word about a peer.
    pub(crate) fn beside(mut self, peer: &str) -> Self {
        peer.clone_into(&mut self.peer);
        self
    }

    /// A benchmark that could not be run; never met.
    pub(crate) fn failed(what: &str, why: &str) -> Self {
        let why = why.lines().next().unwrap_or_default();
        Self {
            what: what.to_owned(),
            ours: "-".to_owned(),
            peer: "-".to_owned(),
            figure: "-".to_owned(),
            target: format!("failed: {why}"),
            met: false,
        }
    }

    pub(crate) const fn met(&self) -> bool {
        self.met
    }
}

/// Which side of a limit is good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// The middle of the samples; the upper one of two.
pub(crate) fn median<T: Ord + Copy>(samples: &[T]) -> Option<T> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

const HEAD: [&str; 6] = ["what", "cove", "peer", "figure", "target", "verdict"];

/// For a terminal.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut lines: Vec<[&str; 6]> = vec![HEAD];
    lines.extend(rows.iter().map(cells));
    let width = |n: usize| {
        lines
            .iter()
            .map(|l| l[n].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            let _infallible = write!(text, "{cell:<width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// For the documents, with what the machine is.
pub(crate) fn document(rows: &[Row]) -> String {
    let mut text = format!(
        "{}\n\n| {} |\n|---|---|---|---|---|---|\n",
        crate::docs::machine(),
        HEAD.join(" | ")
    );
    for row in rows {
        let _infallible = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text
}

fn cells(row: &Row) -> [&str; 6] {
    let verdict = if row.met { "met" } else { "NOT MET" };
    [
        &row.what,
        &row.ours,
        &row.peer,
        &row.figure,
        &row.target,
        verdict,
    ]
}

fn time(t: Duration) -> String {
    if t < Duration::from_secs(2) {
        format!("{:.2} ms", t.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", t.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_figures() {
        let ms = Duration::from_millis;
        assert!(Row::ratio("a", ms(7), ("p", ms(10)), 0.7).met());
        assert!(!Row::ratio("a", ms(8), ("p", ms(10)), 0.7).met());
        assert!(Row::limit("a", 3.0, "x", Limit::AtMost(3.0)).met());
        assert!(!Row::limit("a", 2.0, "x", Limit::AtLeast(3.0)).met());
        assert_eq!(median(&[3, 1, 2]), Some(2));
        assert!(render(&[Row::failed("a", "why")]).contains("NOT MET"));
    }
}
