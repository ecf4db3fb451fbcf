//! Docker's documents, whole: every field, in its place. What differs from run to run
//! (ids, times, paths, sizes) is named instead of shown.
//!
//! `COVE_GOLDEN=write` makes the files anew.

use std::path::{Path, PathBuf};

use regex::Regex;
use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// Containers by the name of their document, and what they are made with.
const CONTAINERS: &[(&str, &[&str])] = &[
    ("bare", &[IMAGE, "true"]),
    (
        "full",
        &[
            "--hostname=host",
            "--domainname=example.org",
            "--user=ann:audio",
            "--group-add=29",
            "--env=A=1",
            "--env=B=<&>",
            "--expose=80",
            "--expose=53/udp",
            "--label=one=1",
            "--label=empty",
            "--label=a.b/c=d e",
            "--annotation=k=v",
            "-it",
            "--workdir=/home",
            "--entrypoint=/bin/sh",
            "--volume=/proc/self:/a:ro",
            "--volume=/usr:/b:rslave",
            "--mount=type=bind,source=/usr,target=/c,readonly,bind-propagation=rprivate,bind-nonrecursive",
            "--mount=type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=1770",
            "--tmpfs=/e:size=2m,mode=700",
            "--tmpfs=/f",
            "--memory=64m",
            "--memory-reservation=32m",
            "--memory-swap=128m",
            "--memory-swappiness=10",
            "--cpus=0.5",
            "--cpu-shares=512",
            "--cpuset-cpus=0",
            "--cpuset-mems=0",
            "--pids-limit=100",
            "--oom-kill-disable",
            "--oom-score-adj=100",
            "--ulimit=nofile=10:20",
            "--ulimit=core=-1",
            "--sysctl=net.ipv4.ip_forward=1",
            "--device=/dev/null:/dev/zero1:r",
            "--device-cgroup-rule=c 1:3 rwm",
            "--cap-add=NET_ADMIN",
            "--cap-drop=CHOWN",
            "--security-opt=no-new-privileges",
            "--read-only",
            "--shm-size=1m",
            "--init",
            "--dns=1.1.1.1",
            "--dns-search=example.org",
            "--dns-option=ndots:2",
            "--add-host=a:1.2.3.4",
            "--restart=on-failure:3",
            "--stop-signal=SIGINT",
            "--stop-timeout=5",
            "--log-driver=json-file",
            "--log-opt=max-size=1m",
            "--cgroup-parent=/parent",
            IMAGE,
            "-c",
            "true",
        ],
    ),
    (
        "open",
        &[
            "--privileged",
            "--network=host",
            "--pid=host",
            "--ipc=host",
            "--uts=host",
            "--cgroupns=host",
            "--rm",
            "--cpu-period=100000",
            "--cpu-quota=50000",
            "--runtime=runc",
            "--log-driver=none",
            IMAGE,
        ],
    ),
    (
        "joined",
        &[
            "--network=container:bare",
            "--ipc=shareable",
            "--init=false",
            "--restart=unless-stopped",
            "--attach=stdout",
            "--oom-kill-disable=false",
            "--pids-limit=-1",
            "rich:1",
            "word",
        ],
    ),
];

