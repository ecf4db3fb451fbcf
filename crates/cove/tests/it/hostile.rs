//! Images that try to reach the host: pulled, and run where they are taken.

use std::path::Path;

use testkit::cove::Cove;
use testkit::image::hostile::{Canary, Case, Verdict, cases};
use testkit::registry::Registry;
use testkit::roots::Roots;

#[test]
fn no_image_touches_what_is_outside() {
    let canary = Canary::new();
    let registry = Registry::start();
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new());
    let mut taken = 0;
    for case in cases(canary.path()) {
        let name = registry.reference(&format!("{}:1", case.name));
        registry.push(&format!("{}:1", case.name), &case.image);
        let pulled = cove.cmd(["pull", "-q", &name]).run();
        canary.assert_untouched();
        judge(&case, pulled.code(), &pulled.to_string());
        if pulled.success() {
            taken += 1;
            // It may run or not, but only inside: it is the root of its own.
            let run = cove.cmd(["run", "--rm", "--network", "none", &name, "true"]);
            let run = run.run();
            assert!(
                [0, 125, 126, 127].contains(&run.code()),
                "{}: {run}",
                case.name
            );
            canary.assert_untouched();
        }
    }
    assert!(taken > 5, "the cases were taken: {taken}");
    assert_eq!(cove.ok(&["system", "fsck"]), "No problems found");
    assert_eq!(
        cove.ok(&["images", "-q"]).lines().count(),
        taken,
        "a refused image left a name"
    );
    let left = std::fs::read_dir(cove.roots().root().join("tmp")).unwrap();
    assert_eq!(left.count(), 0, "staging is left");
    cove.ok(&["rmi", "-f", &all(&cove)[0]]);
}

/// The ids of all images.
fn all(cove: &Cove) -> Vec<String> {
    let ids = cove.ok(&["images", "-q", "--no-trunc"]);
    ids.lines().map(str::to_owned).collect()
}

/// A refusal is one sentence and status 1, whatever the verdict.
fn judge(case: &Case, code: i32, output: &str) {
    match case.verdict {
        Verdict::Refused => assert_eq!(code, 1, "{}: {output}", case.name),
        Verdict::Contained => assert!([0, 1].contains(&code), "{}: {output}", case.name),
    }
    assert!(!output.contains("panicked"), "{}: {output}", case.name);
}
