//! The floors: a crate depends on crates of lower floors only, and what is above
//! the engine on no mechanism (ARCHITECTURE.md).

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::cmd::Cmd;

/// Every crate's floor. A new crate is entered here first.
const FLOORS: &[(&str, u8)] = &[
    ("cove", 5),
    ("cove-docker", 4),
    ("cove-kube-api", 4),
    ("cove-cri", 4),
    ("cove-libvirt", 4),
    ("cove-web", 4),
    ("cove-registry", 4),
    ("cove-runc", 4),
    ("cove-build", 3),
    ("cove-compose", 3),
    ("cove-cluster", 3),
    ("cove-engine", 2),
    ("cove-image", 1),
    ("cove-storage", 1),
    ("cove-network", 1),
    ("cove-state", 1),
    ("cove-sandbox", 1),
    ("cove-vm", 1),
    ("cove-supervisor", 1),
    ("cove-sys", 0),
    ("cove-model", 0),
    ("cove-flags", 0),
];

/// The engine's floor. What is above names no mechanism, not for its tests either.
const ENGINE: u8 = 2;
const MECHANISMS: u8 = 1;

/// Who may name a mechanism all the same.
const MAY_NAME: &[(&str, &str)] = &[("cove-runc", "cove-sandbox")];

/// Who still does and must not: this list only gets shorter.
const STILL_NAME: &[(&str, &str)] = &[];

/// The fixtures may be a development dependency of anyone and use floor 0;
/// the automation uses the fixtures.
const FIXTURES: &str = "testkit";
const AUTOMATION: &str = "xtask";

/// One dependency between two of our crates.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    only_for_tests: bool,
}

/// Asks cargo for the dependencies and checks each.
pub(crate) fn check() -> Result<String, String> {
    let output = Cmd::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .directory(testkit::workspace())
        .run();
    if !output.success() {
        return Err(output.to_string());
    }
    verdict(&output.out(), STILL_NAME)
}

/// What is right, or every fault, of a workspace as cargo describes it.
fn verdict(metadata: &str, still: &[(&str, &str)]) -> Result<String, String> {
    let (members, edges) = read(metadata)?;
    let mut wrong: Vec<String> = members
        .iter()
        .filter(|name| floor(name).is_none() && ![FIXTURES, AUTOMATION].contains(&name.as_str()))
        .map(|name| format!("{name} has no floor in crates/xtask/src/deps.rs"))
        .collect();
    wrong.extend(edges.iter().filter_map(|edge| judge(edge, still)));
    wrong.extend(
        still
            .iter()
            .filter(|(from, to)| !edges.iter().any(|e| e.from == *from && e.to == *to))
            .map(|(from, to)| {
                format!("{from} no longer names {to}: take it out of STILL_NAME in deps.rs")
            }),
    );
    if wrong.is_empty() {
        Ok(format!(
            "check-deps: {} crates, {} arrows, all point down",
            members.len(),
            edges.len()
        ))
    } else {
        Err(wrong.join("\n"))
    }
}

fn read(metadata: &str) -> Result<(Vec<String>, Vec<Edge>), String> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, &Value> = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata names no packages")?
        .iter()
        .map(|package| (text(package, "name"), package))
        .collect();
    let mut edges = Vec::new();
    for (from, package) in &packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(dependency, "name");
            if packages.contains_key(&to) {
                let only_for_tests = dependency["kind"] == "dev";
                edges.push(Edge {
                    from: from.clone(),
                    to,
                    only_for_tests,
                });
            }
        }
    }
    Ok((packages.into_keys().collect(), edges))
}

