//! The flags of `create` and `run` with values for them, right and nearly right.

use testkit::rng::Rng;

/// A command line, so far as it is chosen.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// `create`, or `run --rm`.
    pub(super) create: bool,
    /// Each flag with its value.
    pub(super) flags: Vec<(&'static str, Option<String>)>,
    image: &'static str,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Nothing,
    Bool,
    Size,
    Number(&'static str),
    Decimal,
    /// One of these; of the second list when it shall be wrong.
    Words(&'static [&'static str], &'static [&'static str]),
}

const FLAGS: &[(&str, Takes)] = &[
    ("--memory", Takes::Size),
    ("--memory-reservation", Takes::Size),
    ("--memory-swap", Takes::Size),
    ("--shm-size", Takes::Size),
    ("--cpu-shares", Takes::Number("0-2048")),
    ("--cpu-period", Takes::Number("1000-1000000")),
    ("--cpu-quota", Takes::Number("1000-500000")),
    ("--cpus", Takes::Decimal),
    (
        "--cpuset-cpus",
        Takes::Words(&["0", "0-1", "0,1", "1"], &["2-1", "99", "a", "0-"]),
    ),
    ("--cpuset-mems", Takes::Words(&["0"], &["7", "x"])),
    ("--pids-limit", Takes::Number("1-1000")),
    ("--oom-score-adj", Takes::Number("0-1000")),
    ("--memory-swappiness", Takes::Number("0-100")),
    ("--stop-timeout", Takes::Number("0-100")),
    ("--oom-kill-disable", Takes::Bool),
    ("--init", Takes::Bool),
    ("--read-only", Takes::Bool),
    ("--tty", Takes::Bool),
    ("--interactive", Takes::Bool),
    ("--no-healthcheck", Takes::Nothing),
    (
        "--ulimit",
        Takes::Words(
            &[
                "nofile=100",
                "nofile=100:200",
                "core=0",
                "nproc=50:60",
                "stack=8192:-1",
                "cpu=10",
            ],
            &[
                "nofile",
                "nofile=x",
                "frob=1",
                "nofile=3:2",
                "nofile=1:2:3",
                "=1",
                "nofile=",
            ],
        ),
    ),
    (
        "--env",
        Takes::Words(
            &[
                "A=1",
                "A=2",
                "B=two words",
                "C=",
                "PATH=/bin",
                "HOME=/x",
                "TERM=dumb",
                "D=$A",
                "E=a=b",
                "a.b=1",
                "HOSTNAME=h",
            ],
            &["=1", ""],
        ),
    ),
    (
        "--label",
        Takes::Words(
            &["a=1", "a=2", "b", "c=", "d=e=f", "a.b/c=1"],
            &["=1", "", "a b=c", " a=1"],
        ),
    ),
    (
        "--user",
        Takes::Words(
            &[
                "0",
                "root",
                "1000",
                "ann",
                "1000:29",
                "ann:audio",
                "4242",
                "4242:4343",
                ":29",
            ],
            &["nope", "ann:nope", "-1", "a b", "99999999999", "1:2:3"],
        ),
    ),
    (
        "--group-add",
        Takes::Words(
            &["29", "audio", "4343", "0"],
            &["nope", "-1", "99999999999"],
        ),
    ),
    (
        "--workdir",
        Takes::Words(&["/tmp", "/new", "/etc/..", "/a b"], &["tmp", "."]),
    ),
    (
        "--hostname",
        Takes::Words(
            &["box", "a.b.c", "UPPER", "a_b"],
            &["a b", "-", "a..b", "ä"],
        ),
    ),
    (
        "--domainname",
        Takes::Words(&["example.org", "x"], &["a b"]),
    ),
    (
        "--entrypoint",
        Takes::Words(&["sh", "/bin/sh", "env"], &["nope"]),
    ),
    (
        "--volume",
        Takes::Words(
            &[
                "/usr:/mnt",
                "/usr:/mnt:ro",
                "/usr:/data:ro,rslave",
                "/usr:/mnt:rw",
                "/usr:/mnt/deep/er",
            ],
            &[
                "/usr:mnt",
                "/usr:/",
                "/usr:/mnt:x",
                "/usr:/mnt:ro,rw",
                "/a:/b:c:d",
                ":/mnt",
                "/usr:",
            ],
        ),
    ),
    (
        "--mount",
        Takes::Words(
            &[
                "type=bind,src=/usr,dst=/mnt",
                "type=bind,source=/usr,target=/mnt,readonly",
                "type=bind,src=/usr,dst=/mnt,bind-propagation=rslave",
                "type=tmpfs,dst=/t",
                "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
            ],
            &[
                "type=bind,src=/nope,dst=/mnt",
                "type=bind,dst=/mnt",
                "type=frob,dst=/t",
                "type=tmpfs,src=/x,dst=/t",
                "dst",
                "type=bind,src=/usr,dst=mnt",
                "type=tmpfs,dst=/t,tmpfs-size=x",
            ],
        ),
    ),
    (
        "--tmpfs",
        Takes::Words(
            &[
                "/t",
                "/t:size=1m",
                "/t:mode=1777,size=64k",
                "/t:ro",
                "/t:exec",
            ],
            &["t", "/t:frob", "/"],
        ),
    ),
    (
        "--cap-add",
        Takes::Words(
            &["NET_ADMIN", "CAP_SYS_TIME", "sys_nice", "ALL"],
            &["FROB", "CAP_"],
        ),
    ),
    (
        "--cap-drop",
        Takes::Words(&["CHOWN", "ALL", "cap_kill"], &["FROB", ""]),
    ),
    (
        "--security-opt",
        Takes::Words(
            &[
                "no-new-privileges",
                "no-new-privileges:true",
                "seccomp=unconfined",
            ],
            &["frob", "frob=1", "seccomp=/nope", "no-new-privileges=x"],
        ),
    ),
    (
        "--sysctl",
        Takes::Words(
            &["kernel.msgmax=1234", "kernel.shmmni=100"],
            &["frob", "frob=1", "vm.swappiness=1", "=1"],
        ),
    ),
    (
        "--dns",
        Takes::Words(&["1.1.1.1", "2001:db8::1"], &["nope", "1.1.1", ""]),
    ),
    (
        "--dns-search",
        Takes::Words(&["example.org", ".", "a.b"], &["a b"]),
    ),
    (
        "--dns-option",
        Takes::Words(&["ndots:3", "timeout:1"], &[""]),
    ),
    (
        "--add-host",
        Takes::Words(
            &["db:10.1.2.3", "db:::1", "a.b:1.2.3.4"],
            &["db", "db:x", ":1.2.3.4", "db:"],
        ),
    ),
    (
        "--expose",
        Takes::Words(
            &["80", "81/udp", "90-92", "95/sctp"],
            &["x", "70000", "90-80", "80/", ""],
        ),
    ),
    (
        "--restart",
        Takes::Words(
            &[
                "no",
                "always",
                "unless-stopped",
                "on-failure",
                "on-failure:3",
            ],
            &["frob", "always:3", "on-failure:x", "no:1", ":1"],
        ),
    ),
    (
        "--stop-signal",
        Takes::Words(&["TERM", "SIGINT", "9", "RTMIN+1"], &["FROB", "0", "99"]),
    ),
    (
        "--ipc",
        Takes::Words(
            &["private", "shareable", "host", "none"],
            &["frob", "container:nope"],
        ),
    ),
    (
        "--pid",
        Takes::Words(&["host"], &["frob", "container:nope"]),
    ),
    ("--uts", Takes::Words(&["host"], &["frob"])),
    ("--cgroupns", Takes::Words(&["host", "private"], &["frob"])),
    (
        "--network",
        Takes::Words(&["none", "host"], &["nope", "container:nope"]),
    ),
    (
        "--device",
        Takes::Words(
            &["/dev/null", "/dev/null:/dev/x", "/dev/zero:/dev/x:r"],
            &["/dev/nope", "/dev/null:/dev/x:q", "null"],
        ),
    ),
    (
        "--device-cgroup-rule",
        Takes::Words(&["c 1:3 r", "b *:* rwm"], &["c 1:3", "x 1:1 r", ""]),
    ),
    (
        "--log-driver",
        Takes::Words(&["json-file", "none", "local"], &["frob"]),
    ),
    (
        "--log-opt",
        Takes::Words(
            &["max-size=1m", "max-file=2"],
            &["frob=1", "max-size=x", "x"],
        ),
    ),
    (
        "--attach",
        Takes::Words(&["stdout", "STDERR", "stdin"], &["frob"]),
    ),
    ("--blkio-weight", Takes::Number("10-1000")),
];

