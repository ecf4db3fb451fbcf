//! The ways in which a command seals its own executable, each where the kernel refuses the ones
//! before it.

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// How often calls of a kind stand in strace's log.
fn count(log: &str, call: &str) -> usize {
    let calls = log.lines().filter(|line| line.starts_with(call));
    calls.count()
}

/// Executes a program in `box` under strace, with the first of some calls refused; returns what
/// the program wrote and the log.
fn exec(cove: &Cove, refused: &[&str]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let injections: Vec<String> = refused
        .iter()
        .map(|call| format!("inject={call}:error=EPERM:when=1"))
        .collect();
    let mut options = vec![
        "-qqq",
        "-o",
        log.to_str().unwrap(),
        "-e",
        "signal=none",
        "-e",
        "trace=execveat,memfd_create,open_tree,prctl",
    ];
    for injection in &injections {
        options.extend(["-e", injection]);
    }
    options.push("--");
    let script = "env; exit 7";
    let output = cove
        .cmd(["exec", "box", "sh", "-c", script])
        .under("strace", &options)
        .run();
    assert_eq!(output.code(), 7, "{refused:?}: {output}");
    assert_eq!(output.err(), "", "{refused:?}");
    (output.out(), testkit::files::text(&log).unwrap())
}

#[test]
fn a_command_is_sealed_in_place_or_executes_itself_again() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let (env, log) = exec(&cove, &[]);
    assert!(log.contains("PR_SET_MM_MAP"), "{log}");
    assert_eq!(
        (count(&log, "execveat("), count(&log, "memfd_create(")),
        (0, 0),
        "{log}"
    );
    for (refused, again, copies) in [
        (&["prctl"][..], 1, 0),
        (&["open_tree"], 0, 1),
        (&["prctl", "open_tree"], 1, 1),
    ] {
        let (same, log) = exec(&cove, refused);
        // Nothing of how it came to be reaches the program.
        assert_eq!(same, env, "{refused:?}");
        assert!(log.contains("(INJECTED)"), "{refused:?}: {log}");
        let calls = (count(&log, "execveat("), count(&log, "memfd_create("));
        assert_eq!(calls, (again, copies), "{refused:?}: {log}");
    }
    cove.ok(&["rm", "-f", "box"]);
}