/// Why an arrow is wrong.
fn judge(edge: &Edge, still: &[(&str, &str)]) -> Option<String> {
    let Edge {
        from,
        to,
        only_for_tests,
    } = edge;
    let allowed = match (from.as_str(), to.as_str()) {
        (AUTOMATION, to) => to == FIXTURES || floor(to) == Some(0),
        (FIXTURES, to) => floor(to) == Some(0),
        (_, FIXTURES) => *only_for_tests,
        (from, to) => floor(to).is_some() && floor(to) < floor(from),
    };
    if !allowed {
        return Some(format!(
            "{from} must not depend on {to}: arrows point down only"
        ));
    }
    let pair = (from.as_str(), to.as_str());
    let past_the_engine = floor(from) > Some(ENGINE) && floor(to) == Some(MECHANISMS);
    (past_the_engine && !MAY_NAME.contains(&pair) && !still.contains(&pair)).then(|| {
        format!("{from} must not name the mechanism {to}: what is above the engine asks the engine")
    })
}

fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, floor)| *floor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrows_point_down_and_not_past_the_engine() {
        let table = [
            ("cove-engine", "cove-state", false, true),
            ("cove", "cove-engine", false, true),
            ("cove", "cove-runc", false, true),
            ("cove-runc", "cove-sandbox", false, true),
            ("cove-runc", "cove-storage", false, false),
            ("cove", "cove-sandbox", false, false),
            ("cove", "cove-state", true, false),
            ("cove-docker", "cove-supervisor", false, false),
            ("cove-compose", "cove-network", false, false),
            ("cove", "cove-sys", false, true),
            ("cove-state", "cove-engine", false, false),
            ("cove-state", "cove-storage", false, false),
            ("cove-state", "cove-storage", true, false),
            ("cove-model", "cove-sys", false, false),
            ("cove-state", "testkit", true, true),
            ("cove-state", "testkit", false, false),
            ("testkit", "cove-model", false, true),
            ("testkit", "cove-engine", false, false),
            ("cove", "xtask", true, false),
        ];
        for (from, to, only_for_tests, right) in table {
            let edge = Edge {
                from: from.into(),
                to: to.into(),
                only_for_tests,
            };
            assert_eq!(judge(&edge, &[]).is_none(), right, "{edge:?}");
        }
    }

    /// A workspace of these crates, each with what it depends on.
    fn workspace(crates: &[(&str, &[&str])]) -> String {
        let packages: Vec<Value> = crates
            .iter()
            .map(|(name, uses)| {
                let uses: Vec<Value> = uses.iter().map(|to| json!({"name": to})).collect();
                json!({"name": name, "dependencies": uses})
            })
            .collect();
        json!({ "packages": packages }).to_string()
    }

    #[test]
    fn a_face_that_names_a_mechanism_fails() {
        let good = workspace(&[
            ("cove", &["cove-engine", "cove-runc", "serde"]),
            ("cove-runc", &["cove-sandbox"]),
            ("cove-engine", &["cove-sandbox"]),
            ("cove-sandbox", &[]),
        ]);
        assert_eq!(
            verdict(&good, &[]).unwrap(),
            "check-deps: 4 crates, 4 arrows, all point down"
        );
        let bad = workspace(&[
            ("cove", &["cove-storage"]),
            ("cove-new", &[]),
            ("cove-storage", &[]),
        ]);
        let said = verdict(&bad, &[]).unwrap_err();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("cove must not name the mechanism cove-storage"));
        assert!(said.contains("cove-new has no floor"));
    }

    #[test]
    fn what_is_still_open_is_listed_only_while_it_is() {
        let crates = workspace(&[("cove", &["cove-storage"]), ("cove-storage", &[])]);
        let open = ("cove", "cove-storage");
        assert!(verdict(&crates, &[open]).is_ok());
        let said = verdict(&crates, &[open, ("cove", "cove-state")]).unwrap_err();
        assert!(said.contains("cove no longer names cove-state"), "{said}");
    }

    #[test]
    fn development_dependencies_are_told_apart() {
        let text = r#"{"packages":[{"name":"a","dependencies":[{"name":"b","kind":"dev"},
            {"name":"serde","kind":null}]},{"name":"b","dependencies":[]}]}"#;
        let (members, edges) = read(text).unwrap();
        assert_eq!(members, ["a", "b"]);
        assert_eq!(
            edges,
            [Edge {
                from: "a".into(),
                to: "b".into(),
                only_for_tests: true
            }]
        );
    }
}
