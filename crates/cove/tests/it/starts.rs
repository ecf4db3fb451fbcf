//! What a program starts with, and what is known of one that did not start.

use std::process::{Command, Stdio};

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::fault::failing_at;

use crate::support::{IMAGE, cove};

fn inspect(cove: &Cove, format: &str) -> String {
    cove.ok(&["inspect", "-f", format, "box"])
}

#[test]
fn a_start_that_fails_is_recorded() {
    let cove = cove();
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
    for (program, code, words) in [
        (
            "nope",
            127,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            "/etc/passwd",
            126,
            "exec: \"/etc/passwd\": permission denied",
        ),
    ] {
        let recorded = format!("created {code} {words}");
        cove.ok(&["create", "--name", "box", IMAGE, program]);
        assert_eq!(inspect(&cove, state), "created 0 ");
        for start in [&["start", "box"][..], &["start", "-a", "box"]] {
            let said = cove.fails(1, start);
            assert!(said.contains(words), "{said}");
            assert_eq!(inspect(&cove, state), recorded);
            assert_eq!(cove.ok(&["wait", "box"]), code.to_string());
        }
        // It is known beyond a boot.
        std::fs::remove_dir_all(cove.roots().runroot().join("containers")).unwrap();
        assert_eq!(inspect(&cove, state), recorded);
        cove.ok(&["rm", "box"]);
        for run in [
            &["run", "--name", "box"][..],
            &["run", "-t", "--name", "box"],
        ] {
            let said = cove.fails(code, &[run, &[IMAGE, program]].concat());
            assert!(said.contains(words), "{said}");
            assert_eq!(inspect(&cove, state), recorded);
            cove.ok(&["rm", "box"]);
        }
        // Behind, its id is told all the same.
        let output = cove.exits(code, &["run", "-d", "--name", "box", IMAGE, program]);
        let id = inspect(&cove, "{{.Id}}");
        assert_eq!(output.out(), format!("{id}\n"));
        assert!(output.err().contains(words), "{output}");
        cove.ok(&["rm", "box"]);
        // With --rm nothing stays.
        cove.fails(code, &["run", "--rm", IMAGE, program]);
        assert_eq!(cove.ok(&["ps", "-aq"]), "");
    }
    // What is not the program's fault.
    let said = cove.fails(
        125,
        &["run", "--name", "box", "-u", "nobody-here", IMAGE, "true"],
    );
    assert!(said.contains("unable to find user nobody-here"), "{said}");
    let found = "unable to find user nobody-here: no matching entries in passwd file";
    assert_eq!(inspect(&cove, state), format!("created 128 {found}"));
    cove.ok(&["rm", "box"]);
}

