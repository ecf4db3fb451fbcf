//! Log drivers and their options, as Compose files carry them.

use std::path::Path;

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// Runs a container to its end; its name is `log`.
fn run(cove: &Cove, options: &[&str], command: &[&str]) {
    let output = cove.cmd(["rm", "-f", "log"]).run();
    assert!(output.success(), "{output}");
    let words = [&["run", "--name", "log"], options, &[IMAGE], command].concat();
    let output = cove.cmd(words).run();
    assert!(output.success(), "{output}");
}

fn inspect(cove: &Cove, what: &str) -> String {
    cove.ok(&["inspect", "-f", &format!("{{{{{what}}}}}"), "log"])
}

fn read(path: &str) -> String {
    testkit::files::text(Path::new(path)).unwrap()
}

#[test]
fn json_file_is_dockers_file() {
    let cove = cove();
    let script = "printf 'q\"<\\t'; echo x; echo err >&2; printf end";
    let options = ["--log-driver", "json-file"];
    run(&cove, &options, &["sh", "-c", script]);
    let path = inspect(&cove, ".LogPath");
    assert_eq!(path, {
        let id = inspect(&cove, ".Id");
        let root = cove.roots().root().display().to_string();
        format!("{root}/containers/{id}/{id}-json.log")
    });
    let text = read(&path);
    let mut found: Vec<_> = text
        .lines()
        .map(|line| line.split(",\"time\":\"20").next().unwrap())
        .collect();
    assert!(text.lines().all(|line| line.ends_with("Z\"}")), "{text}");
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "{\"log\":\"end\",\"stream\":\"stdout\"",
            "{\"log\":\"err\\n\",\"stream\":\"stderr\"",
            "{\"log\":\"q\\\"\\u003c\\u0009x\\n\",\"stream\":\"stdout\"",
        ]
    );
    let output = cove.cmd(["logs", "log"]).ok();
    assert_eq!(
        (output.out().as_str(), output.err().as_str()),
        ("q\"<\tx\nend", "err\n")
    );
    assert_eq!(inspect(&cove, ".HostConfig.LogConfig.Type"), "json-file");
}

#[test]
fn every_driver_says_what_it_is_and_none_cannot_be_read() {
    let cove = cove();
    for (driver, shown, has_path) in [
        (None, "k8s-file", true),
        (Some("k8s-file"), "k8s-file", true),
        (Some("json-file"), "json-file", true),
        // As with Docker its file is nobody's business.
        (Some("local"), "local", false),
        (Some("none"), "none", false),
    ] {
        let options: Vec<_> = driver
            .iter()
            .flat_map(|name| ["--log-driver", name])
            .collect();
        run(&cove, &options, &["echo", "hello"]);
        assert_eq!(inspect(&cove, ".HostConfig.LogConfig.Type"), shown);
        assert_eq!(
            inspect(&cove, ".LogPath").is_empty(),
            !has_path,
            "{driver:?}"
        );
        if driver == Some("none") {
            let said = cove.fails(1, &["logs", "log"]);
            assert!(
                said.contains("configured logging driver does not support reading"),
                "{said}"
            );
        } else {
            assert_eq!(cove.ok(&["logs", "log"]), "hello");
            assert_eq!(cove.ok(&["logs", "--tail", "1", "log"]), "hello");
        }
    }
}

