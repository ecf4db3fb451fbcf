//! The help texts, of the whole and of each command.

/// A command as its help describes it.
struct Command {
    name: &'static str,
    about: &'static str,
    /// What follows its name.
    arguments: &'static str,
    options: &'static [(&'static str, &'static str)],
    /// More that has to be known.
    more: &'static str,
}

const BUNDLE: (&str, &str) = ("--bundle DIR, -b DIR", "the bundle (default .)");
const CONFIG: (&str, &str) = (
    "--config FILE, -f FILE",
    "read FILE, not the bundle's config.json",
);
const CONSOLE: (&str, &str) = (
    "--console-socket PATH",
    "a Unix socket that receives the terminal's master side",
);
const PIDFD: (&str, &str) = ("--pidfd-socket PATH", "a Unix socket that receives a pidfd");
const PID_FILE: (&str, &str) = ("--pid-file FILE", "write the process id to FILE");
const PRESERVE: (&str, &str) = (
    "--preserve-fds N",
    "hand N descriptors from 3 on to the process, beside $LISTEN_FDS",
);
const NO_PIVOT: (&str, &str) = ("--no-pivot", "do not change the root by pivot_root");
const NO_KEYRING: (&str, &str) = ("--no-new-keyring", "keep the caller's session keyring");
const DETACH: (&str, &str) = ("--detach, -d", "do not wait for the process");
const LIST_FORMAT: (&str, &str) = ("--format FORMAT, -f FORMAT", "table (default) or json");

const COMMANDS: &[Command] = &[
    Command {
        name: "create",
        about: "create a container",
        arguments: "[options] ID",
        options: &[
            BUNDLE, CONFIG, CONSOLE, PIDFD, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE,
        ],
        more: "",
    },
    Command {
        name: "start",
        about: "run the program of a created container",
        arguments: "ID",
        options: &[],
        more: "",
    },
    Command {
        name: "run",
        about: "create and start a container",
        arguments: "[options] ID",
        options: &[
            BUNDLE,
            CONFIG,
            CONSOLE,
            PIDFD,
            PID_FILE,
            NO_PIVOT,
            NO_KEYRING,
            PRESERVE,
            DETACH,
            ("--keep", "do not delete the container when it has ended"),
            (
                "--no-subreaper",
                "leave what the container leaves behind to others",
            ),
        ],
        more: "",
    },
    Command {
        name: "exec",
        about: "run another process in a container",
        arguments: "[options] ID COMMAND [ARGUMENT...]\n   cove oci exec [options] --process FILE ID",
        options: &[
            ("--process FILE, -p FILE", "take the process from FILE"),
            ("--cwd DIR", "its working directory"),
            (
                "--env NAME=VALUE, -e NAME=VALUE",
                "set a variable, instead of the container's",
            ),
            ("--tty, -t", "give it a terminal"),
            ("--user UID[:GID], -u UID[:GID]", "its user and group"),
            (
                "--additional-gids GID, -g GID",
                "one more supplementary group",
            ),
            ("--cap CAP, -c CAP", "one more capability"),
            ("--no-new-privs", "it can gain no privileges"),
            ("--apparmor PROFILE", "its AppArmor profile"),
            ("--process-label LABEL", "its SELinux label"),
            DETACH,
            PID_FILE,
            CONSOLE,
            PIDFD,
            PRESERVE,
            ("--cgroup PATH", "a cgroup below the container's"),
            ("--ignore-paused", "also when the container is paused"),
        ],
        more: "\
The process begins as the container's own, which the options change. With
--process, as with runc, those from --cwd to --process-label have no effect,
and what FILE says nothing of comes from the container: AppArmor profile,
process label, rlimits, capabilities, OOM score, scheduler, I/O priority and
execCPUAffinity.
",
    },
    Command {
        name: "state",
        about: "print the state of a container",
        arguments: "ID",
        options: &[],
        more: "",
    },
    Command {
        name: "kill",
        about: "send a signal to a container's first process",
        arguments: "[options] ID [SIGNAL]",
        options: &[("--all, -a", "to all processes of the container")],
        more: "\
SIGNAL is a name or a number, TERM unless told. 0 sends nothing: the command
fails when the container has ended.
",
    },
    Command {
        name: "delete",
        about: "remove a container",
        arguments: "[options] ID",
        options: &[
            (
                "--force, -f",
                "kill it first; one that is gone is no mistake",
            ),
            (
                "--regex, -r",
                "ID is a regular expression: remove all that have a match",
            ),
        ],
        more: "",
    },
    Command {
        name: "list",
        about: "list containers",
        arguments: "[options]",
        options: &[LIST_FORMAT, ("--quiet, -q", "ids only")],
        more: "",
    },
    Command {
        name: "ps",
        about: "list the processes of a container",
        arguments: "[options] ID [PS OPTION...]",
        options: &[LIST_FORMAT],
        more: "The table is made by ps(1), from -ef unless told otherwise.\n",
    },
    Command {
        name: "pause",
        about: "freeze a container's processes",
        arguments: "ID",
        options: &[],
        more: "",
    },
    Command {
        name: "resume",
        about: "let them go on",
        arguments: "ID",
        options: &[],
        more: "",
    },
    Command {
        name: "update",
        about: "change limits",
        arguments: "[options] ID",
        options: &[
            (
                "--resources FILE, -r FILE",
                "the resources of a specification, - for standard input",
            ),
            ("--blkio-weight N", "weight of block I/O, 10 to 1000"),
            ("--cpu-period N", "CPU period, in microseconds"),
            ("--cpu-quota N", "CPU time in a period, in microseconds"),
            ("--cpu-burst N", "CPU time that may be saved up"),
            ("--cpu-share N", "CPU shares"),
            ("--cpu-rt-period N", "real-time period"),
            ("--cpu-rt-runtime N", "real-time runtime"),
            ("--cpu-idle N", "1 makes it an idle group"),
            ("--cpuset-cpus LIST", "processors, as in 0-2,7"),
            ("--cpuset-mems LIST", "memory nodes"),
            ("--memory BYTES", "memory limit"),
            ("--memory-reservation BYTES", "soft memory limit"),
            (
                "--memory-swap BYTES",
                "limit of memory and swap, -1 for none",
            ),
            ("--kernel-memory BYTES", "obsolete"),
            ("--kernel-memory-tcp BYTES", "obsolete"),
            ("--pids-limit N", "most processes"),
        ],
        more: "BYTES may have a unit: 64m, 1.5GiB.\n",
    },
    Command {
        name: "events",
        about: "print usage and out-of-memory events",
        arguments: "[options] ID",
        options: &[
            ("--interval DURATION", "between two prints (default 5s)"),
            ("--stats", "print usage once"),
        ],
        more: "",
    },
    Command {
        name: "spec",
        about: "write a config.json to start from",
        arguments: "[options]",
        options: &[
            ("--bundle DIR, -b DIR", "where to (default .)"),
            ("--rootless", "for a container of an ordinary user"),
        ],
        more: "",
    },
    Command {
        name: "features",
        about: "print what this runtime can do",
        arguments: "",
        options: &[],
        more: "",
    },
];

