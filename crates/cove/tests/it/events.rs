//! What `events` tells of containers and images: actions and attributes as
//! Docker's, what was and what is to come.

use std::time::Duration;

use rustix::process::Signal;
use testkit::cove::Cove;

use crate::supervisor::kill_supervisor;
use crate::support::{IMAGE, cove};

/// The events until now as `Type Action`, and with more fields where asked.
fn told(cove: &Cove, format: &str, filters: &[&str]) -> Vec<String> {
    let mut words = vec!["events", "--since", "0", "--until", "0s"];
    words.extend(["--format", format]);
    for filter in filters {
        words.extend(["--filter", filter]);
    }
    let text = cove.ok(&words);
    text.lines().map(str::to_owned).collect()
}

const ACTION: &str = "{{.Action}}";

#[test]
fn the_life_of_a_container_is_told_as_docker_tells_it() {
    let cove = cove();
    cove.ok(&[
        "run", "--rm", "--name", "short", "-l", "a=b", IMAGE, "sh", "-c", "exit 0",
    ]);
    let of_short = told(&cove, ACTION, &["container=short"]);
    assert_eq!(of_short, ["create", "attach", "start", "die", "destroy"]);

    cove.ok(&["run", "-d", "--name", "one", IMAGE, "sleep", "600"]);
    cove.ok(&["exec", "one", "echo", "a", "b c"]);
    cove.exits(127, &["exec", "one", "nosuch"]);
    cove.ok(&["rename", "one", "uno"]);
    cove.ok(&["pause", "uno"]);
    cove.ok(&["unpause", "uno"]);
    cove.ok(&["kill", "-s", "USR1", "uno"]);
    cove.ok(&["stop", "-t", "0", "uno"]);
    cove.ok(&["start", "uno"]);
    cove.ok(&["restart", "-t", "0", "uno"]);
    cove.ok(&["update", "--pids-limit", "50", "uno"]);
    cove.ok(&["top", "uno"]);
    cove.cmd(["cp", "uno:/etc/passwd", "-"]).ok();
    cove.cmd(["export", "uno"]).ok();
    let image = cove.ok(&["commit", "-m", "msg", "uno", "img:1"]);
    cove.ok(&["kill", "uno"]);
    cove.ok(&["rm", "uno"]);
    let id = told(&cove, "{{.Actor.ID}}", &["event=destroy"])
        .pop()
        .unwrap();
    let lines = cove.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        &format!("container={id}"),
    ]);
    let exec = told(&cove, "{{.Actor.Attributes.execID}}", &["event=exec_start"]);
    let (first, second) = (&exec[0], &exec[1]);
    let of_uno = format!("image={IMAGE}, name=uno");
    let expected = [
        format!("create {id} (image={IMAGE}, name=one)"),
        format!("start {id} (image={IMAGE}, name=one)"),
        format!("exec_create: echo a b c {id} (execID={first}, image={IMAGE}, name=one)"),
        format!("exec_start: echo a b c {id} (execID={first}, image={IMAGE}, name=one)"),
        format!("exec_die {id} (execID={first}, exitCode=0, image={IMAGE}, name=one)"),
        format!("exec_create: nosuch  {id} (execID={second}, image={IMAGE}, name=one)"),
        format!("exec_start: nosuch  {id} (execID={second}, image={IMAGE}, name=one)"),
        format!("rename {id} ({of_uno}, oldName=/one)"),
        format!("pause {id} ({of_uno})"),
        format!("unpause {id} ({of_uno})"),
        format!("kill {id} ({of_uno}, signal=10)"),
        format!("kill {id} ({of_uno}, signal=15)"),
        format!("kill {id} ({of_uno}, signal=9)"),
        format!("die {id} (exitCode=137, {of_uno})"),
        format!("stop {id} ({of_uno})"),
        format!("start {id} ({of_uno})"),
        format!("kill {id} ({of_uno}, signal=15)"),
        format!("kill {id} ({of_uno}, signal=9)"),
        format!("die {id} (exitCode=137, {of_uno})"),
        format!("stop {id} ({of_uno})"),
        format!("start {id} ({of_uno})"),
        format!("restart {id} ({of_uno})"),
        format!("update {id} ({of_uno})"),
        format!("top {id} ({of_uno})"),
        format!("archive-path {id} ({of_uno})"),
        format!("export {id} ({of_uno})"),
        format!("pause {id} ({of_uno})"),
        format!(
            "commit {id} (comment=msg, image={IMAGE}, imageID={image}, imageRef=img:1, name=uno)"
        ),
        format!("unpause {id} ({of_uno})"),
        format!("kill {id} ({of_uno}, signal=9)"),
        format!("die {id} (exitCode=137, {of_uno})"),
        format!("destroy {id} ({of_uno})"),
    ];
    let lines: Vec<&str> = lines
        .lines()
        .map(|line| line.split_once(" container ").unwrap().1)
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_start_that_fails_is_no_life() {
    let cove = cove();
    cove.exits(127, &["run", "--name", "bad", IMAGE, "/nosuch"]);
    assert_eq!(told(&cove, ACTION, &["container=bad"]), ["create"]);
    // By policy it runs again, which nobody but its supervisor sees.
    cove.ok(&[
        "run",
        "-d",
        "--name",
        "rs",
        "--restart",
        "on-failure:1",
        IMAGE,
        "sh",
        "-c",
        "exit 2",
    ]);
    cove.ok(&["wait", "rs"]);
    let twice = ["create", "start", "die", "start", "die"];
    let stream = cove.cmd([
        "events",
        "--since",
        "0",
        "-f",
        "container=rs",
        "--format",
        ACTION,
    ]);
    let stream = stream
        .limit(Duration::from_secs(20))
        .under("sh", &["-c", "\"$@\" | head -n 5", "-"]);
    assert_eq!(stream.ok().out().lines().collect::<Vec<_>>(), twice);
}