/// What is asked of each of the containers besides its document.
const OF_CONTAINERS: &[&str] = &[
    "{{.ID}} {{.Id}} {{.Name}} {{.Driver}} {{.Node}} {{.SizeRw}} {{.SizeRootFs}}",
    "{{.Node.Name}}",
    "{{.State.Health}} {{if .State.Health}}{{.State.Health.Status}}{{end}}",
    "{{.State.Health.Status}}",
    "{{with .HostConfig}}{{.CPUCount}} {{.CPUPercent}} {{.CPUPeriod}} {{.CPUQuota}} {{.CPURealtimePeriod}} {{.CPURealtimeRuntime}} {{.CPUShares}} {{.NanoCPUs}} {{.DNS}} {{.DNSOptions}} {{.DNSSearch}}{{end}}",
    "{{with .HostConfig}}{{.CpuCount}} {{.CpuPeriod}} {{.CpuShares}} {{.NanoCpus}} {{.Dns}}{{end}}",
    "{{with .HostConfig}}{{.Annotations}} {{.Init}} {{.KernelMemory}} {{.KernelMemoryTCP}} {{.Mounts}} {{.StorageOpt}} {{.Sysctls}} {{.Tmpfs}}{{end}}",
    "{{with .HostConfig}}{{json .Annotations}} {{json .Init}} {{json .Mounts}} {{json .StorageOpt}} {{json .Sysctls}} {{json .Tmpfs}}{{end}}",
    "{{with .HostConfig}}{{.MemorySwappiness}} {{.OomKillDisable}} {{.PidsLimit}} {{.Ulimits}} {{.Devices}} {{.LogConfig}}{{end}}",
    "{{with .Config}}{{.ArgsEscaped}} {{.ExposedPorts}} {{.Healthcheck}} {{.MacAddress}} {{.NetworkDisabled}} {{.Shell}} {{.StopSignal}} {{.StopTimeout}}{{end}}",
    "{{with .Config}}{{json .ExposedPorts}} {{json .Healthcheck}} {{json .Shell}} {{json .StopTimeout}} {{json .OnBuild}}{{end}}",
    "{{with .Config.Healthcheck}}{{.Test}} {{.Interval}} {{.Timeout}} {{.StartPeriod}} {{.Retries}}{{end}}",
    "{{.Config.Healthcheck.Test}}",
    "{{.Config.Labels.one}} {{.Config.Labels.nope}} {{index .Config.Labels \"one\"}} {{index .Config.Labels \"nope\"}}",
    "{{.Config.Volumes}} {{.Config.Volumes.x}} {{json .Config.Volumes}} {{len .Config.Volumes}}",
    "{{range $k, $v := .Config.ExposedPorts}}{{$k}}={{$v}} {{end}}",
    "{{range .Mounts}}{{.Type}} {{.Name}} {{.Driver}} {{.Source}} {{.RW}}; {{end}}",
    "{{json .Mounts}}",
    "{{range .HostConfig.Mounts}}{{.Type}} {{.Target}} {{json .}}; {{end}}",
    "{{range .HostConfig.Mounts}}{{.BindOptions}} {{end}}",
    "{{json .HostConfig.LogConfig}} {{.HostConfig.LogConfig.Config.nope}}",
    "{{json .HostConfig.RestartPolicy}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
    "{{json .Config}}",
    "{{json .HostConfig}}",
    "{{.NetworkSettings}}",
    "{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{.IPAMConfig}} {{.Links}} {{.Aliases}} {{.DriverOpts}} {{.DNSNames}}{{end}}",
    "{{.NetworkSettings.Networks.nope}} {{.NetworkSettings.Ports.nope}} {{.NetworkSettings.SecondaryIPAddresses}}",
    "{{.GraphDriver.Name}} {{.GraphDriver.Data.nope}}",
    "{{json .State}} {{.State}}",
    "{{.}}",
    "{{json .}}",
    "json",
    "{{.Nope}}",
    "{{.Config.Nope}}",
    "{{.HostConfig.Nope}}",
    "{{.Nope.Nope}}",
    "{{len .Args}} {{index .Args 0}}",
    "{{.Config.Env}} {{join .Config.Env \",\"}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.OnBuild}}",
    "{{println .HostConfig.Init}}{{printf \"%v %t\" .HostConfig.Init .State.Running}}",
    "{{eq .HostConfig.Memory 0}} {{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{.HostConfig.Links}}",
    "{{.ExecIDs}} {{json .ExecIDs}} {{.HostConfig.DeviceRequests}}",
    "{{if .HostConfig.Mounts}}yes{{else}}no{{end}} {{if .HostConfig.Init}}yes{{else}}no{{end}}",
    "{{",
    "{{nope}}",
];

