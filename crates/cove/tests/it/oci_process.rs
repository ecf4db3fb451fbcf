//! The process of `cove oci`: environment, capabilities, groups, terminal; and how its commands say
//! what they take.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::bundle::{Bundle, text};

fn exec(bundle: &Bundle, options: &[&str], words: &[&str]) -> Output {
    let mut command = bundle.command(&["exec"]);
    let command = command.args(options).arg(&bundle.id).args(words);
    command.output().unwrap()
}

fn running(name: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    let bundle = Bundle::new(name, &["sleep", "1000"]);
    bundle.edit(change);
    bundle.create();
    bundle.ok(&["start"]);
    bundle
}

const ENV: [&str; 2] = ["/bin/busybox", "env"];

#[test]
fn a_variable_that_is_given_twice_is_there_once() {
    let twice = json!(["PATH=/bin", "A=1", "HOME=/x", "B=2", "A=3", "HOME="]);
    let once = "PATH=/bin\nB=2\nA=3\nHOME=/\n";
    let bundle = Bundle::new("env", &ENV);
    bundle.edit(|config| config["process"]["env"] = twice.clone());
    assert_eq!(bundle.ok(&["run"]), once);
    for (bad, why) in [("FOO", "no '='"), ("=x", "name is empty"), ("", "no '='")] {
        bundle.edit(|config| config["process"]["env"] = json!(["PATH=/bin", bad]));
        let output = bundle.on(&["run"]);
        assert_eq!(output.status.code(), Some(1), "{bad}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{bad}: {output:?}");
    }

    let bundle = running("env2", |config| {
        config["process"]["env"] = json!(["PATH=/bin", "V=one", "W=one", "HOME=/h"]);
    });
    let output = exec(
        &bundle,
        &["-e", "V=two", "--env", "HOME=", "-e", "V=three"],
        &ENV,
    );
    let out = text(&output.stdout);
    assert_eq!(out, "PATH=/bin\nW=one\nV=three\nHOME=/\n", "{output:?}");
    let file = bundle.path().join("process.json");
    let process = json!({"cwd": "/", "args": ENV, "env": twice});
    std::fs::write(&file, process.to_string()).unwrap();
    let output = exec(&bundle, &["--process", file.to_str().unwrap()], &[]);
    assert_eq!(text(&output.stdout), once, "{output:?}");
}

#[test]
fn what_the_specification_does_not_demand_may_be_absent_or_null() {
    let bundle = Bundle::new("absent", &["id"]);
    let demanded = |config: &mut Value| {
        let process = &config["process"];
        let (args, cwd, env) = (&process["args"], &process["cwd"], &process["env"]);
        let process = json!({"args": args, "cwd": cwd, "env": env});
        let linux = json!({"namespaces": [{"type": "mount"}, {"type": "pid"}]});
        *config = json!({"ociVersion": "1.0.0", "root": {"path": "rootfs"},
            "process": process, "linux": linux});
    };
    bundle.edit(demanded);
    assert!(bundle.ok(&["run"]).starts_with("uid=0 gid=0"));
    bundle.edit(|config| {
        for key in ["hostname", "mounts", "hooks", "annotations"] {
            config[key] = Value::Null;
        }
        for key in ["user", "terminal", "rlimits", "capabilities", "consoleSize"] {
            config["process"][key] = Value::Null;
        }
        for key in ["resources", "devices", "seccomp", "uidMappings", "sysctl"] {
            config["linux"][key] = Value::Null;
        }
    });
    assert!(bundle.ok(&["run"]).starts_with("uid=0 gid=0"));
    // Without it the bundle would be the root.
    bundle.edit(|config| config["root"] = json!({"readonly": true}));
    let output = bundle.on(&["run"]);
    assert!(text(&output.stderr).contains("root.path"), "{output:?}");

    // Under another name.
    bundle.edit(|config| config["root"] = json!({"path": "rootfs"}));
    std::fs::rename(
        bundle.path().join("config.json"),
        bundle.path().join("x.json"),
    )
    .unwrap();
    let id = bundle.id.as_str();
    for words in [
        ["run", "--config", "x.json", id],
        ["--config", "x.json", "run", id],
    ] {
        let output = bundle.command(&words).output().unwrap();
        assert!(text(&output.stdout).starts_with("uid=0"), "{output:?}");
    }
}

