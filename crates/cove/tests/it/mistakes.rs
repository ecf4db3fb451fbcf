//! What people do wrong: one sentence, Docker's exit status, nothing left.

use crate::support::{IMAGE, cove};

#[test]
fn each_mistake_has_its_sentence_and_status() {
    let cove = cove();
    cove.ok(&["create", "--name", "taken", IMAGE, "true"]);
    cove.ok(&["run", "-d", "--name", "up", IMAGE, "sleep", "1000"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (status, words, sentence) in [
        (
            127,
            &["run", "--rm", IMAGE, "nope"] as &[&str],
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            127,
            &["run", "--rm", IMAGE, "/nope/x"],
            "no such file or directory",
        ),
        (
            126,
            &["run", "--rm", IMAGE, "/etc/passwd"],
            "permission denied",
        ),
        (
            127,
            &["exec", "up", "nope"],
            "executable file not found in $PATH",
        ),
        (126, &["exec", "up", "/etc/passwd"], "permission denied"),
        (
            125,
            &["run", "--name", "taken", IMAGE],
            "Conflict. The container name \"/taken\" is already in use by container",
        ),
        (125, &["run", "--pull", "never", "nope"], "nope"),
        (
            125,
            &["run", "BAD"],
            "repository name (library/BAD) must be lowercase",
        ),
        (125, &["run", ""], "invalid reference format"),
        (1, &["run"], "'cove run' requires at least 1 argument"),
        (125, &["run", "--foo", IMAGE], "unknown flag: --foo"),
        (
            125,
            &["run", "-m", "abc", IMAGE],
            "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'",
        ),
        (
            125,
            &["run", "-m", "1", IMAGE],
            "Minimum memory limit allowed is 6MB",
        ),
        (
            125,
            &["run", "--network", "nope", IMAGE],
            "network nope not found",
        ),
        (125, &["run", "-p", "80:80", IMAGE], "no bridge network"),
        (
            125,
            &["run", "-v", "name:/x", IMAGE],
            "named and anonymous volumes are not supported yet",
        ),
        (
            125,
            &["run", "--env-file", "/nope", IMAGE],
            "open /nope: no such file or directory",
        ),
        (
            125,
            &["run", "--cidfile", path, IMAGE],
            "container ID file found",
        ),
        (
            125,
            &["run", "--rm", "-u", "nobody-here", IMAGE],
            "unable to find user nobody-here: no matching entries in passwd file",
        ),
        (
            125,
            &["run", "-w", "rel", IMAGE],
            "the working directory 'rel' is invalid",
        ),
        (
            125,
            &["run", "--entrypoint", "", IMAGE],
            "No command specified",
        ),
        (
            125,
            &["run", "--mount", "type=bind,source=/nope,target=/x", IMAGE],
            "bind source path does not exist: /nope",
        ),
        (1, &["run", "-it", IMAGE], "the input device is not a TTY"),
        (
            1,
            &["run", "-d", "-a", "stdout", IMAGE],
            "cannot specify both --attach and --detach",
        ),
        (
            1,
            &["rm", "up"],
            "Stop the container before attempting removal or force remove",
        ),
        (1, &["exec", "taken", "true"], "Error: Container "),
        (1, &["top", "taken"], "Error: Container "),
        (
            1,
            &["create", "--name", "taken", IMAGE, "true"],
            "Error: Conflict. The container name \"/taken\"",
        ),
        (
            1,
            &["create", "--restart", "foo", IMAGE],
            "Error: invalid restart policy 'foo'",
        ),
        (
            1,
            &["create", "--cap-add", "FOO", IMAGE],
            "Error: invalid CapAdd: unknown capability: \"CAP_FOO\"",
        ),
        (125, &["create", "--ulimit", "foo", IMAGE], "foo"),
        (
            1,
            &["update", "--memory", "4k", "taken"],
            "Error: Minimum memory limit allowed is 6MB",
        ),
        (
            1,
            &["rename", "up", "taken"],
            "Error: Error when allocating new name: Conflict. ",
        ),
        (1, &["rm", "nope"], "Error: No such container: nope"),
        (1, &["stop", "nope"], "Error: No such container: nope"),
        (1, &["start", "nope"], "failed to start containers: nope"),
        (1, &["logs", "nope"], "No such container: nope"),
        (
            1,
            &["logs", "--since", "foo", "up"],
            "failed to parse value as time or duration: \"foo\"",
        ),
        (1, &["inspect", "nope"], "Error: No such object: nope"),
        (
            1,
            &["inspect", "nope", "up", "neither"],
            "Error: No such object: nope\nError: No such object: neither\n",
        ),
        (1, &["image", "inspect", "nope"], "No such image: nope"),
        (
            1,
            &["inspect", "-f", "{{.Foo}}", "up"],
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            64,
            &["inspect", "-f", "{{", "up"],
            "template parsing error: template: :1: unclosed action",
        ),
        (
            1,
            &["ps", "--format", "{{.Foo}}"],
            "can't evaluate field Foo in type *formatter.ContainerContext",
        ),
        (1, &["ps", "--filter", "foo=bar"], "Invalid filter 'foo'"),
        (
            125,
            &["ps", "--filter", "foo"],
            "bad format of filter (expected name=value)",
        ),
        (
            1,
            &["attach", "taken"],
            "You cannot attach to a stopped container, start it first",
        ),
        (1, &["pause", "taken"], "is not running"),
        (
            1,
            &["kill", "-s", "FOO", "up"],
            "Error: Invalid signal: FOO",
        ),
        (
            1,
            &["kill", "nope"],
            "Error: Cannot kill container: nope: No such container: nope",
        ),
        (
            1,
            &["kill", "taken"],
            "Error: Cannot kill container: taken: Container ",
        ),
        (
            1,
            &["rmi", IMAGE],
            "Error: conflict: unable to remove repository reference \"busybox:test\" (must force) - container ",
        ),
        (
            1,
            &["rename", "up", "a b"],
            "Error when allocating new name: Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (1, &["tag", IMAGE, "BAD"], "is not a valid repository/tag"),
        (1, &["rmi", "nope"], "No such image: nope:latest"),
        (
            1,
            &["load", "-i", "/nope"],
            "open /nope: no such file or directory",
        ),
        (1, &["load", "-i", "/etc/passwd"], "tar"),
        (1, &["save", "nope"], "No such image: nope"),
        (1, &["update", "up"], "you must provide one or more flags"),
        (
            125,
            &["update", "--kernel-memory", "9m", "up"],
            "the kernel no longer supports a limit of kernel memory",
        ),
        (
            125,
            &["start", "--checkpoint", "a", "taken"],
            "checkpoints are not supported",
        ),
        (
            1,
            &["system", "df", "-v", "--format", "json"],
            "the verbose and the format options conflict",
        ),
        (
            125,
            &["run", "--rm", "--ipc", "container:up", IMAGE, "true"],
            ": non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        ),
        (1, &["nope"], "cove: unknown command: cove nope"),
        (
            1,
            &["login", "-u", "a"],
            "Cannot perform an interactive login from a non TTY device",
        ),
    ] {
        let output = cove.cmd(words).input("").run();
        assert_eq!(output.code(), status, "{words:?}: {output}");
        assert!(output.err().contains(sentence), "{words:?}: {output}");
    }
    assert_eq!(
        cove.ok(&["ps", "-a", "--format", "{{.Names}}"]),
        "up\ntaken"
    );
    cove.ok(&["rm", "-f", "up", "taken"]);
    assert_eq!(cove.ok(&["rm", "-f", "nope"]), "");
}
