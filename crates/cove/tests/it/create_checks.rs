//! What `create` is asked for and cannot be: refused in words, with nothing
//! left behind.

use std::path::Path;

use crate::support::{IMAGE, cove};

#[test]
fn limits_that_cannot_be_are_refused_and_nothing_is_left() {
    let cove = cove();
    let source = cove.roots().home().join("not-made");
    let bind = format!("{}:/x", source.display());
    for (options, message) in [
        (
            &["--cpuset-cpus", "999"][..],
            "Requested CPUs are not available - requested 999, available: 0",
        ),
        (
            &["--cpuset-cpus", "abc"],
            "Invalid value abc for cpuset cpus: invalid format: abc",
        ),
        (
            &["--cpuset-mems", "99"],
            "Requested memory nodes are not available - requested 99, available: 0",
        ),
        (&["-m", "5m"], "Minimum memory limit allowed is 6MB"),
        (
            &["--memory-reservation", "5m"],
            "Minimum memory reservation allowed is 6MB",
        ),
        (
            &["-m", "64m", "--memory-swap", "32m"],
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            &["--memory-swap", "64m"],
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            &["-m", "32m", "--memory-reservation", "64m"],
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            &["--memory-swappiness", "101"],
            "invalid value: 101. Valid memory swappiness range is 0-100",
        ),
        (&["--cpus", "9999"], "Range of CPUs is from 0.01 to "),
        (
            &["--cpus", "1", "--cpu-quota", "50000"],
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            &["--cpus", "1", "--cpu-period", "50000"],
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            &["--cpu-period", "10"],
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            &["--cpu-quota", "10"],
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ),
        (
            &["--cpu-shares", "1"],
            "the minimum allowed cpu-shares is 2",
        ),
        (
            &["--cpu-shares", "-1"],
            "invalid CPU shares (-1): value must be a positive integer",
        ),
        (
            &["--blkio-weight", "5"],
            "Range of blkio weight is from 10 to 1000",
        ),
        (&["--shm-size", "-1"], "invalid size: '-1'"),
        (
            &["--oom-score-adj", "2000"],
            "Invalid value 2000, range for oom score adj is [-1000, 1000]",
        ),
        (&["--runtime", "foo"], "Unknown runtime specified foo"),
        (
            &["--name", "//foo"],
            "Invalid container name (//foo), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            &["--name", "taken"],
            "The container name \"/taken\" is already in use",
        ),
    ] {
        if options == ["--name", "taken"] {
            cove.ok(&["create", "--name", "taken", IMAGE, "true"]);
        }
        let words = [&["create", "-v", &bind][..], options, &[IMAGE, "true"]].concat();
        let output = cove.cmd(words).run();
        assert!(
            !output.success() && output.err().contains(message),
            "{options:?}: {output}"
        );
        assert!(cove.ok(&["ps", "-aq"]).lines().count() <= 1, "{options:?}");
        assert!(!source.exists(), "{options:?}");
    }
    let output = cove
        .cmd(["create", "--oom-kill-disable", IMAGE, "true"])
        .ok();
    assert!(
        output.err().starts_with(
            "WARNING: OOM killer is disabled for the container, but no memory limit is set"
        ),
        "{output}"
    );
}

