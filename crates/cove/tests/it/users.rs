//! Whose command it is, which build answers, and in which time zone: what is
//! told to a user about anything but containers.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use testkit::cmd::Cmd;

use crate::support::{IMAGE, cove};

#[test]
fn an_ordinary_user_is_told_where_roots_containers_are() {
    let cove = cove();
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open.clone()).unwrap();
    // A test may stand where other users cannot go.
    let program = directory.path().join("cove");
    std::fs::copy(cove.program(), &program).unwrap();
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    // The system's installation of this machine, or one in a namespace of the test's own.
    let script = "mount -t tmpfs none /var/lib && mkdir -m 700 /var/lib/cove && shift && \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let user = |words: &[&str]| {
        Cmd::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", "x"])
            .arg(&program)
            .args(words)
            .env("HOME", &home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("COVE_ROOT")
            .env_remove("COVE_RUNROOT")
    };
    let runroot = home.join("run");
    let runroot = runroot.to_str().unwrap();
    for (words, what) in [
        (
            &["ps"][..],
            "containers; root's are listed by 'sudo cove ps'",
        ),
        (
            &["ps", "-aq"],
            "containers; root's are listed by 'sudo cove ps'",
        ),
        (
            &["image", "ls"],
            "images; root's are listed by 'sudo cove image ls'",
        ),
    ] {
        let output = user(&[&["--runroot", runroot], words].concat()).ok();
        assert_eq!(output.err(), format!("These are your own {what}\n"));
    }
    // Who names another place looks there.
    let own = home.join("own");
    let output = user(&["--root", own.to_str().unwrap(), "--runroot", runroot, "ps"]).ok();
    assert_eq!(output.err(), "");
    let output = user(&["--root", "/var/lib/cove", "--runroot", runroot, "ps"]).run();
    assert_eq!(
        (output.code(), output.err().as_str()),
        (
            1,
            "Error: /var/lib/cove belongs to root: run this command as root\n"
        )
    );
}

#[test]
fn what_is_not_built_yet_says_so() {
    let cove = cove();
    for words in [
        &["build", "."][..],
        &["compose", "up"],
        &["network", "ls"],
        &["volume", "create"],
        &["container", "stats"],
        &["image", "push", "x"],
        &["help", "buildx"],
    ] {
        let said = cove.fails(1, words);
        assert!(said.contains("is not built yet"), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let said = cove.fails(1, &["nonsense"]);
    assert!(said.contains("unknown command"), "{said}");
}

#[test]
fn the_build_is_named() {
    let cove = cove();
    let git = |words: &[&str]| {
        let output = Cmd::new("git")
            .arg("-C")
            .arg(testkit::workspace())
            .args(words)
            .run();
        output.success().then(|| output.out().trim().to_owned())
    };
    let format = "{{.Client.GitCommit}} {{.Server.BuildTime}}";
    let said = cove.ok(&["version", "--format", format]);
    let (commit, date) = said.split_once(' ').unwrap();
    let Some(short) = git(&["rev-parse", "--short=7", commit]) else {
        // The sources are no checkout.
        assert_eq!((commit, date), ("", ""));
        return;
    };
    let seconds = git(&["log", "-1", "--format=%ct", commit]).unwrap();
    let format = "+%Y-%m-%dT%H:%M:%SZ";
    let wanted = Cmd::new("date")
        .args(["-u", "-d"])
        .arg(format!("@{seconds}"))
        .arg(format)
        .ok();
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        assert_eq!(date, wanted.out().trim());
    }
    assert!(
        cove.ok(&["--version"])
            .ends_with(&format!(", build {short}"))
    );
    assert!(
        cove.ok(&["version"])
            .contains(&format!("Git commit:        {short}\n"))
    );
    assert!(
        cove.ok(&["info"])
            .contains(&format!("Git Commit: {short}\n"))
    );
    let oci = Cmd::new(cove.program())
        .args(["oci", "--version"])
        .ok()
        .out();
    assert!(oci.contains(&format!("commit: {commit}\n")), "{oci}");
}

#[test]
fn times_are_shown_and_read_in_the_users_zone() {
    let cove = cove();
    cove.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        IMAGE,
        "sh",
        "-c",
        "echo out; sleep 1000",
    ]);
    let created = cove.ok(&["inspect", "-f", "{{.Created}}", "box"]);
    // Twelve hours east, as a rule, a file of rules, and a name with a colon.
    let zone = |zone: &str, words: &[&str]| {
        let output = cove.cmd(words).env("TZ", zone).ok();
        output.out().trim().to_owned()
    };
    let local = |format: &str| {
        let date = Cmd::new("date")
            .args(["-d", &created, format])
            .env("TZ", "XYZ-12");
        date.ok().out().trim().to_owned()
    };
    let shown = zone("XYZ-12", &["ps", "--format", "{{.CreatedAt}}"]);
    assert_eq!(shown, local("+%Y-%m-%d %H:%M:%S +1200 XYZ"));
    for bad in ["", "No/Where", ":", "/etc/passwd"] {
        let shown = zone(bad, &["ps", "--format", "{{.CreatedAt}}"]);
        assert!(shown.ends_with(" +0000 UTC"), "{bad}: {shown}");
    }
    // Documents and logs are UTC for everybody.
    assert_eq!(
        zone("XYZ-12", &["inspect", "-f", "{{.Created}}", "box"]),
        created
    );
    let stamp = zone("XYZ-12", &["logs", "-t", "box"]);
    assert!(stamp.split(' ').next().unwrap().ends_with('Z'), "{stamp}");
    // A moment without a zone is the user's.
    let before = local("+%Y-%m-%dT%H:%M:%S");
    assert!(zone("XYZ-12", &["logs", "--since", &before, "box"]).ends_with("out"));
    assert_eq!(
        zone("XYZ", &["logs", "--until", &before, "box"]),
        zone("XYZ", &["logs", "box"])
    );
    assert_eq!(zone("UTC", &["logs", "--since", &before, "box"]), "");
    let at = zone("XYZ-12", &["history", "--format", "{{.CreatedAt}}", IMAGE]);
    let at = at.lines().next().unwrap();
    assert!(at.ends_with("+12:00"), "{at}");
    let document: Value = serde_json::from_str(&zone("XYZ-12", &["inspect", "box"])).unwrap();
    assert!(
        document[0]["State"]["StartedAt"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
}
