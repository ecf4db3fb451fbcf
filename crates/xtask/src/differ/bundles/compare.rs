//! Finds on what the runtimes do not agree, and whether that is known.

use std::collections::BTreeSet;

use serde_json::Value;

use super::known::Known;
use super::run::{ALL, Report, Runtime};

/// One fact that not all see alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) fact: String,
    /// What each said, in the order of [`ALL`]; `None` from one that said nothing.
    pub(super) values: Vec<Option<String>>,
    /// What the specification says, where the program knows.
    pub(super) due: Option<String>,
}

impl Difference {
    /// What makes two differences one of a kind: the fact without the place,
    /// and who stands against whom.
    pub(super) fn kind(&self) -> String {
        let mut parts: Vec<&str> = self.fact.split('.').collect();
        if [
            "mount", "hook", "reach", "node", "dev", "root", "sees", "opens", "holds", "makes",
        ]
        .contains(&parts[0])
            && parts.len() > 1
        {
            let last = parts.len() - 1;
            let attribute = parts[0] == "mount" || parts[0] == "hook";
            parts = if attribute && last > 1 {
                vec![parts[0], "*", parts[last]]
            } else if parts[0] == "reach" {
                vec![parts[0], parts[1], "*"]
            } else {
                vec![parts[0], "*"]
            };
        }
        let why: Vec<String> = self
            .values
            .iter()
            .flatten()
            .filter(|value| self.fact == "outcome" && *value != "runs")
            .map(|value| value.replace(|c: char| c.is_ascii_digit(), ""))
            .collect();
        format!("{} {} {}", parts.join("."), self.sides(), why.join(" "))
    }

    /// Who agrees with whom: `cove | runc crun`.
    fn sides(&self) -> String {
        if self.due.is_some() {
            return "cove | specification".to_owned();
        }
        let mut groups: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
        for (runtime, value) in ALL.iter().zip(&self.values) {
            if value.is_none() {
                continue;
            }
            let gist = value.as_deref().map(gist);
            match groups.iter_mut().find(|(v, _)| *v == gist) {
                Some((_, names)) => names.push(runtime.name()),
                None => groups.push((gist, vec![runtime.name()])),
            }
        }
        let groups: Vec<String> = groups
            .into_iter()
            .map(|(_, names)| names.join(" "))
            .collect();
        groups.join(" | ")
    }
}

/// A value without why: runtimes refuse in words of their own.
fn gist(value: &str) -> &str {
    match value.split_once(": ") {
        Some(("refused", _)) => "refused",
        Some(_) | None => value,
    }
}

/// All differences of a trial that the list does not explain.
pub(super) fn differences(trial: &Value, reports: &[Report], known: &Known) -> Vec<Difference> {
    let features = super::known::features(trial);
    let names: BTreeSet<&String> = reports.iter().flat_map(|r| r.facts.0.keys()).collect();
    let runs = |report: &Report| report.facts.get("outcome") == Some("runs");
    let mut found = Vec::new();
    for name in names {
        let given = name.starts_with("host.node.@W/source");
        let outside = (name.starts_with("host.") && !given) || *name == "outcome";
        // Hooks of a start that another runtime refuses need not run there.
        let alike = |report: &Report| reports.first().is_some_and(|r| runs(r) == runs(report));
        // What nobody reported is not compared with what somebody did.
        let speaks = |report: &Report| match name.strip_prefix("hook.") {
            Some(rest) => {
                let kind = rest.split('.').next().unwrap_or_default();
                report.facts.get(&format!("hook.{kind}.id.uid")).is_some()
            }
            None if *name == "hooks" => alike(report),
            None => outside || runs(report),
        };
        let values: Vec<Option<String>> = reports
            .iter()
            .enumerate()
            .map(|(n, report)| {
                let value = report.facts.get(name).unwrap_or("nothing");
                // Nothing can be said of a peer that did not end.
                let judges = n == 0 || !report.hung;
                (judges && speaks(report)).then(|| value.to_owned())
            })
            .collect();
        let open: Vec<(&Runtime, &String)> = ALL
            .iter()
            .zip(&values)
            .filter_map(|(runtime, value)| Some((runtime, value.as_ref()?)))
            .filter(|(runtime, value)| !known.explains(name, value, **runtime, &features))
            .collect();
        // Peers that differ from each other where Cove says nothing judge nobody.
        if values.first().is_none_or(Option::is_none) {
            continue;
        }
        let agree = open
            .windows(2)
            .all(|pair| gist(pair[0].1) == gist(pair[1].1));
        // A change of the host is one whoever else makes it too.
        let touched = name.starts_with("host.")
            && !given
            && open
                .iter()
                .any(|(r, v)| **r == Runtime::Cove && *v != "nothing");
        if !agree || touched {
            found.push(Difference {
                fact: name.clone(),
                values,
                due: None,
            });
        }
    }
    if let Some(ours) = reports.first().filter(|report| runs(report)) {
        for (fact, due) in super::expect::expected(trial) {
            let value = ours.facts.get(&fact).unwrap_or("nothing");
            if value != due && !known.explains(&fact, value, Runtime::Cove, &features) {
                found.push(Difference {
                    values: vec![Some(value.to_owned()), None, None],
                    fact,
                    due: Some(due),
                });
            }
        }
    }
    found
}