/// What is asked of each of the images besides its document.
const OF_IMAGES: &[&str] = &[
    "{{.ID}} {{.Id}} {{.RepoTags}} {{.RepoDigests}} {{.Parent}} {{.Comment}} {{.Author}}",
    "{{.Container}}|{{.OsVersion}}|{{.Variant}}|{{.VirtualSize}}|{{.Size}}|{{.RootFS.BaseLayer}}|{{.RootFS.Layers}}",
    "{{.ContainerConfig}}",
    "{{json .ContainerConfig}}",
    "{{.ContainerConfig.Image}} {{.ContainerConfig.Env}} {{.ContainerConfig.Nope}}",
    "{{json .Config}} {{.Config.Healthcheck}}",
    "{{json .Config.Healthcheck}} {{.Config.Shell}} {{.Config.StopTimeout}}",
    "{{.Metadata}} {{.Metadata.LastTagTime}}",
    "{{.GraphDriver.Data.LowerDir}}|{{.GraphDriver.Data.UpperDir}}",
    "{{json .RootFS}}",
    "{{.}}",
    "{{json .}}",
    "{{.Nope}}",
    "{{.Config.Labels.nope}}",
];

/// The lists, and how each is asked for.
const LISTS: &[&[&str]] = &[
    &["ps", "-a"],
    &["ps", "-a", "--no-trunc"],
    &["ps", "-aq"],
    &["ps", "-a", "--format", "json"],
    &[
        "ps",
        "-a",
        "--format",
        "table {{.ID}}\\t{{.Names}}\\t{{.Mounts}}\\t{{.Label \"one\"}}",
    ],
    &[
        "ps",
        "-a",
        "--format",
        "{{.Image}} {{.Command}} {{.LocalVolumes}} {{.Networks}} {{.Platform}} {{.Ports}} {{.State}} {{.Status}} {{.Labels}}",
    ],
    &["ps", "-a", "--format", "{{json .Names}} {{upper .State}}"],
    &["ps", "-a", "--format", "{{.Nope}}"],
    &["ps", "--format", "{{.Nope}}"],
    &["ps", "--format", "{{"],
    &["images", "--format", "{{.Nope}}"],
    &["images", "--digests", "--no-trunc"],
    &["images", "--format", "json"],
    &[
        "images",
        "--format",
        "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}",
    ],
    &["history", "rich:1"],
    &["history", "--no-trunc", "--human=false", "rich:1"],
    &["history", "--format", "json", "rich:1"],
    &["history", "-q", "rich:1"],
    &["history", "--format", "{{.Nope}}", "rich:1"],
    &["system", "df"],
    &["system", "df", "-v"],
    &["system", "df", "--format", "json"],
    &["system", "df", "--format", "{{.Nope}}"],
];

#[test]
fn documents_are_dockers_byte_for_byte() {
    let cove = cove();
    cove.ok(&["create", "--name=seed", IMAGE, "true"]);
    let mut commit = vec!["commit", "--author=me", "--message=a message"];
    for change in [
        "--change=CMD [\"a\", \"b c\"]",
        "--change=ENTRYPOINT [\"e\"]",
        "--change=ENV X=y",
        "--change=EXPOSE 8080/tcp",
        "--change=LABEL one=1 two=\"<2>\"",
        "--change=USER ann",
        "--change=VOLUME /v",
        "--change=WORKDIR /w",
        "--change=STOPSIGNAL SIGTERM",
        "--change=ONBUILD RUN true",
        "--change=HEALTHCHECK --interval=5s --retries=3 CMD true",
    ] {
        commit.push(change);
    }
    commit.extend(["seed", "rich:1"]);
    cove.ok(&commit);
    cove.ok(&["rm", "seed"]);
    let golden = Golden::of(&cove);
    for (name, options) in CONTAINERS {
        let name_flag = format!("--name={name}");
        cove.ok(&[&["create", name_flag.as_str()][..], options].concat());
    }
    for (name, _) in CONTAINERS {
        golden.check(
            &format!("{name}.json"),
            &cove.ok(&["container", "inspect", name]),
        );
        let sized = cove.ok(&["inspect", "--size", "-f", "{{json .SizeRw}}", name]);
        assert!(sized.parse::<u64>().is_ok(), "{sized}");
        golden.check(&format!("{name}.txt"), &asked(&cove, name, OF_CONTAINERS));
    }
    for (name, file) in [(IMAGE, "image"), ("rich:1", "image-rich")] {
        golden.check(
            &format!("{file}.json"),
            &cove.ok(&["image", "inspect", name]),
        );
        golden.check(&format!("{file}.txt"), &asked(&cove, name, OF_IMAGES));
    }
    golden.check("lists.txt", &said(&cove, LISTS));
}