#[test]
fn details_are_what_the_options_name() {
    let cove = cove();
    let options = [
        "--log-opt",
        "tag={{.ImageName}}/{{.Name}}",
        "--log-opt",
        "labels=a,none",
        "--log-opt",
        "labels-regex=^c",
        "--log-opt",
        "env=E",
        "--log-opt",
        "env-regex=^F",
        "-l",
        "a=1<2",
        "-l",
        "cc=3",
        "-l",
        "d=4",
        "-e",
        "E=5",
        "-e",
        "FF=x y",
    ];
    for driver in ["json-file", "k8s-file"] {
        let options = [&["--log-driver", driver][..], &options].concat();
        run(&cove, &options, &["echo", "hi"]);
        assert_eq!(
            cove.ok(&["logs", "--details", "log"]),
            "E=5,FF=x+y,a=1%3C2,cc=3,tag=busybox%3Atest%2Flog hi"
        );
        let stamped = cove.ok(&["logs", "--details", "-t", "log"]);
        assert!(stamped.contains("Z E=5,FF=x+y,a=1"), "{stamped}");
        assert_eq!(cove.ok(&["logs", "log"]), "hi");
        assert_eq!(
            inspect(&cove, "index .HostConfig.LogConfig.Config \"env\""),
            "E"
        );
    }
    let entry = read(&{
        run(
            &cove,
            &[&["--log-driver", "json-file"][..], &options].concat(),
            &["echo", "hi"],
        );
        inspect(&cove, ".LogPath")
    });
    let attributes = "\"stream\":\"stdout\",\"attrs\":{\"E\":\"5\",\"FF\":\"x y\",\"a\":\"1\\u003c2\",\"cc\":\"3\",\"tag\":\"busybox:test/log\"},\"time\":";
    assert!(entry.contains(attributes), "{entry}");
}

#[test]
fn rotated_files_bear_dockers_names_and_are_read_and_followed() {
    let cove = cove();
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done";
    let options = [
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=4k",
        "--log-opt",
        "max-file=50",
        "--log-opt",
        "compress=true",
    ];
    run(&cove, &options, &["sh", "-c", script]);
    let all: Vec<_> = (0..300).map(|i| format!("line {i}")).collect();
    assert_eq!(cove.ok(&["logs", "log"]), all.join("\n"));
    assert_eq!(cove.ok(&["logs", "-f", "log"]), all.join("\n"));
    assert_eq!(
        cove.ok(&["logs", "-n", "100", "log"]),
        all[200..].join("\n")
    );
    let path = inspect(&cove, ".LogPath");
    assert!(Path::new(&format!("{path}.2.gz")).exists());
    // Of the last the compressing may still go on.
    let last = |suffix: &str| Path::new(&format!("{path}.1{suffix}")).exists();
    assert!(last("") || last(".gz"));

    let options = ["--log-driver", "json-file", "--log-opt", "max-size=4k"];
    run(&cove, &options, &["sh", "-c", script]);
    let path = inspect(&cove, ".LogPath");
    assert!(!Path::new(&format!("{path}.1")).exists());
    assert!(read(&path).len() <= 4000);
    let kept = cove.ok(&["logs", "log"]);
    assert!(
        all.join("\n").ends_with(&kept) && kept.ends_with("line 299"),
        "{kept}"
    );
}

#[test]
fn a_program_that_must_not_wait_has_all_its_output_at_the_end() {
    let cove = cove();
    let options = [
        "--log-opt",
        "mode=non-blocking",
        "--log-opt",
        "max-buffer-size=4m",
    ];
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf end";
    run(&cove, &options, &["sh", "-c", script]);
    let lines: String = (0..2000).map(|i| format!("line {i}\n")).collect();
    assert_eq!(cove.cmd(["logs", "log"]).ok().out(), lines + "end");
}

#[test]
fn wrong_options_are_refused_before_anything_is_made() {
    let cove = cove();
    for (options, message) in [
        (
            &["--log-driver", "json-file", "--log-opt", "foo=1"][..],
            "unknown log opt 'foo' for json-file log driver",
        ),
        (
            &["--log-opt", "max-size=x"],
            "failed to initialize logging driver: invalid value for max-size: x: invalid size: 'x'",
        ),
        (
            &["--log-opt", "mode=x"],
            "logger: logging mode not supported: x",
        ),
        (
            &["--log-driver", "none", "--log-opt", "max-size=1m"],
            "invalid logging opts for driver none",
        ),
        (
            &["--log-driver", "nosuch"],
            "error looking up logging plugin nosuch: plugin \"nosuch\" not found",
        ),
        (
            &["--log-driver", "syslog"],
            "the log driver syslog is not supported: use k8s-file, json-file, local or none",
        ),
    ] {
        let words = [&["run"], options, &[IMAGE, "true"]].concat();
        let said = cove.fails(125, &words);
        assert!(said.contains(message), "{said}");
        assert_eq!(cove.ok(&["ps", "-aq"]), "");
    }
}
