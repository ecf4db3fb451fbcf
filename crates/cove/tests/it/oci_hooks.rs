//! Hooks of `cove oci`: what surrounds them, and how a container's life goes on when one fails.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bundle::{Bundle, cgroups, text};

/// A hook that runs a line of the host's shell.
fn hook(line: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}])
}

/// What the hooks have written into a file of the bundle.
fn log(bundle: &Bundle) -> String {
    std::fs::read_to_string(bundle.path().join("log")).unwrap_or_default()
}

/// Neither state, cgroup nor process is left of it.
#[track_caller]
fn assert_gone(bundle: &Bundle) {
    assert!(!bundle.path().join("state").join(&bundle.id).exists());
    assert_eq!(cgroups(&bundle.id), Vec::<PathBuf>::new());
}

const SECCOMP: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
    [{"names": ["mkdir", "mkdirat", "pidfd_open"], "action": "SCMP_ACT_ERRNO"}]}"#;

#[test]
fn a_hook_in_the_container_is_confined_as_its_process_is() {
    let bundle = Bundle::new("confined", &["/bin/busybox", "cat", "/proc/self/status"]);
    let show = ["busybox", "sh", "-c", "cat /proc/self/status; mkdir /tmp/x"];
    for no_new_privileges in [true, false] {
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(false);
            let hooks = json!([{"path": "/bin/busybox", "args": show, "env": ["PATH=/bin"]}]);
            config["hooks"] = json!({"startContainer": hooks});
            config["annotations"] = json!({
                "run.oci.hooks.stdout": bundle.path().join("out"),
                "run.oci.hooks.stderr": bundle.path().join("err"),
            });
            config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = serde_json::from_str(SECCOMP).unwrap();
        });
        for file in ["out", "err"] {
            std::fs::write(bundle.path().join(file), "").unwrap();
        }
        // Its last command is refused, so the hook fails.
        let output = bundle.on(&["run"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = text(&output.stderr);
        assert!(error.contains("startContainer hook"), "{error}");
        let said = std::fs::read_to_string(bundle.path().join("err")).unwrap();
        assert!(said.contains("Operation not permitted"), "{said}");
        let hook = std::fs::read_to_string(bundle.path().join("out")).unwrap();
        assert_gone(&bundle);

        bundle.edit(|config| config["hooks"] = json!({}));
        let process = bundle.ok(&["run"]);
        for field in [
            "Uid:",
            "Gid:",
            "Groups:",
            "CapInh:",
            "CapPrm:",
            "CapEff:",
            "CapBnd:",
            "CapAmb:",
            "NoNewPrivs:",
            "Seccomp:",
        ] {
            let of = |status: &str| {
                let line = status.lines().find(|line| line.starts_with(field));
                line.unwrap().to_owned()
            };
            assert_eq!(of(&hook), of(&process), "{field}");
        }
        let nnp = format!("NoNewPrivs:\t{}", u8::from(no_new_privileges));
        assert!(
            hook.contains(&nnp) && hook.contains("Seccomp:\t2"),
            "{hook}"
        );
    }
}

#[test]
fn hooks_without_an_environment_inherit_one() {
    let bundle = Bundle::new("hookenv", &["true"]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["env"] = json!(["PATH=/bin", "WHO=process"]);
        let out = bundle.path().join("out");
        let own = |name: &str| {
            let line = format!("echo {name} $WHO $ONLY >>{}; exec cat", out.display());
            json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}])
        };
        let inside = |env: Value| {
            let line = "echo startContainer $WHO $ONLY";
            json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": env})
        };
        config["annotations"] = json!({"run.oci.hooks.stdout": out});
        config["hooks"] = json!({
            "prestart": own("prestart"),
            "createRuntime": own("createRuntime"),
            "createContainer": own("createContainer"),
            "startContainer": [inside(Value::Null), inside(json!([])), inside(json!(["ONLY=x"]))],
            "poststart": own("poststart"),
            "poststop": own("poststop"),
        });
    });
    let mut run = bundle.command(&["run"]);
    let run = run.arg(&bundle.id).env("WHO", "runtime").output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let out = std::fs::read_to_string(bundle.path().join("out")).unwrap();
    // The state that each copies from its standard input stands between the lines.
    let lines: Vec<&str> = out
        .split('\n')
        .flat_map(|line| line.split('}'))
        .filter(|line| !line.is_empty() && !line.starts_with('{'))
        .collect();
    assert_eq!(
        lines,
        [
            "prestart runtime ",
            "createRuntime runtime ",
            "createContainer runtime ",
            "startContainer process",
            "startContainer",
            "startContainer x",
            "poststart runtime ",
            "poststop runtime ",
        ]
        .map(str::trim_end),
        "{out}"
    );
}

