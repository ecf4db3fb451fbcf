//! Completions and manual pages, in the programs that read them.

use std::path::Path;

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::roots::Roots;

use crate::support::{IMAGE, cove};

/// Completes a line in bash as it is broken into words there; the last is typed.
fn completed(cove: &Cove, words: &[&str], line: &str, directory: &Path) -> String {
    const ASK: &str = r#"
        . ./script
        line=$1; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE=$line; COMP_POINT=${#line}
        function=$(complete -p cove | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" cove "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        [ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
    "#;
    let output = Cmd::new("bash")
        .args(["--norc", "-c", ASK, "bash", line])
        .args(words)
        .env("COVE_ROOT", cove.roots().root())
        .env("COVE_RUNROOT", cove.roots().runroot())
        .directory(directory)
        .input("")
        .ok();
    assert_eq!(output.err(), "", "{line}");
    output.out().trim_end().to_owned()
}

#[test]
fn bash_completes_commands_flags_names_and_files() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let script = cove.cmd(["completion", "bash"]).ok().out();
    std::fs::write(place.join("script"), script).unwrap();
    std::fs::write(place.join("layout.tar"), "").unwrap();
    std::fs::create_dir(place.join("lay")).unwrap();
    cove.ok(&["run", "-d", "--name", "one", IMAGE, "sleep", "1000"]);
    cove.ok(&["create", "--name", "other", IMAGE]);
    let root = format!("--root={}", cove.roots().root().display());
    let empty = place.join("empty").display().to_string();
    for (line, replies) in [
        ("cove sto", "stop"),
        ("cove container ren", "rename"),
        ("cove --ro", "--root"),
        ("cove completion f", "fish"),
        ("cove stop o", "one"),
        ("cove start o", "one other"),
        ("cove rm -f one o", "one other"),
        ("cove container rm o", "one other"),
        ("cove stop -s KILL o", "one"),
        ("cove stop -s o", ""),
        ("cove run --na", "--name"),
        ("cove run --priv", "--privileged"),
        ("cove run -it --rm busy", IMAGE),
        ("cove run --pull al", "always"),
        ("cove run --env-file lay", "lay layout.tar"),
        ("cove run busybox:test --na", ""),
        ("cove exec one o", ""),
        ("cove rename one o", ""),
        ("cove load -i lay", "lay layout.tar"),
        ("cove man -o lay", "lay"),
        ("cove cp ot", "other:"),
        ("cove cp lay", "lay layout.tar"),
        ("cove inspect --type im", "image"),
        ("cove rm -- -", ""),
        ("cove nonsense o", ""),
        ("cove run --nonsense=o", ""),
        (&format!("cove {root} stop o"), "one"),
        (&format!("cove --root {empty} stop o"), ""),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(completed(&cove, &words, line, place), replies, "{line}");
    }
    for (line, words, replies) in [
        ("cove stop ", &["cove", "stop", ""] as &[&str], "one"),
        (
            "cove rmi busybox:te",
            &["cove", "rmi", "busybox", ":", "te"],
            "test",
        ),
        (
            "cove rmi busybox:",
            &["cove", "rmi", "busybox", ":"],
            "test",
        ),
        (
            "cove run --pull=al",
            &["cove", "run", "--pull", "=", "al"],
            "always",
        ),
        (
            "cove run --pull=",
            &["cove", "run", "--pull", "="],
            "always missing never",
        ),
        (
            "cove run --pull=never b",
            &["cove", "run", "--pull", "=", "never", "b"],
            IMAGE,
        ),
        ("cove  stop   o", &["cove", "stop", "o"], "one"),
    ] {
        assert_eq!(completed(&cove, words, line, place), replies, "{line}");
    }
}

/// Whether a program that not every machine has is on this one.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[test]
fn every_shell_can_read_its_completions() {
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new());
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = cove.cmd(["completion", shell]).input("").ok().out();
        assert!(script.contains("privileged"), "{script}");
        for place in ["PROGRAM", "PATH", "TABLE", "GROUPS", "VALUES", "FUNCTION"] {
            assert!(!script.contains(&format!("@{place}@")), "{shell}: {place}");
        }
        if has(shell) {
            let output = Cmd::new(shell).arg(option).input(script).ok();
            assert_eq!(output.err(), "", "{shell}");
        }
    }
    let said = cove.fails(1, &["completion", "tcsh"]);
    assert!(said.contains("must be one of"), "{said}");
}

#[test]
fn fish_completes_names() {
    if !has("fish") {
        return;
    }
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let script = cove.cmd(["completion", "fish"]).ok().out();
    std::fs::write(directory.path().join("script"), script).unwrap();
    cove.ok(&["create", "--name", "other", IMAGE]);
    let empty = directory.path().join("empty").display().to_string();
    for (line, replies) in [
        ("cove rm -f ot", "other\n"),
        ("cove run -it --rm -e A=1 busy", "busybox:test\n"),
        ("cove run busybox:test --na", ""),
        (&format!("cove --root {empty} rm ot"), ""),
    ] {
        let output = Cmd::new("fish")
            .args([
                "--no-config",
                "-c",
                "source script; complete -C $argv[1]",
                line,
            ])
            .env("COVE_ROOT", cove.roots().root())
            .env("COVE_RUNROOT", cove.roots().runroot())
            .directory(directory.path())
            .input("")
            .ok();
        assert_eq!(
            (output.out().as_str(), output.err().as_str()),
            (replies, ""),
            "{line}"
        );
    }
}

#[test]
fn manual_pages_are_clean() {
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new());
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    cove.ok(&["man", "-o", place]);
    let page = cove.cmd(["man", "container", "prune"]).input("").ok().out();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    for name in [
        "cove.1",
        "cove-run.1",
        "cove-container.1",
        "cove-container-prune.1",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    let written = directory.path().join("cove-container-prune.1");
    let written = cove_sys::fs::read_to_string(&written, 1 << 20);
    assert_eq!(written.unwrap(), page);
    assert!(
        page.contains("\n.SH OPTIONS\n.TP\n\\fB\\-\\-filter\\fR"),
        "{page}"
    );
    cove.fails(1, &["man", "nonsense"]);
    if has("groff") {
        let output = Cmd::new("groff")
            .args(["-man", "-ww", "-z", "-Tutf8"])
            .args(&names)
            .directory(place)
            .input("")
            .ok();
        assert_eq!(output.err(), "");
    }
}
