//! What flags are refused with, and what they become.

use std::path::Path;

use cove_model::instance::MountSource;

use super::*;
use crate::commands::tables::run::RunFlags;
use crate::settings::Session;

fn request(words: &[&str]) -> Result<CreateRequest, String> {
    let directory = tempfile::tempdir().unwrap();
    let roots = cove_engine::Roots {
        root: directory.path().join("root"),
        runroot: directory.path().join("run"),
    };
    let session = Session::new("cove", "cove run".to_owned(), roots);
    let mut flags = RunFlags::default();
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let args = cove_flags::parse(&mut flags, false, &words)
        .map_err(|stop| crate::cli::in_pflags_words(&stop))?;
    resolve(&session, &flags.create, flags.detach, &args).map_err(|failure| failure.message)
}

#[test]
fn flags_become_a_spec() {
    let request = request(&[
        "-it",
        "--rm",
        "--name",
        "web",
        "-e",
        "A=1",
        "-eB=2",
        "-v",
        "/a:/b:ro",
        "--tmpfs",
        "/t",
        "-m",
        "64m",
        "--memory-swap=-1",
        "--cpus",
        "0.5",
        "--pids-limit",
        "0",
        "-u",
        "1:2",
        "-w",
        "/x",
        "--entrypoint",
        "e",
        "--cap-add",
        "net_admin",
        "--security-opt",
        "no-new-privileges",
        "--ulimit",
        "nofile=5:9",
        "-l",
        "x=y",
        "-l",
        "z",
        "--network",
        "host",
        "--hostname",
        "h",
        "--stop-signal",
        "SIGUSR1",
        "--stop-timeout",
        "3",
        "--expose",
        "80",
        "--log-opt",
        "max-size=1m",
        "image",
        "-x",
        "--rm",
    ])
    .unwrap();
    let spec = &request.spec;
    assert_eq!(
        (request.name.as_deref(), request.image.as_str()),
        (Some("web"), "image")
    );
    assert_eq!(request.command, ["-x", "--rm"]);
    assert_eq!(
        request.entrypoint.as_deref(),
        Some(["e".to_owned()].as_slice())
    );
    assert!(spec.terminal && spec.open_stdin && spec.stdin_once && spec.auto_remove);
    assert_eq!(spec.run.env, ["A=1", "B=2"]);
    assert_eq!(
        (spec.run.user.as_str(), spec.run.working_dir.as_str()),
        ("1:2", "/x")
    );
    assert_eq!(spec.run.labels["x"], "y");
    assert_eq!(spec.run.labels["z"], "");
    assert!(spec.run.exposed_ports.contains_key("80/tcp"));
    assert!(
        matches!(&spec.mounts[0].source, MountSource::Bind { path, .. } if path == Path::new("/a"))
    );
    assert_eq!(spec.limits.memory, Some(64 << 20));
    assert_eq!(spec.limits.memory_swap, Some(-1));
    assert_eq!(spec.limits.nano_cpus, Some(500_000_000));
    assert_eq!(spec.limits.pids, Some(-1));
    assert_eq!(spec.security.cap_add, ["CAP_NET_ADMIN"]);
    assert!(spec.security.no_new_privileges);
    assert_eq!(spec.network, NetworkMode::Host);
    assert_eq!((spec.hostname.as_str(), spec.stop_timeout), ("h", Some(3)));
    assert_eq!(spec.log.options["max-size"], "1m");
}

#[test]
fn streams_are_attached_as_docker_does() {
    for (args, streams) in [
        (&["x"] as &[&str], (false, true, true)),
        (&["-i", "x"], (true, true, true)),
        (&["-d", "-i", "x"], (false, false, false)),
        (&["-a", "stdout", "x"], (false, true, false)),
        (&["-a", "STDIN", "-a", "stderr", "x"], (true, false, true)),
        (&["-i", "-a", "stdout", "x"], (true, true, false)),
    ] {
        let attach = request(args).unwrap().spec.attach;
        assert_eq!(
            (attach.stdin, attach.stdout, attach.stderr),
            streams,
            "{args:?}"
        );
    }
}