impl Line {
    pub(super) fn compose(rng: &mut Rng) -> Self {
        let create = rng.below(3) != 0;
        let mut flags = Vec::new();
        for _ in 0..=rng.below(4) {
            let (name, takes) = pick(rng, FLAGS);
            // A program for the probe is there in a run.
            if !create && *name == "--entrypoint" {
                continue;
            }
            let wrong = rng.below(6) == 0;
            flags.push((*name, value(rng, *takes, wrong)));
        }
        let image = if create && rng.below(4) == 0 {
            "app"
        } else {
            "busybox"
        };
        Self {
            create,
            flags,
            image,
        }
    }

    /// For a shell; `$C` is a name for the container.
    pub(super) fn text(&self) -> String {
        let mut words = vec![
            if self.create { "create" } else { "run --rm" }.to_owned(),
            "--name $C".to_owned(),
        ];
        for (name, value) in &self.flags {
            words.push(match value {
                Some(value) => format!("{name}='{value}'"),
                None => (*name).to_owned(),
            });
        }
        words.push(self.image.to_owned());
        words.join(" ")
    }

    /// The line without one of its flags.
    pub(super) fn without(&self, name: &str) -> Self {
        let mut line = self.clone();
        line.flags.retain(|(flag, _)| *flag != name);
        line
    }