#[test]
fn limits_that_the_host_cannot_keep_are_told_and_left_out() {
    let cove = cove();
    let info = cove.ok(&["info", "-f", "{{json .}}"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let v1 = info["CgroupVersion"] == "1";
    let weights = ["blkio.weight", "blkio.bfq.weight"]
        .iter()
        .any(|file| Path::new("/sys/fs/cgroup/blkio").join(file).exists());
    let weightless = "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
    let unswappable = "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.";
    for (flag, kept, field, warning) in [
        (
            ["--blkio-weight", "300"],
            v1 && weights,
            "BlkioWeight",
            weightless,
        ),
        (
            ["--memory-swappiness", "10"],
            v1,
            "MemorySwappiness",
            unswappable,
        ),
    ] {
        let words = [&["run", "--name", "box"][..], &flag, &[IMAGE, "true"]].concat();
        let output = cove.cmd(words).ok();
        let told = if kept {
            String::new()
        } else {
            format!("WARNING: {warning}\n")
        };
        assert_eq!(output.err(), told, "{flag:?}");
        let shown = cove.ok(&[
            "inspect",
            "-f",
            &format!("{{{{.HostConfig.{field}}}}}"),
            "box",
        ]);
        assert_eq!(shown == flag[1], kept, "{shown}");
        if field == "BlkioWeight" {
            let told = if kept {
                "box".to_owned()
            } else {
                format!("box\n{warning}")
            };
            assert_eq!(cove.ok(&["update", flag[0], flag[1], "box"]), told);
        }
        cove.ok(&["rm", "box"]);
    }
}

#[test]
fn runtimes_whose_place_ours_takes_are_accepted_and_shown() {
    let cove = cove();
    for (said, shown) in [
        (None, "cove"),
        (Some("runc"), "runc"),
        (Some("crun"), "crun"),
        (Some("cove"), "cove"),
        (Some("io.containerd.runc.v2"), "io.containerd.runc.v2"),
    ] {
        let runtime: Vec<_> = said.iter().flat_map(|name| ["--runtime", name]).collect();
        let words = [
            &["run", "--name", "box"][..],
            &runtime,
            &[IMAGE, "echo", "hi"],
        ]
        .concat();
        assert_eq!(cove.ok(&words), "hi");
        assert_eq!(
            cove.ok(&["inspect", "-f", "{{.HostConfig.Runtime}}", "box"]),
            shown
        );
        cove.ok(&["rm", "box"]);
    }
}

#[test]
fn a_name_may_begin_with_a_slash() {
    let cove = cove();
    cove.ok(&["create", "--name", "/web", IMAGE, "true"]);
    assert_eq!(cove.ok(&["ps", "-a", "--format", "{{.Names}}"]), "web");
    assert_eq!(cove.ok(&["inspect", "-f", "{{.Name}}", "/web"]), "/web");
    cove.ok(&["rename", "web", "/shop"]);
    assert_eq!(cove.ok(&["rm", "/shop"]), "/shop");
}

#[test]
fn an_init_is_shown_as_it_was_said() {
    let cove = cove();
    for (flag, shown) in [
        (None, "<nil>"),
        (Some("--init"), "true"),
        (Some("--init=false"), "false"),
    ] {
        let flags: Vec<_> = flag.into_iter().collect();
        let words = [&["create", "--name", "box"][..], &flags, &[IMAGE, "true"]].concat();
        cove.ok(&words);
        assert_eq!(
            cove.ok(&["inspect", "-f", "{{.HostConfig.Init}}", "box"]),
            shown
        );
        assert_eq!(
            cove.ok(&["inspect", "box"]).contains("\"Init\":"),
            flag.is_some()
        );
        cove.ok(&["rm", "box"]);
    }
}

#[test]
fn security_options_are_taken_in_every_spelling() {
    let cove = cove();
    let kcore =
        "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; grep -c NoNewPrivs:.1 /proc/self/status";
    for (option, seen) in [
        ("apparmor=unconfined", "0\n0"),
        ("apparmor:unconfined", "0\n0"),
        ("label=disable", "0\n0"),
        ("label:disable", "0\n0"),
        ("label=type:foo_t", "0\n0"),
        ("no-new-privileges", "0\n1"),
        ("no-new-privileges=true", "0\n1"),
        ("no-new-privileges:true", "0\n1"),
        ("no-new-privileges:false", "0\n0"),
        ("no-new-privileges=false", "0\n0"),
        ("seccomp=unconfined", "0\n0"),
        ("seccomp:unconfined", "0\n0"),
        ("mask=/etc", "0\n0"),
    ] {
        let label =
            option.starts_with("label=type") && Path::new("/sys/fs/selinux/enforce").exists();
        if label {
            continue;
        }
        let script = [
            "run",
            "--name",
            "box",
            "--security-opt",
            option,
            IMAGE,
            "sh",
            "-c",
            kcore,
        ];
        let output = cove.cmd(script).run();
        assert_eq!(output.out().trim_end(), seen, "{option}: {output}");
        let shown = [
            "inspect",
            "-f",
            "{{index .HostConfig.SecurityOpt 0}}",
            "box",
        ];
        assert_eq!(cove.ok(&shown), option);
        cove.ok(&["rm", "box"]);
    }
    // What is not hidden is not mounted over.
    let mounted = "for p in /proc/keys /proc/timer_list /proc/sys; do grep -q \" $p \" /proc/mounts && echo $p; done";
    for (option, hidden) in [
        (
            "seccomp=unconfined",
            "/proc/keys\n/proc/timer_list\n/proc/sys",
        ),
        ("systempaths=unconfined", ""),
        ("unmask=ALL", ""),
        ("unmask=/proc/keys:/proc/sys", "/proc/timer_list"),
        ("unmask=/proc/t*", "/proc/keys\n/proc/sys"),
    ] {
        let output = cove
            .cmd([
                "run",
                "--rm",
                "--security-opt",
                option,
                IMAGE,
                "sh",
                "-c",
                mounted,
            ])
            .run();
        assert_eq!(output.out().trim_end(), hidden, "{option}: {output}");
    }
    let etc = ["run", "--rm", "--security-opt", "mask=/bin", IMAGE, "true"];
    assert!(!cove.cmd(etc).run().success());
    for (option, message) in [
        ("foo", "Invalid --security-opt: \"foo\""),
        ("foo=bar", "invalid --security-opt 2: \"foo=bar\""),
        (
            "no-new-privileges=foo",
            "invalid --security-opt 2: \"no-new-privileges=foo\"",
        ),
        (
            "systempaths=foo",
            "invalid --security-opt 2: \"systempaths=foo\"",
        ),
        ("mask=etc", "\"etc\" is not an absolute path"),
    ] {
        let said = cove.fails(125, &["run", "--security-opt", option, IMAGE, "true"]);
        assert!(said.contains(message), "{said}");
    }
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
}

#[test]
fn what_the_engine_refuses_is_no_mistake_of_the_command_line() {
    let cove = cove();
    cove.ok(&["create", "--name", "there", IMAGE, "true"]);
    let cidfile = cove.roots().home().join("cid");
    std::fs::write(&cidfile, "x").unwrap();
    let cidfile = cidfile.to_str().unwrap();
    let joining = ["--network", "container:there"];
    let with = |flag: &'static str, value: &'static str| [&joining[..], &[flag, value]].concat();
    for (status, options, message) in [
        (
            1,
            vec!["--uts", "host", "-h", "x"],
            "conflicting options: hostname and the UTS mode",
        ),
        (
            1,
            vec!["--uts", "host", "--domainname", "x"],
            "conflicting options: domainname and the UTS mode",
        ),
        (1, with("-h", "x"), "hostname and the network mode"),
        (1, with("--dns", "1.1.1.1"), "dns and the network mode"),
        (1, with("--add-host", "a:1.1.1.1"), "custom host-to-IP"),
        (1, with("--expose", "80"), "port exposing"),
        (1, vec!["--oom-score-adj", "2000"], "range for oom score"),
        (1, vec!["--blkio-weight", "5"], "Range of blkio weight"),
        (1, vec!["--ipc", "frob"], "Invalid IPC mode: frob"),
        (1, vec!["--cpu-period", "-1"], "CPU cfs period"),
        (1, vec!["--platform", "a/b/c/d"], "specified platform"),
        (1, vec!["--cidfile", cidfile], "container ID file found"),
        (125, vec!["--memory-swappiness", "200"], "swappiness range"),
        (125, vec!["--pid", "frob"], "--pid: invalid PID mode"),
        (
            125,
            vec!["--rm", "--restart", "always"],
            "--restart and --rm",
        ),
        // The command line's mistakes come first, wherever they stand.
        (
            125,
            vec!["--pid", "container:nope", "--expose", "x"],
            "--expose: x",
        ),
        (
            125,
            vec!["--restart", "frob", "--memory-swappiness", "200"],
            "swappiness range",
        ),
    ] {
        for command in ["create", "run"] {
            let words = [&[command][..], &options, &[IMAGE, "true"]].concat();
            let output = cove.cmd(words).run();
            let status = if command == "run" { 125 } else { status };
            assert_eq!(output.code(), status, "{command} {options:?}: {output}");
            assert!(output.err().contains(message), "{options:?}: {output}");
        }
    }
}