#[test]
fn a_running_container_is_shown_with_its_process() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name=up", IMAGE, "sleep", "1000"]);
    let golden = Golden::of(&cove);
    golden.check("up.json", &cove.ok(&["inspect", "up"]));
    golden.check(
        "up.txt",
        &asked(&cove, "up", &["{{json .State}}", "{{json .GraphDriver}}"]),
    );
    cove.ok(&["rm", "-f", "up"]);
}

/// What `inspect` says to each template.
fn asked(cove: &Cove, name: &str, templates: &[&str]) -> String {
    let questions: Vec<Vec<&str>> = templates
        .iter()
        .map(|template| vec!["inspect", "--format", template, name])
        .collect();
    let questions: Vec<&[&str]> = questions.iter().map(Vec::as_slice).collect();
    said(cove, &questions)
}

/// What each of the commands says, with the command before it.
fn said(cove: &Cove, questions: &[&[&str]]) -> String {
    let mut text = String::new();
    for words in questions {
        let output = cove.cmd(*words).run();
        text.push_str(&format!("$ {}\n{}", words.join(" "), output.out()));
        text.push_str(&format!("{}\n", String::from_utf8_lossy(&output.stderr)));
    }
    text
}

/// The files, and the words for what differs from run to run.
struct Golden {
    directory: PathBuf,
    words: Vec<(Regex, &'static str)>,
}

impl Golden {
    fn of(cove: &Cove) -> Self {
        let path = |path: &Path| regex::escape(path.to_str().unwrap());
        let words = [
            (path(&cove.roots().runroot()), "/RUNROOT"),
            (path(&cove.roots().root()), "/ROOT"),
            ("[0-9a-f]{64}".to_owned(), "<hex>"),
            (r"\b[0-9a-f]{12}\b".to_owned(), "<short id>"),
            (
                r"20\d\d-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)".to_owned(),
                "<time>",
            ),
            (
                r"20\d\d-\d\d-\d\d [\d:.]+ [+-]\d{4} \w+".to_owned(),
                "<time>",
            ),
            (
                "(Less than a second|About a \\w+|\\d+ \\w+) ago *".to_owned(),
                "<ago> ",
            ),
            // The column is as wide as its longest time.
            ("\\bCREATED( SINCE)? +".to_owned(), "CREATED${1} "),
            (r"/proc/\d+/root".to_owned(), "/proc/<pid>/root"),
            (r#""Pid": ?\d+"#.to_owned(), "\"Pid\": <pid>"),
            (r#""Size": ?\d+"#.to_owned(), "\"Size\": <size>"),
            (r"\b\d+(\.\d+)?[kM]B\b *".to_owned(), "<size> "),
            (
                r"(\bSize:|\bVirtualSize:|[^:] |\|)[12]\d{6}\b *".to_owned(),
                "${1}<size> ",
            ),
            (r"\(\d+%\)".to_owned(), "(<share>)"),
        ];
        Self {
            directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents"),
            words: words
                .into_iter()
                .map(|(regex, word)| (Regex::new(&regex).unwrap(), word))
                .collect(),
        }
    }

    #[track_caller]
    fn check(&self, file: &str, text: &str) {
        let mut shown = text.to_owned();
        for (regex, word) in &self.words {
            shown = regex.replace_all(&shown, *word).into_owned();
        }
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        let path = self.directory.join(file);
        if std::env::var_os("COVE_GOLDEN").is_some_and(|word| word == "write") {
            std::fs::create_dir_all(&self.directory).unwrap();
            std::fs::write(&path, shown).unwrap();
            return;
        }
        let golden = cove_sys::fs::read_to_string(&path, 1 << 20).unwrap();
        for (number, (is, was)) in shown.lines().zip(golden.lines()).enumerate() {
            assert_eq!(is, was, "{file}, line {}", number + 1);
        }
        assert_eq!(shown, golden, "{file}");
    }
}
