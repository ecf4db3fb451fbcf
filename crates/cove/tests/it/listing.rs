//! What `ps`, `top` and the files of a container tell of it.

use crate::support::{IMAGE, cove};

#[test]
fn words_with_blanks_are_shown_in_quotes() {
    let cove = cove();
    for (words, shown) in [
        (
            &["sh", "-c", "echo \"a  b\""][..],
            r#""sh -c 'echo \"a  b\"'""#,
        ),
        (
            &["echo", "it's", "two words", "", "$x"],
            r#""echo it's 'two words'  $x""#,
        ),
        (&["my prog", ">", "x=y z"], r#""my prog > 'x=y z'""#),
        (&["printf", "a\nb\tc"], r#""printf a\nb\tc""#),
    ] {
        cove.ok(&[&["create", "--name", "box", IMAGE], words].concat());
        let shown_now = cove.ok(&["ps", "-a", "--no-trunc", "--format", "{{.Command}}"]);
        assert_eq!(shown_now, shown);
        cove.ok(&["rm", "box"]);
    }
    cove.ok(&["create", IMAGE, "sh", "-c", "for i in 0 1 2 3 4"]);
    assert_eq!(
        cove.ok(&["ps", "-a", "--format", "{{.Command}}"]),
        "\"sh -c 'for i in 0 1…\""
    );
}

#[test]
fn ancestors_are_what_an_image_was_made_from() {
    let cove = cove();
    cove.ok(&["create", "--name", "base", IMAGE, "true"]);
    cove.ok(&["commit", "base", "child:1"]);
    cove.ok(&["create", "--name", "middle", "child:1", "true"]);
    cove.ok(&["commit", "middle", "grandchild:1"]);
    cove.ok(&["create", "--name", "last", "grandchild:1", "true"]);
    // The same layer in an image that has nothing to do with it.
    let archive = cove.cmd(["export", "base"]).ok().stdout;
    cove.cmd(["import", "-", "other:1"])
        .input(archive.clone())
        .ok();
    cove.cmd(["import", "--change", "CMD other", "-", "twin:1"])
        .input(archive)
        .ok();
    cove.ok(&["create", "--name", "other", "other:1", "true"]);
    cove.ok(&["create", "--name", "twin", "twin:1", "true"]);
    let listed = |name: &str| {
        let filter = format!("ancestor={name}");
        let names = cove.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        let mut names: Vec<_> = names.lines().map(str::to_owned).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(listed(IMAGE), "base last middle");
    assert_eq!(listed("child:1"), "last middle");
    assert_eq!(listed("grandchild:1"), "last");
    assert_eq!(listed("other:1"), "other");
    assert_eq!(listed("twin:1"), "twin");
    assert_eq!(listed("nope"), "");
    let parent = cove.ok(&["image", "inspect", "-f", "{{.Parent}}", "child:1"]);
    assert_eq!(
        parent,
        cove.ok(&["image", "inspect", "-f", "{{.Id}}", IMAGE])
    );
    assert_eq!(
        cove.ok(&["image", "inspect", "-f", "{{.Parent}}", IMAGE]),
        ""
    );
}

#[test]
fn filters_of_health_tasks_and_ports() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", "--expose", "80", IMAGE, "true"]);
    for (filter, listed) in [
        ("health=none", "box"),
        ("health=healthy", ""),
        ("is-task=false", "box"),
        ("is-task=true", ""),
        ("expose=80", "box"),
        ("expose=79-81/tcp", "box"),
        ("expose=80/udp", ""),
        ("publish=80", ""),
    ] {
        let names = cove.ok(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
        assert_eq!(names, listed, "{filter}");
    }
    for (filter, message) in [
        ("health=foo", "Unrecognised filter value for health: foo"),
        ("is-task=foo", "Invalid filter 'is-task=[foo]'"),
        ("foo=bar", "Invalid filter 'foo'"),
    ] {
        let said = cove.fails(1, &["ps", "--filter", filter]);
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn top_shows_the_columns_that_ps_is_asked_for() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    let pid = pid.as_str();
    let lines = |options: &[&str]| -> Vec<Vec<String>> {
        let text = cove.ok(&[&["top", "box"], options].concat());
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    for (options, expected) in [
        (
            &["-o", "pid,args"][..],
            &[&["PID", "COMMAND"][..], &[pid, "sleep", "1000"]][..],
        ),
        (&["-o", "args"], &[&["COMMAND"], &["sleep", "1000"]]),
        (
            &["-o", "user,comm"],
            &[&["USER", "COMMAND"], &["root", "sleep"]],
        ),
        (
            &["-eo", "pid,comm"],
            &[&["PID", "COMMAND"], &[pid, "sleep"]],
        ),
        (&["-eo", "comm"], &[&["COMMAND"], &["sleep"]]),
        (&["axo", "comm"], &[&["COMMAND"], &["sleep"]]),
        (
            &["axo", "pid,comm"],
            &[&["PID", "COMMAND"], &[pid, "sleep"]],
        ),
        (&["-opid"], &[&["PID"], &[pid]]),
        (&["o", "pid"], &[&["PID"], &[pid]]),
        (
            &["--format", "pid,args"],
            &[&["PID", "COMMAND"], &[pid, "sleep", "1000"]],
        ),
        (
            &["-o", "pid=P,args"],
            &[&["P", "COMMAND"], &[pid, "sleep", "1000"]],
        ),
        (
            &["-o", "pid", "-o", "comm"],
            &[&["PID", "COMMAND"], &[pid, "sleep"]],
        ),
        (
            &["-eo", "comm,pid,args", "--sort=-pid"],
            &[
                &["COMMAND", "PID", "COMMAND"],
                &["sleep", pid, "sleep", "1000"],
            ],
        ),
    ] {
        assert_eq!(lines(options), expected, "{options:?}");
    }
    for options in [
        &[][..],
        &["-ef"],
        &["aux"],
        &["-C", "sleep"],
        &["-L"],
        &["-l"],
        &["auxww"],
    ] {
        let lines = lines(options);
        assert!(lines[0].contains(&"PID".to_owned()), "{options:?}");
        assert_eq!(lines.len(), 2, "{options:?}: {lines:?}");
        assert!(lines[1].contains(&pid.to_owned()), "{options:?}: {lines:?}");
    }
    let said = cove.fails(1, &["top", "box", "-o", "foo"]);
    assert!(
        said.ends_with("ps: error: unknown user-defined format specifier \"foo\""),
        "{said}"
    );
    let said = cove.fails(1, &["top", "box", "--no-headers"]);
    assert!(
        said.contains("Couldn't find PID field in ps output"),
        "{said}"
    );
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn programs_are_told_that_they_are_in_a_container() {
    let cove = cove();
    let script = "test -f /.dockerenv && test -f /run/.containerenv && readlink /etc/mtab && head -c 1 /etc/mtab >/dev/null";
    assert_eq!(
        cove.ok(&["run", "--name", "box", IMAGE, "sh", "-c", script]),
        "/proc/mounts"
    );
    assert_eq!(
        cove.ok(&["run", "--rm", "--read-only", IMAGE, "sh", "-c", script]),
        "/proc/mounts"
    );
    // It is no change of the container's, and no part of an image of it.
    assert_eq!(cove.ok(&["diff", "box"]), "");
    cove.ok(&["run", "--name", "plain", IMAGE, "true"]);
    cove.ok(&["commit", "plain", "child:1"]);
    let saved = cove.cmd(["save", "child:1"]).ok().stdout;
    let text = String::from_utf8_lossy(&saved);
    assert!(!text.contains(".dockerenv") && !text.contains(".containerenv"));
}