    #[cfg(test)]
    pub(super) fn of(flags: &[(&'static str, &str)]) -> Self {
        let flag = |(name, value): &(&'static str, &str)| (*name, Some((*value).to_owned()));
        Self {
            create: true,
            flags: flags.iter().map(flag).collect(),
            image: "busybox",
        }
    }

    /// The flags' names.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.flags.iter().map(|(name, _)| *name).collect();
        names.join(" ")
    }
}

fn value(rng: &mut Rng, takes: Takes, wrong: bool) -> Option<String> {
    Some(match takes {
        Takes::Nothing => return None,
        Takes::Bool if wrong => (*pick(rng, &["maybe", "", "2"])).to_owned(),
        Takes::Bool => (*pick(rng, &["true", "false", "1", "0", "t", "F", "TRUE"])).to_owned(),
        Takes::Size if wrong => {
            (*pick(rng, &["", "-5", "x", "1x", "1kk", "m", "1,5m", "0x10"])).to_owned()
        }
        Takes::Size => {
            let unit = pick(
                rng,
                &["", "b", "k", "K", "kb", "m", "M", "mb", "MiB", "g", "GiB"],
            );
            format!("{}{unit}", rng.below(200))
        }
        Takes::Number(_) if wrong => (*pick(
            rng,
            &[
                "",
                "x",
                "-1",
                "1.5",
                "99999999999999999999",
                "0x10",
                "1e3",
                "70000",
                "-2000",
            ],
        ))
        .to_owned(),
        Takes::Number(range) => {
            let mut ends = range.split('-').map(|end| end.parse::<u64>().unwrap_or(0));
            let (low, high) = (ends.next().unwrap_or(0), ends.next().unwrap_or(0));
            (low + rng.below(high - low + 1)).to_string()
        }
        Takes::Decimal if wrong => {
            (*pick(rng, &["", "x", "-1", "0", "1000", "1..2", "0.0000000001"])).to_owned()
        }
        Takes::Decimal => {
            (*pick(rng, &["1", "0.5", ".25", "1.", "1/2", "2", "0.01", "1e-1"])).to_owned()
        }
        Takes::Words(_, bad) if wrong => (*pick(rng, bad)).to_owned(),
        Takes::Words(good, _) => (*pick(rng, good)).to_owned(),
    })
}

fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    let n = usize::try_from(rng.below(all.len() as u64)).unwrap_or(0);
    &all[n]
}
