//! Help and names, which need no roots and no rights.

use std::path::Path;

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::roots::Roots;

#[test]
fn help_is_laid_out_as_dockers() {
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new());
    let text = cove.cmd(["start", "--help"]).input("").ok().out();
    let start = "Usage:  cove start [OPTIONS] CONTAINER [CONTAINER...]\n\n\
        Start one or more stopped containers\n\n\
        Aliases:\n  cove container start, cove start\n\nOptions:\n";
    assert!(text.starts_with(start), "{text}");
    for words in [
        &["run", "--help"] as &[&str],
        &["help", "run"],
        &["container", "run", "--help"],
    ] {
        let text = cove.cmd(words).input("").ok().out();
        assert!(
            text.contains("[OPTIONS] IMAGE [COMMAND] [ARG...]"),
            "{text}"
        );
        assert!(
            !text.contains("--publish"),
            "what is refused is not offered: {text}"
        );
    }
}

#[test]
fn it_answers_to_the_name_it_was_called_by() {
    let directory = tempfile::tempdir().unwrap();
    let docker = directory.path().join("docker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cove"), &docker).unwrap();
    let output = Cmd::new(&docker).args(["frobnicate"]).input("").run();
    assert_eq!(output.code(), 1);
    assert!(
        output
            .err()
            .starts_with("docker: unknown command: docker frobnicate\n"),
        "{output}"
    );
}