#[test]
fn images_are_told_of_too() {
    let cove = cove();
    cove.ok(&["create", "--name", "cc", IMAGE, "true"]);
    let archive = cove.cmd(["export", "cc"]).ok().stdout;
    cove.cmd(["import", "-c", "LABEL l=1", "-", "imp:1"])
        .input(archive)
        .ok();
    cove.ok(&["tag", "imp:1", "foo:bar"]);
    cove.ok(&["rmi", "foo:bar"]);
    cove.cmd(["save", "imp:1"]).ok();
    let id = cove.ok(&["images", "-q", "--no-trunc", "imp:1"]);
    cove.ok(&["rmi", "imp:1"]);
    cove.ok(&["rm", "cc"]);
    cove.ok(&["system", "prune", "-f"]);
    let format = "{{.Action}} {{.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.l}}";
    let told = told(&cove, format, &["type=image"]);
    let expected = [
        format!("tag {id} imp:1 1"),
        format!("import {id} {id} 1"),
        format!("tag {id} foo:bar 1"),
        format!("untag {id} {id} 1"),
        format!("save {id} {id} 1"),
        format!("untag {id} {id} 1"),
        format!("delete {id} {id} <no value>"),
        "prune  <no value> <no value>".to_owned(),
    ];
    assert!(told[0].starts_with("load sha256:"), "{told:?}");
    assert_eq!(told[1..], expected);
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "one", IMAGE, "sleep", "600"]);
    // Each line wakes the reader, who makes the next event; nothing before is shown.
    let script = format!(
        "\"$@\" | {{ n=0; \"$0\" --root '{root}' --runroot '{runroot}' pause one >&2; \
         while read -r line; do echo \"$line\"; n=$((n + 1)); [ $n = 1 ] && \
         \"$0\" --root '{root}' --runroot '{runroot}' unpause one >&2; [ $n = 2 ] && break; done; }}",
        root = cove.roots().root().display(),
        runroot = cove.roots().runroot().display(),
    );
    let program = cove.program().display().to_string();
    let watch = cove.cmd([
        "system",
        "events",
        "-f",
        "type=container",
        "--format",
        ACTION,
    ]);
    // The stream is open before anything happens: the first pause may come too early.
    let watch = watch
        .under("sh", &["-c", &script, &program])
        .limit(Duration::from_secs(30));
    let seen = watch.run();
    assert!(
        ["pause\nunpause\n", "unpause\n"].contains(&seen.out().as_str()),
        "{seen}"
    );
}

#[test]
fn it_ends_when_its_time_is_over_and_when_it_is_told_to() {
    let cove = cove();
    let soon = std::time::SystemTime::now() + Duration::from_secs(1);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = format!("{}.{:09}", soon.as_secs(), soon.subsec_nanos());
    let ends = cove.cmd(["events", "--until", &until]);
    let told = ends.limit(Duration::from_secs(20)).ok().out();
    assert_eq!(told.lines().count(), 1, "the load of the image: {told}");
    let future = cove.cmd(["events", "--since", "0s"]).start();
    future.signal(Signal::INT);
    assert!(!future.wait().success());
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    let cove = cove();
    for (words, code, message) in [
        (
            &["--since", "xx"][..],
            1,
            "failed to parse value as time or duration: \"xx\"",
        ),
        (
            &["--since", "20", "--until", "10"],
            1,
            "Error: `since` time (20) cannot be after `until` time (10)",
        ),
        (
            &["--format", "{{.Foo}}"],
            64,
            "Error parsing format: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *events.Message",
        ),
        (
            &["--format", "{{"],
            64,
            "Error parsing format: template: :1: unclosed action",
        ),
        (&["--filter", "foo=bar"], 1, "Error: Invalid filter 'foo'"),
    ] {
        assert_eq!(cove.fails(code, &[&["events"], words].concat()), message);
    }
}

/// Whatever is killed, the journal stays readable, and what is noted is noted once.
#[test]
fn a_killed_supervisor_leaves_the_end_to_the_next() {
    let cove = cove();
    let id = cove.ok(&["run", "-d", "--name", "one", IMAGE, "sleep", "600"]);
    kill_supervisor(&cove, &id);
    cove.ok(&["stop", "-t", "0", "one"]);
    let told = told(&cove, ACTION, &["container=one"]);
    let expected = ["create", "start", "kill", "kill", "die", "stop"];
    assert_eq!(told, expected);
}
