//! Containers from their creation to their removal.

use std::path::Path;

use crate::support::{IMAGE, cove, lines};

#[test]
fn a_run_in_front_gives_its_output_and_status() {
    let cove = cove();
    let output = cove
        .cmd([
            "run",
            "--rm",
            IMAGE,
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])
        .run();
    assert_eq!(
        (output.code(), output.out().as_str(), output.err().as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(lines(&cove.ok(&["ps", "-aq"])), [""; 0]);
    // Signal 9 of a child, as a shell tells it.
    cove.exits(
        137,
        &[
            "run",
            "--rm",
            IMAGE,
            "sh",
            "-c",
            "sh -c 'kill -9 $$'; exit $?",
        ],
    );
}

#[test]
fn input_reaches_the_program_whole() {
    let cove = cove();
    let input: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let output = cove
        .cmd(["run", "--rm", "-i", IMAGE, "cat"])
        .input(input.clone())
        .ok();
    assert_eq!(output.stdout, input);
}

#[test]
fn the_built_in_image_needs_no_registry() {
    let cove = cove();
    let text = cove.ok(&["run", "--rm", "cove/hello"]);
    assert!(text.starts_with("Hello from Cove!"), "{text}");
    assert!(text.contains("1, alone in its own pid namespace"), "{text}");
    assert!(text.contains("loopback only"), "{text}");
}

#[test]
fn a_container_lives_through_its_whole_life() {
    let cove = cove();
    let script = "echo first; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let id = cove.ok(&[
        "run", "-d", "--name", "web", "-l", "a=b", IMAGE, "sh", "-c", script,
    ]);
    assert_eq!(id.len(), 64);
    let row = cove.ok(&[
        "ps",
        "--format",
        "{{.ID}} {{.Names}} {{.State}} {{.Label \"a\"}}",
    ]);
    assert_eq!(row, format!("{} web running b", &id[..12]));
    assert_eq!(
        cove.ok(&[
            "exec",
            "-e",
            "X=1",
            "-w",
            "/tmp",
            "web",
            "sh",
            "-c",
            "echo $X $PWD"
        ]),
        "1 /tmp"
    );
    cove.exits(9, &["exec", "web", "sh", "-c", "exit 9"]);
    assert_eq!(cove.ok(&["logs", "--tail", "1", "web"]), "first");
    assert_eq!(cove.ok(&["pause", "web"]), "web");
    assert_eq!(
        cove.ok(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.Paused}}",
            "web"
        ]),
        "paused true"
    );
    cove.fails(1, &["exec", "web", "true"]);
    cove.ok(&["unpause", "web"]);
    cove.ok(&["rename", "web", "shop"]);
    for (filter, names) in [("name=^/sh.p$", "shop"), ("name=^ho", ""), ("name=(", "")] {
        let listed = ["ps", "--filter", filter, "--format", "{{.Names}}"];
        assert_eq!(cove.ok(&listed), names, "{filter}");
    }
    assert!(cove.ok(&["top", "shop"]).contains("echo first"));
    assert!(cove.fails(1, &["rm", "shop"]).contains("running"));
    assert_eq!(cove.ok(&["stop", "shop"]), "shop");
    assert_eq!(
        cove.ok(&["inspect", "-f", "{{.State.ExitCode}}", "shop"]),
        "3"
    );
    assert_eq!(cove.ok(&["wait", "shop"]), "3");
    assert_eq!(cove.ok(&["start", "shop"]), "shop");
    assert_eq!(cove.ok(&["kill", "-s", "KILL", "shop"]), "shop");
    assert_eq!(cove.ok(&["wait", "shop"]), "137");
    assert_eq!(cove.ok(&["rm", "shop"]), "shop");
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_created_container_starts_attached() {
    let cove = cove();
    cove.ok(&[
        "create",
        "--name",
        "box",
        "-i",
        IMAGE,
        "sh",
        "-c",
        "cat; exit 4",
    ]);
    assert_eq!(cove.ok(&["ps", "-a", "--format", "{{.Status}}"]), "Created");
    let output = cove.cmd(["start", "-ai", "box"]).input("hello\n").run();
    assert_eq!((output.code(), output.out().as_str()), (4, "hello\n"));
    assert_eq!(cove.ok(&["logs", "box"]), "hello");
}