/// A set of the status of a process, as a number.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

const CAPABILITIES: [&str; 3] = ["CAP_KILL", "CAP_SYS_TTY_CONFIG", "CAP_FLY"];

#[test]
fn capabilities_that_are_not_to_be_had_are_named_once() {
    let bundle = Bundle::new("caps", &["cat", "/proc/self/status"]);
    bundle.edit(|config| {
        let all = json!(CAPABILITIES);
        config["process"]["capabilities"] = json!({"bounding": all, "effective": all,
            "permitted": all, "inheritable": all, "ambient": all});
    });
    let run = bundle.command(&["run", &bundle.id]);
    // The runtime itself has all but one.
    let mut less = Command::new("setpriv");
    less.args([
        "--bounding-set=-sys_tty_config",
        "--inh-caps=-sys_tty_config",
    ]);
    less.arg(run.get_program()).args(run.get_args());
    let output = less.current_dir(bundle.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let status = text(&output.stdout);
    for name in ["CapBnd:", "CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        assert_eq!(set(&status, name), 1 << 5, "{name}");
    }
    let error = text(&output.stderr);
    for name in &CAPABILITIES[1..] {
        assert_eq!(error.matches(name).count(), 1, "{error}");
    }

    bundle.edit(|config| {
        config["process"]["capabilities"] = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_CHOWN"], "ambient": ["CAP_KILL", "CAP_CHOWN"]});
    });
    let output = bundle.on(&["run"]);
    let error = text(&output.stderr);
    let told = "ambient capabilities CAP_CHOWN, CAP_KILL: not inheritable and permitted";
    assert_eq!(error.matches(told).count(), 1, "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_capability_for_one_more_process_lasts_where_it_may() {
    let bundle = running("cap", |config| {
        config["process"]["user"] = json!({"uid": 5, "gid": 5});
        let kill = json!(["CAP_KILL", "CAP_CHOWN"]);
        config["process"]["capabilities"] = json!({"bounding": kill, "inheritable": kill});
    });
    let options = ["--cap", "CAP_CHOWN", "-c", "CAP_FOWNER", "--cap=CAP_FLY"];
    let output = exec(&bundle, &options, &["cat", "/proc/self/status"]);
    assert!(output.status.success(), "{output:?}");
    let status = text(&output.stdout);
    assert_eq!(set(&status, "CapAmb:"), 1);
    // What is not ambient is not left over when an ordinary user's program is executed.
    assert_eq!(set(&status, "CapEff:"), 1);
    assert_eq!(set(&status, "CapBnd:"), 0b101001);
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains("level=warning") && error.contains("CAP_FLY"),
        "{error}"
    );
}

#[test]
fn the_callers_groups_stay_where_an_annotation_says_so() {
    let groups = ["/bin/busybox", "grep", "Groups:", "/proc/self/status"];
    let bundle = Bundle::new("groups", &groups);
    bundle.edit(|config| config["process"]["user"]["additionalGids"] = json!([77]));
    let run = |bundle: &Bundle, words: &[&str]| {
        let run = bundle.command(words);
        let mut with = Command::new("setpriv");
        with.args(["--groups", "4242,4343"]).arg(run.get_program());
        let output = with
            .args(run.get_args())
            .current_dir(bundle.path())
            .output();
        text(&output.unwrap().stdout)
    };
    let groups_of = |status: &str| {
        let words = status.split_whitespace().map(str::to_owned);
        words.skip(1).collect::<Vec<_>>()
    };
    assert_eq!(groups_of(&run(&bundle, &["run", &bundle.id])), ["77"]);
    for (value, want) in [("0", &["77"][..]), ("1", &["4242", "4343"])] {
        bundle.edit(|config| {
            config["annotations"] = json!({"run.oci.keep_original_groups": value});
        });
        assert_eq!(groups_of(&run(&bundle, &["run", &bundle.id])), want);
    }
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    bundle.create();
    bundle.ok(&["start"]);
    let words = [&["exec", bundle.id.as_str()][..], &groups].concat();
    assert_eq!(groups_of(&run(&bundle, &words)), ["4242", "4343"]);
}

/// A terminal of the caller's: its side and the program's.
fn terminal() -> (std::fs::File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let size = rustix::termios::Winsize {
        ws_row: 33,
        ws_col: 99,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&ours, size).unwrap();
    let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    (ours.into(), theirs)
}

#[test]
fn line_ends_leave_a_terminal_as_they_are_and_the_callers_has_its_ways() {
    let script = "stty size; echo a; echo b";
    let bundle = Bundle::new("ends", &["sh", "-c", script]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let other = running("ends2", |_| {});
    let run = || {
        let mut run = bundle.command(&["run"]);
        run.arg(&bundle.id);
        run
    };
    let exec = || {
        let mut exec = other.command(&["exec", "--tty"]);
        exec.arg(&other.id).args(["sh", "-c", script]);
        exec
    };
    for command in [&run as &dyn Fn() -> Command, &exec] {
        let piped = command().output().unwrap();
        let out = text(&piped.stdout);
        assert!(
            out.ends_with("\na\nb\n") && !out.contains('\r'),
            "{piped:?}"
        );

        let (mut ours, theirs) = terminal();
        let mut command = command();
        command.stdin(theirs.try_clone().unwrap());
        command.stdout(theirs.try_clone().unwrap());
        command.stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop((command, theirs));
        let mut shown = Vec::new();
        // The end of the last one who has it open is an error here.
        drop(ours.read_to_end(&mut shown));
        assert!(child.wait().unwrap().success());
        assert_eq!(text(&shown), "33 99\r\na\r\nb\r\n");
    }
}

#[test]
fn signal_0_asks_whether_it_lives() {
    let bundle = running("life0", |_| {});
    let zero = || bundle.command(&["kill", &bundle.id, "0"]).output().unwrap();
    assert!(zero().status.success());
    assert_eq!(bundle.status(), "running");
    let all = bundle.command(&["kill", "--all", &bundle.id, "0"]).output();
    assert!(all.unwrap().status.success());
    let killed = bundle.command(&["kill", &bundle.id, "9"]).status().unwrap();
    assert!(killed.success());
    let start = std::time::Instant::now();
    while bundle.status() != "stopped" {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::yield_now();
    }
    let output = zero();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("container not running"));
}

#[test]
fn every_command_says_how_it_is_used() {
    let bundle = Bundle::new("help", &["true"]);
    let general = bundle.command(&["--help"]).output().unwrap();
    assert!(general.status.success());
    let general = text(&general.stdout);
    let (_, commands) = general.split_once("COMMANDS:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let names: Vec<&str> = commands
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(names.len(), 15, "{names:?}");
    for name in names {
        for words in [&[name, "--help"][..], &[name, "-h"], &["help", name]] {
            let output = bundle.command(words).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
            assert_eq!(text(&output.stderr), "", "{words:?}");
            let usage = format!("USAGE:\n   cove oci {name}");
            assert!(
                text(&output.stdout).contains(&usage),
                "{words:?}: {output:?}"
            );
        }
    }
    // A value is none, nor is what belongs to a program inside.
    let output = bundle.command(&["exec", "--cwd", "-h", "none"]).output();
    assert_eq!(output.unwrap().status.code(), Some(255));
    let output = bundle.command(&["exec", "none", "ls", "--help"]).output();
    assert_eq!(output.unwrap().status.code(), Some(255));
    let output = bundle.command(&["help", "none"]).output().unwrap();
    assert!(
        text(&output.stderr).contains("unknown command"),
        "{output:?}"
    );
}