const GLOBALS: &[(&str, &str)] = &[
    (
        "--root DIR",
        "where state is kept (default /run/cove/oci, or $XDG_RUNTIME_DIR/cove/oci for other users \
         than root)",
    ),
    (
        "--config FILE",
        "what create and run read instead of the bundle's config.json",
    ),
    ("--log FILE", "write errors to FILE as well"),
    ("--log-format FORMAT", "text (default) or json"),
    (
        "--log-level LEVEL",
        "the least that is written: debug, info, warning (default) or error",
    ),
    ("--debug", "--log-level debug"),
    (
        "--systemd-cgroup",
        "cgroupsPath is slice:prefix:name, made by systemd",
    ),
    (
        "--cgroup-manager cgroupfs|systemd|disabled",
        "who makes cgroups; disabled: nobody, the container stays in the caller's",
    ),
    (
        "--rootless true|false|auto",
        "whose default for --root holds (auto: the user's)",
    ),
    (
        "--help, -h",
        "print this; after a command, how that is used",
    ),
    ("--version, -v", ""),
];

/// The help of the whole.
pub(crate) fn general() -> String {
    let commands: Vec<_> = COMMANDS.iter().map(|one| (one.name, one.about)).collect();
    format!(
        "\
cove oci - runs containers from bundles of the OCI runtime specification

USAGE:
   cove oci [global options] command [command options] [arguments...]

COMMANDS:
{}
GLOBAL OPTIONS:
{}",
        table(&commands),
        table(GLOBALS)
    )
}

/// The help of one command; `None` if there is no such command.
pub(crate) fn of(name: &str) -> Option<String> {
    let command = COMMANDS.iter().find(|one| one.name == name)?;
    let usage = format!("cove oci {name} {}", command.arguments);
    let mut text = format!(
        "cove oci {name} - {}\n\nUSAGE:\n   {}\n\nOPTIONS:\n",
        command.about,
        usage.trim_end()
    );
    let mut options = command.options.to_vec();
    options.push(("--help, -h", "print this"));
    text.push_str(&table(&options));
    if !command.more.is_empty() {
        text.push('\n');
        text.push_str(command.more);
    }
    Some(text)
}

/// Two columns; a text that is long goes on below itself.
fn table(rows: &[(&str, &str)]) -> String {
    const WIDTH: usize = 80;
    let left = rows.iter().map(|row| row.0.len()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (name, about) in rows {
        let mut line = format!("   {name:<left$}");
        for word in about.split(' ') {
            if line.len() + word.len() > WIDTH && !line.trim().is_empty() {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(left + 3);
            }
            line.push_str(word);
            line.push(' ');
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_readable() {
        let texts = COMMANDS.iter().filter_map(|one| of(one.name));
        for text in texts.chain([general()]) {
            for line in text.lines() {
                assert!(line.len() <= 80 && line == line.trim_end(), "{line:?}");
            }
        }
        assert!(of("none").is_none());
        let exec = of("exec").unwrap();
        assert!(exec.contains("\n   --cwd DIR   "), "{exec}");
    }
}