#[test]
fn changes_are_shown_committed_and_exported() {
    let cove = cove();
    cove.ok(&[
        "run",
        "--name",
        "box",
        IMAGE,
        "sh",
        "-c",
        "echo new > /new; rm /etc/passwd",
    ]);
    let diff = cove.ok(&["diff", "box"]);
    assert!(
        lines(&diff).contains(&"A /new") && lines(&diff).contains(&"D /etc/passwd"),
        "{diff}"
    );
    let id = cove.ok(&[
        "commit",
        "-m",
        "why",
        "-c",
        "CMD [\"cat\", \"/new\"]",
        "box",
        "made:1",
    ]);
    assert!(id.starts_with("sha256:"));
    assert_eq!(cove.ok(&["run", "--rm", "made:1"]), "new");
    assert_eq!(cove.ok(&["inspect", "-f", "{{.Comment}}", "made:1"]), "why");
    let output = cove.cmd(["export", "box"]).ok();
    let mut names = Vec::new();
    for entry in tar::Archive::new(output.stdout.as_slice())
        .entries()
        .unwrap()
    {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert!(names.iter().any(|name| name == "new"), "{names:?}");
    assert!(!names.iter().any(|name| name == "etc/passwd"));
}

#[test]
fn flags_reach_the_container() {
    let cove = cove();
    let ok = |args: &[&str]| cove.ok(&[&["run", "--rm"], args].concat());
    assert_eq!(ok(&["--hostname", "h", IMAGE, "hostname"]), "h");
    assert_eq!(
        ok(&[
            "-e",
            "A=1",
            "--env",
            "B=2 3",
            IMAGE,
            "sh",
            "-c",
            "echo $A-$B"
        ]),
        "1-2 3"
    );
    assert_eq!(ok(&["-u", "7:8", IMAGE, "id", "-u"]), "7");
    assert_eq!(ok(&["-w", "/usr", IMAGE, "pwd"]), "/usr");
    assert_eq!(ok(&["--entrypoint", "echo", IMAGE, "-n", "x"]), "x");
    assert_ne!(ok(&["--init", IMAGE, "sh", "-c", "echo $$"]), "1");
    assert_eq!(
        ok(&[
            "--tmpfs",
            "/t:size=1m",
            IMAGE,
            "sh",
            "-c",
            "grep -c ' /t tmpfs' /proc/mounts"
        ]),
        "1"
    );
    assert_eq!(
        ok(&["--ulimit", "nofile=64:128", IMAGE, "sh", "-c", "ulimit -n"]),
        "64"
    );
    assert_eq!(
        ok(&[
            "--cap-drop",
            "ALL",
            IMAGE,
            "grep",
            "CapEff",
            "/proc/self/status"
        ]),
        "CapEff:\t0000000000000000"
    );
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("f"), "from the host").unwrap();
    let bind = format!("{}:/mnt:ro", host.path().display());
    assert_eq!(ok(&["-v", &bind, IMAGE, "cat", "/mnt/f"]), "from the host");
    cove.fails(1, &["run", "--rm", "-v", &bind, IMAGE, "touch", "/mnt/g"]);
    for path in ["/g", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
        cove.fails(1, &["run", "--rm", "--read-only", IMAGE, "touch", path]);
    }
}