#[test]
fn one_that_ran_before_has_exited_when_its_next_start_fails() {
    let cove = cove();
    let script = "cp /bin/busybox /prog; rm /bin/sh; exit 3";
    cove.exits(3, &["run", "--name", "box", IMAGE, "sh", "-c", script]);
    let started = inspect(&cove, "{{.State.StartedAt}}");
    assert!(cove.fails(1, &["start", "box"]).contains("not found"));
    assert_eq!(
        inspect(&cove, "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 127"
    );
    assert_eq!(inspect(&cove, "{{.State.StartedAt}}"), started);
    cove.ok(&["rm", "box"]);
}

#[test]
fn an_execution_that_cannot_be_is_126_and_127() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    for (flags, code, words) in [
        (
            &["-u", "nobody-here"][..],
            126,
            "unable to find user nobody-here",
        ),
        (
            &["-u", "0:nobody-here"],
            126,
            "unable to find group nobody-here",
        ),
        (
            &["-u", "2147483648"],
            126,
            "uids and gids must be in range 0-2147483647",
        ),
        (
            &["-w", "/nope"],
            126,
            "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
        ),
        (
            &["-w", "/bin/busybox"],
            126,
            "set in config.json failed: not a directory",
        ),
        (&["-w", "tmp"], 126, "Cwd must be an absolute path"),
    ] {
        let said = cove.fails(code, &[&["exec"], flags, &["box", "true"]].concat());
        assert!(said.contains(words), "{said}");
        let said = cove.fails(1, &[&["exec", "-d"], flags, &["box", "true"]].concat());
        assert!(said.contains(words), "{said}");
    }
    cove.fails(127, &["exec", "box", "nope"]);
    cove.fails(126, &["exec", "box", "/etc/passwd"]);
    cove.fails(1, &["exec", "nope", "true"]);
    cove.ok(&["pause", "box"]);
    cove.fails(1, &["exec", "box", "true"]);
    cove.ok(&["unpause", "box"]);
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn the_primary_group_is_among_the_groups() {
    let cove = cove();
    let script = "echo 'web:x:3300:3400::/srv:/bin/sh' >>/etc/passwd
        printf 'web:x:3400:\\nssl:x:3410:web\\n' >>/etc/group";
    cove.exits(0, &["run", "--name", "made", IMAGE, "sh", "-c", script]);
    cove.ok(&["commit", "made", "groups:1"]);
    cove.ok(&["run", "-d", "--name", "box", "groups:1", "sleep", "1000"]);
    let groups = |words: &[&str]| {
        let line = ["grep", "^Groups:", "/proc/self/status"];
        let text = cove.ok(&[words, &line].concat());
        let mut groups: Vec<u32> = text
            .trim_start_matches("Groups:")
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        groups.sort_unstable();
        groups
    };
    for (user, own) in [
        ("", &[0, 44][..]),
        ("0", &[0, 44]),
        ("4000", &[0]),
        ("4000:4000", &[4000]),
        ("web", &[3400, 3410]),
        ("3300", &[3400, 3410]),
        ("web:ssl", &[3410]),
        ("root:5", &[5]),
    ] {
        let flag: &[&str] = if user.is_empty() { &[] } else { &["-u", user] };
        assert_eq!(
            groups(&[&["run", "--rm"], flag, &["groups:1"]].concat()),
            own,
            "{user}"
        );
        assert_eq!(groups(&[&["exec"], flag, &["box"]].concat()), own, "{user}");
        let more = ["--group-add", "7", "--group-add", "34"];
        let mut all = [own, &[7, 34]].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(
            groups(&[&["run", "--rm"], flag, &more, &["groups:1"]].concat()),
            all
        );
    }
    // What the group is denied, a set-group-id program does not get either.
    let script = "cp /bin/busybox /tmp/cat; chgrp 9 /tmp/cat; chmod 2755 /tmp/cat
        echo secret >/tmp/denied; chown 0:1000 /tmp/denied; chmod 604 /tmp/denied";
    cove.ok(&["exec", "box", "sh", "-c", script]);
    let denied = ["exec", "-u", "1000:1000", "box", "/tmp/cat", "/tmp/denied"];
    assert_eq!(cove.cmd(denied).run().out(), "");
    cove.ok(&["rm", "-f", "box", "made"]);
}

#[test]
fn who_shares_a_network_shares_its_names() {
    let cove = cove();
    let run = [
        "run",
        "-d",
        "--name",
        "one",
        "-h",
        "first",
        "--domainname",
        "example",
        "--add-host",
        "db:10.0.0.9",
        "--dns",
        "10.0.0.53",
        IMAGE,
        "sleep",
        "1000",
    ];
    cove.ok(&run);
    let look =
        "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; cat /proc/sys/kernel/domainname";
    let there = cove.ok(&["exec", "one", "sh", "-c", look]);
    assert!(
        there.contains("10.0.0.9\tdb") && there.contains("nameserver 10.0.0.53"),
        "{there}"
    );
    let network = [
        "run",
        "--rm",
        "--network",
        "container:one",
        IMAGE,
        "sh",
        "-c",
        look,
    ];
    assert_eq!(cove.ok(&network), there);
    // Through a second, and one file for all.
    let run = [
        "run",
        "-d",
        "--name",
        "two",
        "--network",
        "container:one",
        IMAGE,
        "sleep",
        "1000",
    ];
    cove.ok(&run);
    let third = format!("echo '10.0.0.8 added' >>/etc/hosts; {look}");
    let network = [
        "run",
        "--rm",
        "--network",
        "container:two",
        IMAGE,
        "sh",
        "-c",
        &third,
    ];
    let told = cove.ok(&network);
    for name in ["one", "two"] {
        assert_eq!(cove.ok(&["exec", name, "sh", "-c", look]), told);
    }
    for (flags, words) in [
        (
            &["--dns", "10.0.0.1"][..],
            "conflicting options: dns and the network mode",
        ),
        (
            &["--add-host", "a:10.0.0.1"],
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            &["--expose", "80"],
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            &["--hostname", "h"],
            "conflicting options: hostname and the network mode",
        ),
    ] {
        let line = [
            &["run", "--network", "container:one"],
            flags,
            &[IMAGE, "true"],
        ]
        .concat();
        let said = cove.fails(125, &line);
        assert!(said.contains(words), "{said}");
    }
    // Beside one that is down nothing starts.
    cove.ok(&[
        "create",
        "--name",
        "box",
        "--network",
        "container:one",
        IMAGE,
        "true",
    ]);
    cove.ok(&[
        "create",
        "--name",
        "pids",
        "--pid",
        "container:one",
        IMAGE,
        "true",
    ]);
    cove.ok(&["stop", "-t", "0", "one"]);
    let id = cove.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    let said = cove.fails(1, &["start", "box"]);
    assert!(
        said.contains(&format!(
            "cannot join network of a non running container: {id}"
        )),
        "{said}"
    );
    assert_eq!(inspect(&cove, "{{.State.ExitCode}}"), "128");
    let said = cove.fails(1, &["start", "pids"]);
    assert!(
        said.contains(&format!("container {id} is not running")),
        "{said}"
    );
    cove.ok(&["rm", "-f", "one", "two", "box", "pids"]);
}

#[test]
fn a_hard_limit_that_the_host_does_not_allow_is_an_error() {
    let cove = cove();
    // More than fs.nr_open, which nobody may have.
    let run = [
        "run",
        "--name",
        "box",
        "--ulimit",
        "nofile=64:2147483647",
        IMAGE,
        "true",
    ];
    let said = cove.fails(125, &run);
    assert!(
        said.contains("error setting rlimit nofile: operation not permitted"),
        "{said}"
    );
    assert!(inspect(&cove, "{{.State.Error}}").contains("rlimit nofile"));
    let limits = [
        "run",
        "--rm",
        "--ulimit",
        "nofile=64:128",
        "--ulimit",
        "core=0",
        IMAGE,
        "sh",
        "-c",
        "ulimit -n; ulimit -Hn; ulimit -c",
    ];
    assert_eq!(cove.ok(&limits), "64\n128\n0");
    cove.ok(&["rm", "box"]);
}

#[test]
fn what_cannot_be_given_is_said_once() {
    let cove = cove();
    let (own, _) = cove_sys::caps::own().unwrap();
    let all = cove_sys::caps::known();
    let words = "capabilities that cannot be had here: ";
    let told = |output: testkit::cmd::Output| output.err().matches(words).count();
    let wanted = usize::from(own & all != all);
    for flags in [&["--privileged"][..], &["--cap-add", "ALL"]] {
        let line = [
            &["run", "--rm"],
            flags,
            &[IMAGE, "grep", "CapEff", "/proc/self/status"],
        ]
        .concat();
        let output = cove.exits(0, &line);
        assert_eq!(output.out(), format!("CapEff:\t{:016x}\n", own & all));
        assert_eq!(told(output), wanted);
    }
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let exec = [
        "exec",
        "--privileged",
        "box",
        "grep",
        "CapEff",
        "/proc/self/status",
    ];
    let output = cove.exits(0, &exec);
    assert_eq!(output.out(), format!("CapEff:\t{:016x}\n", own & all));
    assert_eq!(told(output), wanted);
    assert_eq!(told(cove.exits(0, &["run", "--rm", IMAGE, "true"])), 0);
    // Where root itself lacks more: a default that is missing is told too.
    let line = [
        "run",
        "--rm",
        "--privileged",
        IMAGE,
        "grep",
        "CapBnd",
        "/proc/self/status",
    ];
    let inner = cove.cmd(line).command();
    #[expect(clippy::disallowed_methods, reason = "setpriv takes a capability away")]
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_time", "--inh-caps", "-sys_time"]);
    let output = command
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let left = own & all & !(1 << 25);
    assert_eq!(text, format!("CapBnd:\t{left:016x}\n"), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("CAP_SYS_TIME"), "{said}");
    cove.ok(&["rm", "-f", "box"]);
}

/// Niceness, I/O priority, execution domain, umask, soft and hard limit of descriptors,
/// working directory.
const CONDITIONS: &str = "cut -d' ' -f19 /proc/self/stat; ionice; uname -m; umask; ulimit -n; \
    ulimit -Hn; pwd; cut -d' ' -f7 /proc/self/stat; cat /proc/self/oom_score_adj";

#[test]
fn the_conditions_of_a_program_are_not_its_callers() {
    let cove = cove();
    let run = [
        "run", "-d", "--name", "box", "--ulimit", "core=0", IMAGE, "sleep", "1000",
    ];
    cove.ok(&run);
    let exec = ["exec", "box", "sh", "-c", CONDITIONS];
    let plain = cove.ok(&exec);
    assert!(plain.starts_with("0\n"), "{plain}");
    let under = |words: &[&str]| {
        let inner = cove.cmd(words).command();
        #[expect(
            clippy::disallowed_methods,
            reason = "wrappers change what is inherited"
        )]
        let mut command = Command::new("sh");
        let wrapper = "cd /tmp; umask 077; ulimit -Sn 100; echo 321 >/proc/self/oom_score_adj; \
            exec nice -n 5 ionice -c 3 setarch i686 \"$@\"";
        command.args(["-c", wrapper, "sh"]).arg(inner.get_program());
        command.args(inner.get_args()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(under(&exec).trim_end(), plain);
    // A new one has the limits of who first starts it, and nothing else of it.
    let run = ["run", "--rm", IMAGE, "sh", "-c", CONDITIONS];
    let expected = cove.ok(&run);
    let told = under(&run);
    let soft = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.remove(4);
        lines
    };
    assert_eq!(soft(&told), soft(&expected));
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_root_is_mounted_as_the_store_keeps_its_layers() {
    let cove = cove();
    let root = |cmd: Cmd| {
        let text = cmd.ok().out();
        text.lines().next().unwrap().to_owned()
    };
    let run = || cove.cmd(["run", "--rm", IMAGE, "cat", "/proc/mounts"]);
    assert!(!root(run()).contains("userxattr"));
    // Root may not set root's attributes on every file system, nor in every namespace.
    let denied = failing_at(run(), "setxattr", "EOPNOTSUPP", 1);
    let root = root(denied);
    assert!(
        root.contains(" / overlay ") && root.contains("userxattr"),
        "{root}"
    );
}