#[test]
fn what_docker_has_by_default_may_be_said() {
    for args in [
        &["--disable-content-trust", "x"] as &[&str],
        &["--disable-content-trust=true", "x"],
        &["--isolation", "", "x"],
        &["--isolation", "default", "x"],
    ] {
        assert!(request(args).is_ok(), "{args:?}");
    }
    let request = request(&["--dns-opt", "a", "--dns-option", "b", "x"]).unwrap();
    assert_eq!(request.spec.dns_options, ["b", "a"]);
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    for (args, message) in [
        (
            &["--restart", "foo", "x"] as &[&str],
            "invalid restart policy 'foo'",
        ),
        (
            &["--restart", "always:3", "x"],
            "maximum retry count cannot be used with restart policy 'always'",
        ),
        (
            &["--restart", "on-failure:x", "x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (
            &["--restart", "always", "--rm", "x"],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["--pull", "foo", "x"],
            "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (&["--pid", "foo", "x"], "--pid: invalid PID mode"),
        (&["--uts", "foo", "x"], "--uts: invalid UTS mode"),
        (
            &["--cgroupns", "foo", "x"],
            "--cgroupns: invalid CGROUP mode",
        ),
        (&["--userns", "foo", "x"], "--userns: invalid USER mode"),
        (&["--ipc", "foo", "x"], "Invalid IPC mode: foo"),
        (
            &["--domainname", "d", "--uts", "host", "x"],
            "conflicting options: domainname and the UTS mode",
        ),
        (&["--network", "foo", "x"], "network foo not found"),
        (&["--network", "", "x"], "no name set for network"),
        (
            &["--uts", "host", "--hostname", "h", "x"],
            "conflicting options: hostname and the UTS mode",
        ),
        (
            &["--security-opt", "foo", "x"],
            "Invalid --security-opt: \"foo\"",
        ),
        (
            &[
                "--security-opt",
                "label=",
                "--security-opt",
                "systempaths=foo",
                "x",
            ],
            "invalid --security-opt 2: \"systempaths=foo\"",
        ),
        (
            &["--security-opt", "seccomp=/nope", "x"],
            "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
        ),
        (
            &["--env-file", "/nope", "x"],
            "open /nope: no such file or directory",
        ),
        (
            &["--label-file", "/nope", "x"],
            "open /nope: no such file or directory",
        ),
        (
            &["--memory-swappiness", "200", "x"],
            "invalid value: 200. Valid memory swappiness range is 0-100",
        ),
        (
            &["--oom-score-adj", "2000", "x"],
            "Invalid value 2000, range for oom score adj is [-1000, 1000]",
        ),
        (
            &["--blkio-weight", "5", "x"],
            "Range of blkio weight is from 10 to 1000",
        ),
        (
            &["--log-driver", "a", "x"],
            "error looking up logging plugin a: plugin \"a\" not found",
        ),
        (
            &["--cap-add", "a", "x"],
            "invalid CapAdd: unknown capability: \"CAP_A\"",
        ),
        (
            &["--device", "/dev/null:/dev/x:q", "x"],
            "bad mode specified: q",
        ),
        (&["-v", "/a:/b:zz", "x"], "invalid mode: zz"),
        (
            &["--mount", "type=foo,target=/x", "x"],
            "invalid mount config for type \"foo\": mount type unknown",
        ),
        (
            &["--tmpfs", "x", "x"],
            "invalid mount path: 'x' mount path must be absolute",
        ),
        (
            &["--expose", "a", "x"],
            "invalid range format for --expose: a, error: strconv.ParseUint: parsing \"a\": invalid syntax",
        ),
        (&["--stop-signal", "foo", "x"], "Invalid signal: foo"),
        (&["--pid", "container:nope", "x"], "No such container: nope"),
        (
            &["-p", "80:80", "x"],
            "invalid argument \"80:80\" for \"-p, --publish\" flag: not supported yet: containers have no bridge network in this release; with --network host their ports are the host's",
        ),
        (
            &["--disable-content-trust=false", "x"],
            "invalid argument \"false\" for \"--disable-content-trust\" flag: signatures of content trust are not verified",
        ),
        (
            &["--isolation", "hyperv", "x"],
            "invalid argument \"hyperv\" for \"--isolation\" flag: there is no isolation but the default",
        ),
        (
            &["--cpu-count", "1", "x"],
            "invalid argument \"1\" for \"--cpu-count\" flag: only containers of Windows have it",
        ),
        (
            &["--sysctl", "kernel.foo=1", "x"],
            "invalid argument \"kernel.foo=1\" for \"--sysctl\" flag: sysctl 'kernel.foo=1' is not allowed",
        ),
        (
            &["--sysctl", "net.//.kernel.core_pattern=|/x", "x"],
            "invalid argument \"net.//.kernel.core_pattern=|/x\" for \"--sysctl\" flag: sysctl 'net.//.kernel.core_pattern=|/x' is not allowed",
        ),
        (
            &["--ulimit", "nofile=5:3", "x"],
            "invalid argument \"nofile=5:3\" for \"--ulimit\" flag: ulimit soft limit must be less than or equal to hard limit: 5 > 3",
        ),
        (
            &["-a", "foo", "x"],
            "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
        ),
        (
            &["--platform", "a/b/c/d", "x"],
            "error parsing specified platform: \"a/b/c/d\": cannot parse platform specifier: invalid argument",
        ),
    ] {
        assert_eq!(request(args).unwrap_err(), message, "{args:?}");
    }
}

#[test]
fn a_file_for_the_id_is_not_overwritten() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(
        check_cidfile(path).unwrap_err().message,
        format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )
    );
    assert!(check_cidfile("/nope/file").is_ok());
}