#[test]
fn inspect_has_dockers_fields_in_dockers_order() {
    let cove = cove();
    cove.ok(&[
        "create",
        "--name",
        "box",
        "-m",
        "64m",
        "-v",
        "/tmp:/mnt:ro",
        IMAGE,
        "true",
    ]);
    let text = cove.ok(&["inspect", "box"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&String> = document[0].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "Id",
            "Created",
            "Path",
            "Args",
            "State",
            "Image",
            "ResolvConfPath",
            "HostnamePath",
            "HostsPath",
            "LogPath",
            "Name",
            "RestartCount",
            "Driver",
            "Platform",
            "MountLabel",
            "ProcessLabel",
            "AppArmorProfile",
            "ExecIDs",
            "HostConfig",
            "GraphDriver",
            "Mounts",
            "Config",
            "NetworkSettings",
        ]
    );
    assert_eq!(document[0]["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(document[0]["HostConfig"]["Binds"][0], "/tmp:/mnt:ro");
    assert_eq!(document[0]["Mounts"][0]["RW"], false);
    assert_eq!(
        cove.ok(&[
            "inspect",
            "-f",
            "{{json .State.Status}} {{len .Mounts}}",
            "box"
        ]),
        "\"created\" 1"
    );
    let memory = || cove.ok(&["inspect", "-f", "{{.HostConfig.Memory}}", "box"]);
    assert_eq!(cove.ok(&["update", "-m", "128m", "box"]), "box");
    assert_eq!(memory(), (128 << 20).to_string());
    // With Docker 0 is "as it is": the kernel would keep the limit as well.
    cove.ok(&["update", "-m", "0", "--cpuset-cpus", "", "box"]);
    assert_eq!(memory(), (128 << 20).to_string());
}

#[test]
fn a_prune_leaves_alone_what_another_command_has() {
    let cove = cove();
    for name in ["one", "starting", "two"] {
        cove.ok(&["run", "--name", name, IMAGE, "true"]);
    }
    let id = cove.ok(&["inspect", "-f", "{{.Id}}", "starting"]);
    let runtime = cove.roots().runroot().join("containers").join(id);
    // As a supervisor that begins.
    let lock = testkit::supervisor::hold(&runtime);
    let output = cove.cmd(["container", "prune", "-f"]).ok();
    assert_eq!(output.out().lines().count(), 5, "{output}");
    assert_eq!(output.err(), "");
    assert_eq!(cove.ok(&["ps", "-a", "--format", "{{.Names}}"]), "starting");
    drop(lock);
    cove.ok(&["rm", "starting"]);
}

#[test]
fn an_update_holds_for_later_runs() {
    let cove = cove();
    let run = ["run", "-d", "--name", "box", "--pids-limit", "20", IMAGE];
    cove.ok(&[&run[..], &["sleep", "1000"]].concat());
    let limit = || {
        let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
        let cgroups = testkit::files::text(format!("/proc/{pid}/cgroup").as_ref()).unwrap();
        let own = cgroups.lines().find_map(|line| line.split_once(":pids:/"));
        let file = match own {
            Some((_, path)) => format!("/sys/fs/cgroup/pids/{path}/pids.max"),
            None => format!(
                "/sys/fs/cgroup/{}/pids.max",
                &cgroups.trim_end()["0::/".len()..]
            ),
        };
        testkit::files::text(file.as_ref()).unwrap()
    };
    assert_eq!(limit(), "20\n");
    cove.ok(&["update", "--pids-limit", "30", "box"]);
    assert_eq!(limit(), "30\n");
    cove.ok(&["restart", "-t", "0", "box"]);
    assert_eq!(limit(), "30\n");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn patience_is_said_in_dockers_ways() {
    let cove = cove();
    let run = ["run", "-d", "--name", "box", "--stop-timeout", "-1", IMAGE];
    let script = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done";
    cove.ok(&[&run[..], &["sh", "-c", script]].concat());
    let format = "{{.Config.StopTimeout}}";
    assert_eq!(cove.ok(&["inspect", "-f", format, "box"]), "-1");
    cove.ok(&["exec", "box", "sh", "-c", "until [ -e /ready ]; do :; done"]);
    cove.ok(&["stop", "box"]);
    assert_eq!(cove.ok(&["wait", "box"]), "3");
    cove.ok(&["restart", "--time", "0", "box"]);
    cove.ok(&["stop", "--time", "0", "box"]);
    cove.ok(&["rm", "box"]);
}

#[test]
fn templates_find_what_dockers_types_have_and_documents_leave_out() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", "-v", "/tmp:/mnt", IMAGE, "true"]);
    // As docker's own client shows them of a container and an image of dockerd 20.10.
    for (kind, name, fields) in [
        (
            "image",
            IMAGE,
            &[
                ("{{.Variant}}|{{.OsVersion}}|{{.RootFS.BaseLayer}}", "||"),
                ("{{.Container}}|{{.ContainerConfig.Image}}", "|"),
                ("{{eq .ID .Id}} {{eq .VirtualSize .Size}}", "true true"),
                (
                    "{{.Config.Healthcheck}} {{.Config.StopTimeout}}",
                    "<nil> <nil>",
                ),
                ("{{.Config.Shell}} {{.Config.ExposedPorts}}", "[] map[]"),
                ("{{json .Config.Volumes}} {{.Config.Volumes}}", "null map[]"),
            ] as &[_],
        ),
        (
            "container",
            "box",
            &[
                ("{{.State.Health}}", "<nil>"),
                (
                    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
                    "none",
                ),
                (
                    "{{json .State.Health}} {{.SizeRw}} {{.Node}}",
                    "null <nil> <nil>",
                ),
                (
                    "{{.HostConfig.Init}} {{.HostConfig.PidsLimit}}",
                    "<nil> <nil>",
                ),
                (
                    "{{.HostConfig.Tmpfs}} {{json .HostConfig.Tmpfs}} {{.HostConfig.Tmpfs.x}}",
                    "map[] null <no value>",
                ),
                (
                    "{{.HostConfig.StorageOpt}} {{.HostConfig.Mounts}}",
                    "map[] []",
                ),
                (
                    "{{.HostConfig.KernelMemory}} {{.HostConfig.NanoCPUs}}",
                    "0 0",
                ),
                ("{{.HostConfig.DNS}} {{.HostConfig.Dns}}", "[] []"),
                ("{{.Config.StopSignal}}|{{.Config.MacAddress}}", "|"),
                ("{{.Config.NetworkDisabled}}", "false"),
                (
                    "{{range .Mounts}}{{.Name}}|{{.Source}}|{{.Driver}}{{end}}",
                    "|/tmp|",
                ),
            ],
        ),
    ] {
        for (template, text) in fields {
            let shown = cove.ok(&[kind, "inspect", "-f", template, name]);
            assert_eq!(shown, *text, "{template}");
        }
        // What is found is still not shown.
        let whole = cove.ok(&[kind, "inspect", name]);
        for hidden in [
            "Variant",
            "ID",
            "Health",
            "SizeRw",
            "Tmpfs",
            "MacAddress\": null",
        ] {
            assert!(!whole.contains(&format!("\"{hidden}\"")), "{hidden}");
        }
        let json = cove.ok(&[kind, "inspect", "-f", "{{json .}}", name]);
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(json, whole[0].to_string());
    }
    let failed = cove.fails(1, &["inspect", "-f", "{{.State.Health.Status}}", "box"]);
    assert!(
        failed.contains("<.State.Health.Status>: map has no entry for key \"Health\""),
        "{failed}"
    );
}

#[test]
fn mounts_reach_a_slave_and_come_from_a_shared_one() {
    let cove = cove();
    let host = tempfile::tempdir().unwrap();
    // $0 is the directory, $@ is Cove. The mounts are those of a namespace of the test's own.
    let script = "set -e
        mount --make-rshared /
        mount -t tmpfs none $0
        \"$@\" run -d --name box -v $0:/mnt:rslave busybox:test sleep 1000 >&2
        mkdir $0/late
        mount -t tmpfs none $0/late
        touch $0/late/mark
        \"$@\" exec box ls /mnt/late
        \"$@\" rm -f box
        cat /proc/self/mountinfo >$0/before
        \"$@\" run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined \\
            -v $0:/mnt:rshared busybox:test \\
            sh -c 'mkdir /mnt/ours && mount -t tmpfs none /mnt/ours && touch /mnt/ours/mark'
        ls $0/ours
        umount $0/ours
        # Nothing else came or went.
        cmp /proc/self/mountinfo $0/before
        mount --make-private $0
        ! \"$@\" run --rm -v $0:/mnt:rslave busybox:test true || exit 1
        \"$@\" run --rm -v $0:/mnt:shared busybox:test true";
    let path = host.path().to_str().unwrap();
    let none: [&str; 0] = [];
    let output = cove
        .cmd(none)
        .under("unshare", &["--mount", "sh", "-c", script, path])
        .run();
    assert_eq!(output.out(), "mark\nbox\nmark\n", "{output}");
    for kind in ["shared or slave", "shared"] {
        let refusal = format!("path {path} is mounted on {path} but it is not a {kind} mount");
        assert!(output.err().contains(&refusal), "{output}");
    }
}

#[test]
fn ipc_is_joined_with_its_shared_memory() {
    let cove = cove();
    let shm = ["--ipc", "shareable", "--shm-size", "1m"];
    let sleep = [IMAGE, "sleep", "1000"];
    cove.ok(&[&["run", "-d", "--name", "giver"], &shm[..], &sleep].concat());
    let join = ["run", "-d", "--name", "taker", "--ipc", "container:giver"];
    cove.ok(&[&join[..], &sleep].concat());
    let own = |name: &str| cove.ok(&["exec", name, "readlink", "/proc/self/ns/ipc"]);
    assert_eq!(own("giver"), own("taker"));
    cove.ok(&["exec", "taker", "sh", "-c", "echo hello >/dev/shm/word"]);
    assert_eq!(cove.ok(&["exec", "giver", "cat", "/dev/shm/word"]), "hello");
    let size = "stat -f -c %b /dev/shm";
    assert_eq!(cove.ok(&["exec", "taker", "sh", "-c", size]), "256");
    // It stays when its giver goes, and the host never has it.
    cove.ok(&["rm", "-f", "giver"]);
    assert_eq!(cove.ok(&["exec", "taker", "cat", "/dev/shm/word"]), "hello");
    let table = Path::new("/proc/self/mountinfo");
    let table = cove_sys::fs::read_to_string(table, 1 << 20).unwrap();
    let runroot = cove.roots().runroot();
    assert!(!table.contains(runroot.to_str().unwrap()), "{table}");
    cove.ok(&["rm", "-f", "taker"]);
}