/// A bundle with a hook of this kind that fails, and one that tells of the end. Its name is the
/// test's: tests run beside each other, and their cgroups are named after it.
fn failing(name: &str, kind: &str) -> Bundle {
    let bundle = Bundle::new(name, &["sleep", "1000"]);
    bundle.edit(|config| {
        let fails = "cat >/dev/null; echo no good >&2; exit 3";
        config["hooks"][kind] = json!([
            {"path": "/bin/sh", "args": ["sh", "-c", fails], "env": ["PATH=/bin:/usr/bin"]}
        ]);
        let path = bundle.path().display();
        let stop = format!("cat >>{path}/log; ls {path}/state >>{path}/left");
        config["hooks"]["poststop"] = hook(&stop);
    });
    bundle
}

#[test]
fn a_failing_hook_ends_the_container_and_what_undoes_it_runs() {
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        for command in ["run", "run -d", "create"] {
            let bundle = failing("hook-fails", kind);
            let mut words: Vec<&str> = command.split(' ').collect();
            let starts = matches!(kind, "startContainer" | "poststart");
            if command == "create" && starts {
                bundle.create();
                words = vec!["start"];
            }
            let output = bundle.on(&words);
            assert_eq!(output.status.code(), Some(1), "{kind}: {output:?}");
            let error = text(&output.stderr);
            assert!(
                error.contains(&format!("{kind} hook")) && error.contains("no good"),
                "{kind}: {error}"
            );
            assert_gone(&bundle);
            let log = log(&bundle);
            assert_eq!(
                log.matches(r#""status":"stopped""#).count(),
                1,
                "{kind}: {log}"
            );
            // It runs when everything else is undone.
            let left = std::fs::read_to_string(bundle.path().join("left")).unwrap();
            assert_eq!(left, "", "{kind}");
            let state = bundle.on(&["state"]);
            assert!(text(&state.stderr).contains("does not exist"), "{state:?}");
        }
    }
}

#[test]
fn a_creation_that_fails_after_its_hooks_runs_those_of_the_end() {
    let bundle = failing("hook-fails1", "poststart");
    bundle.edit(|config| {
        config["hooks"]["poststart"] = Value::Null;
        let path = bundle.path().display();
        config["hooks"]["createRuntime"] = hook(&format!("echo made >>{path}/log"));
        config["process"]["args"] = json!(["/nonexistent"]);
    });
    let output = bundle.on(&["run"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_gone(&bundle);
    let log = log(&bundle);
    assert!(
        log.starts_with("made\n{") && log.contains("stopped"),
        "{log}"
    );
}

#[test]
fn failures_of_the_end_are_told_and_stop_nothing() {
    let bundle = failing("hook-fails2", "createRuntime");
    bundle.edit(|config| {
        let path = bundle.path().display();
        let two = [
            hook("echo oh dear >&2; exit 5")[0].clone(),
            hook(&format!("echo second >>{path}/log"))[0].clone(),
        ];
        config["hooks"]["poststop"] = json!(two);
    });
    let output = bundle.on(&["create"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = text(&output.stderr);
    for words in ["createRuntime hook", "no good", "poststop hook", "oh dear"] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(log(&bundle), "second\n");
    bundle.edit(|config| config["hooks"]["createRuntime"] = Value::Null);
    bundle.create();
    let output = bundle.on(&["delete"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stderr).contains("oh dear"), "{output:?}");
    assert_eq!(log(&bundle), "second\nsecond\n");
    assert_gone(&bundle);
}

#[test]
fn a_runtime_killed_in_a_hook_leaves_the_end_to_delete() {
    let bundle = failing("hook-fails3", "poststart");
    bundle.edit(|config| {
        config["hooks"]["poststart"] = Value::Null;
        let path = bundle.path().display();
        let line =
            format!("echo here; echo $PPID >{path}/pid; mv {path}/pid {path}/ready; sleep 1000");
        config["hooks"]["createRuntime"] = hook(&line);
    });
    let mut create = bundle.command(&["create"]);
    let create = create
        .arg(&bundle.id)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut create = create.spawn().unwrap();
    let ready = bundle.path().join("ready");
    while !ready.exists() {
        assert!(create.try_wait().unwrap().is_none(), "it ended");
        std::thread::yield_now();
    }
    create.kill().unwrap();
    create.wait().unwrap();
    bundle.ok(&["delete", "--force"]);
    assert_gone(&bundle);
    let log = log(&bundle);
    let state: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
}
