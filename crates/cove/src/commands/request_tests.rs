//! What flags are refused with, and what they become.

use super::*;
use crate::commands::tables::run::RunFlags;

fn request(words: &[&str]) -> Result<CreateRequest, String> {
    let mut flags = RunFlags::default();
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let args = cove_flags::parse(&mut flags, false, &words)
        .map_err(|stop| crate::cli::in_pflags_words(&stop))?;
    resolve(&flags.create, flags.detach, &args).map_err(|failure| failure.message)
}

#[test]
fn flags_become_a_request() {
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
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    assert_eq!(
        (request.name.as_deref(), request.image.as_str()),
        (Some("web"), "image")
    );
    assert_eq!(request.run.cmd, words(&["-x", "--rm"]));
    assert_eq!(request.run.entrypoint, words(&["e"]));
    assert!(request.terminal && request.open_stdin && request.stdin_once && request.auto_remove);
    assert_eq!(request.run.env, ["A=1", "B=2"]);
    assert_eq!(
        (request.run.user.as_str(), request.run.working_dir.as_str()),
        ("1:2", "/x")
    );
    assert_eq!(request.run.labels["x"], "y");
    assert_eq!(request.run.labels["z"], "");
    assert!(request.run.exposed_ports.contains_key("80/tcp"));
    assert_eq!(request.mounts[0].source, Path::new("/a"));
    assert_eq!(request.mounts[1].kind, "tmpfs");
    assert_eq!(request.limits.memory, 64 << 20);
    assert_eq!(request.limits.memory_swap, -1);
    assert_eq!(request.limits.nano_cpus, 500_000_000);
    assert_eq!(request.limits.pids, Some(0));
    assert_eq!(request.cap_add, ["net_admin"]);
    assert_eq!(request.security_options, ["no-new-privileges"]);
    assert_eq!(request.network, NetworkRequest::Host);
    assert_eq!(
        (request.hostname.as_str(), request.stop_timeout),
        ("h", Some(3))
    );
    assert_eq!(request.log.options["max-size"], "1m");
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
        let attach = request(args).unwrap().attach;
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
    assert_eq!(request.dns_options, ["b", "a"]);
}

#[test]
fn mistakes_are_told_in_dockers_words() {
    for (args, message) in [
        (
            &["--restart", "on-failure:x", "x"] as &[&str],
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
        (&["--network", "", "x"], "no name set for network"),
        (
            &["--security-opt", "foo", "x"],
            "Invalid --security-opt: \"foo\"",
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
            &["--device", "/dev/null:/dev/x:q", "x"],
            "bad mode specified: q",
        ),
        (&["-v", "/a:/b:zz", "x"], "invalid mode: zz"),
        (
            &["--expose", "a", "x"],
            "invalid range format for --expose: a, error: strconv.ParseUint: parsing \"a\": invalid syntax",
        ),
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
