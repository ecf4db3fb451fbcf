//! Plans as a table: a wish in one line, and what of the plan it changes.

mod places;

use std::collections::BTreeMap;

use cove_model::Digest;
use cove_model::instance::{Driver, ImageUse, NamespaceMode, Record, Ulimit};
use serde_json::Value;

use super::*;
use crate::request::{NamespaceRequest, NetworkRequest};

fn image() -> RunConfig {
    RunConfig {
        cmd: words(&["sh"]),
        env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
        ..RunConfig::default()
    }
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|&word| word.to_owned()).collect())
}

fn host() -> HostFacts {
    HostFacts {
        name: "metal".to_owned(),
        selinux: false,
    }
}

/// Another instance, which is joined.
fn other(ipc: NamespaceMode) -> Record {
    let mut spec = InstanceSpec {
        hostname: "partner".to_owned(),
        ..InstanceSpec::default()
    };
    spec.namespaces.ipc = ipc;
    Record {
        id: InstanceId::from_random([2; 32]),
        name: "other".to_owned(),
        created: String::new(),
        driver: Driver::default(),
        image: ImageUse {
            name: String::new(),
            id: Digest::from_bytes([0; 32]),
            layers: Vec::new(),
        },
        spec,
    }
}

fn plan(request: &CreateRequest) -> Result<InstanceSpec> {
    let id = InstanceId::from_random([1; 32]);
    let others = Others {
        network: matches!(request.network, NetworkRequest::Instance(_))
            .then(|| other(NamespaceMode::Private)),
        pid: matches!(request.namespaces.pid, NamespaceRequest::Instance(_))
            .then(|| other(NamespaceMode::Private)),
        ipc: matches!(request.namespaces.ipc, NamespaceRequest::Instance(_)).then(|| {
            other(match request.hostname.as_str() {
                "closed" => NamespaceMode::Private,
                _ => NamespaceMode::Shareable,
            })
        }),
    };
    check(request, host())?.complete(request, &others, &image(), &id)
}

/// Every value of a plan by its path.
fn flat(plan: &InstanceSpec) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&format!("{path}.{name}"), value, into);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (n, value) in items.iter().enumerate() {
                    walk(&format!("{path}.{n}"), value, into);
                }
            }
            Value::Array(items) if items.is_empty() => {}
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                into.insert(path[1..].to_owned(), value.to_string());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", &serde_json::to_value(plan).unwrap(), &mut found);
    found
}

/// What a wish changes of the plan of somebody who wishes nothing, or why it is refused.
fn told(wish: Wish) -> String {
    let plain = flat(&plan(&CreateRequest::default()).unwrap());
    let mut request = CreateRequest::default();
    wish(&mut request);
    let plan = match plan(&request) {
        Ok(plan) => flat(&plan),
        Err(error) => return error.to_string(),
    };
    let mut changes: Vec<String> = plan
        .iter()
        .filter(|(path, value)| plain.get(*path) != Some(*value))
        .map(|(path, value)| format!("{path}={value}"))
        .collect();
    let gone = plain.keys().filter(|path| !plan.contains_key(*path));
    changes.extend(gone.map(|path| format!("no {path}")));
    changes.join(" ")
}

type Wish = fn(&mut CreateRequest);

fn table(rows: &[(Wish, &str)]) {
    let mut wrong = String::new();
    for (n, (wish, expected)) in rows.iter().enumerate() {
        let told = told(*wish);
        if told != *expected {
            wrong.push_str(&format!("row {n}\n  is     {told}\n  not    {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `key=value` pairs of a map.
fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn ulimit(name: &str, soft: u64, hard: u64) -> Ulimit {
    let name = name.to_owned();
    Ulimit { name, soft, hard }
}

fn listed(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn who_wishes_nothing_gets_the_defaults() {
    let plan = plan(&CreateRequest::default()).unwrap();
    let expected = InstanceSpec {
        run: image(),
        argv: listed(&["sh"]),
        hostname: "010101010101".to_owned(),
        ..InstanceSpec::default()
    };
    assert_eq!(plan, expected);
}

#[test]
fn programs() {
    table(&[
        (
            |w| w.run.cmd = words(&["ls", "-l"]),
            r#"argv=["ls","-l"] run.Cmd=["ls","-l"]"#,
        ),
        (|w| w.run.cmd = words(&[]), ""),
        (
            |w| w.run.entrypoint = words(&["e"]),
            r#"argv=["e"] run.Entrypoint=["e"] no run.Cmd"#,
        ),
        (|w| w.run.entrypoint = words(&[""]), "No command specified"),
        (|w| w.run.user = "ann".to_owned(), r#"run.User="ann""#),
        (
            |w| w.run.env = listed(&["B=1"]),
            r#"run.Env=["B=1","PATH=/bin","A=image"]"#,
        ),
        (
            |w| w.run.env = listed(&["A=x=y"]),
            r#"run.Env=["A=x=y","PATH=/bin"]"#,
        ),
        (|w| w.run.env = listed(&["A"]), r#"run.Env=["PATH=/bin"]"#),
        (
            |w| w.run.working_dir = "/a/../b".to_owned(),
            r#"run.WorkingDir="/b""#,
        ),
        (
            |w| w.run.working_dir = "b".to_owned(),
            "the working directory 'b' is invalid, it needs to be an absolute path",
        ),
        (
            |w| w.run.stop_signal = Some("TERM".to_owned()),
            r#"run.StopSignal="TERM""#,
        ),
        (
            |w| w.run.stop_signal = Some("foo".to_owned()),
            "Invalid signal: foo",
        ),
        (
            |w| w.run.labels = pairs(&[("a", "b")]),
            r#"run.Labels.a="b""#,
        ),
        (|w| w.init = Some(false), "init=false"),
        (|w| w.terminal = true, "terminal=true"),
        (|w| w.stop_timeout = Some(-1), "stop_timeout=-1"),
        (|w| w.runtime = "runc".to_owned(), r#"runtime="runc""#),
        (
            |w| w.runtime = "kata".to_owned(),
            "Unknown runtime specified kata",
        ),
        (|w| w.oom_score_adj = -1000, "oom_score_adj=-1000"),
        (|w| w.oom_score_adj = 0, ""),
        (
            |w| w.oom_score_adj = 1001,
            "Invalid value 1001, range for oom score adj is [-1000, 1000]",
        ),
        (
            |w| w.ulimits = vec![ulimit("nofile", 1, 2)],
            r#"ulimits.0.hard=2 ulimits.0.name="nofile" ulimits.0.soft=1"#,
        ),
        (
            |w| w.ulimits = vec![ulimit("wings", 1, 2)],
            "invalid ulimit type: wings",
        ),
        (
            |w| w.ulimits = vec![ulimit("core", 3, 2)],
            "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
        ),
        (
            |w| w.sysctls = pairs(&[("net.core.somaxconn", "9")]),
            r#"sysctls.net.core.somaxconn="9""#,
        ),
        (
            |w| w.sysctls = pairs(&[("kernel.panic", "9")]),
            "sysctl 'kernel.panic' is not allowed",
        ),
        (
            |w| w.device_rules = listed(&["c 1:3 r"]),
            r#"device_rules=["c 1:3 r"]"#,
        ),
        (
            |w| w.device_rules = listed(&["c 1 r"]),
            "invalid device cgroup rule format: 'c 1 r'",
        ),
    ]);
}

#[test]
fn endings() {
    table(&[
        (|w| w.auto_remove = true, "auto_remove=true"),
        (|w| w.restart.name = "no".to_owned(), ""),
        (
            |w| w.restart.name = "always".to_owned(),
            r#"restart.name="always""#,
        ),
        (
            |w| (w.restart.name, w.restart.max_retries) = ("on-failure".to_owned(), 3),
            r#"restart.max=3 restart.name="on-failure""#,
        ),
        (
            |w| w.restart.name = "often".to_owned(),
            "invalid restart policy 'often'",
        ),
        (
            |w| (w.restart.name, w.restart.max_retries) = ("always".to_owned(), 3),
            "maximum retry count cannot be used with restart policy 'always'",
        ),
        (
            |w| (w.restart.name, w.restart.max_retries) = ("on-failure".to_owned(), -3),
            "maximum retry count cannot be negative",
        ),
        (
            |w| (w.restart.name, w.auto_remove) = ("often".to_owned(), true),
            "can't create 'AutoRemove' container with restart policy",
        ),
    ]);
}

#[test]
fn limits_of_cgroups() {
    table(&[
        (|w| w.limits.memory = 64 << 20, "limits.memory=67108864"),
        (|w| w.limits.memory_swap = -1, "limits.memory_swap=-1"),
        (
            |w| w.limits.memory_swappiness = Some(0),
            "limits.memory_swappiness=0",
        ),
        (|w| w.limits.memory_swappiness = Some(-1), ""),
        (
            |w| w.limits.memory_swappiness = Some(101),
            "Invalid value: 101, valid memory swappiness range is 0-100",
        ),
        (|w| w.limits.blkio_weight = 10, "limits.blkio_weight=10"),
        (
            |w| w.limits.blkio_weight = 5,
            "Range of blkio weight is from 10 to 1000",
        ),
        (
            |w| w.limits.nano_cpus = 500_000_000,
            "limits.nano_cpus=500000000",
        ),
        (|w| w.limits.cpu_shares = 2, "limits.cpu_shares=2"),
        (
            |w| w.limits.cpu_shares = -1,
            "invalid CPU shares (-1): value must be a positive integer",
        ),
        (|w| w.limits.cpu_quota = -1, "limits.cpu_quota=-1"),
        (|w| w.limits.pids = Some(0), "limits.pids=-1"),
        (|w| w.limits.pids = Some(7), "limits.pids=7"),
        (
            |w| w.limits.cpuset_cpus = "0".to_owned(),
            r#"limits.cpuset_cpus="0""#,
        ),
        (
            |w| w.limits.cgroup_parent = "/x".to_owned(),
            r#"limits.cgroup_parent="/x""#,
        ),
    ]);
}

#[test]
fn privileges() {
    table(&[
        (|w| w.privileged = true, "security.privileged=true"),
        (
            |w| w.cap_add = listed(&["net_admin", " CAP_SYS_TIME", "all"]),
            r#"security.cap_add=["CAP_NET_ADMIN","CAP_SYS_TIME","ALL"]"#,
        ),
        (
            |w| w.cap_drop = listed(&["x"]),
            "invalid CapDrop: unknown capability: \"CAP_X\"",
        ),
        (
            |w| w.cap_add = listed(&["cap_a"]),
            "invalid CapAdd: unknown capability: \"CAP_A\"",
        ),
        (
            |w| w.security_options = listed(&["no-new-privileges"]),
            r#"security.no_new_privileges=true security.options=["no-new-privileges"]"#,
        ),
        (
            |w| w.security_options = listed(&["no-new-privileges:false"]),
            r#"security.options=["no-new-privileges:false"]"#,
        ),
        (
            |w| w.security_options = listed(&["seccomp=unconfined"]),
            r#"security.options=["seccomp=unconfined"] security.seccomp="unconfined""#,
        ),
        (
            |w| w.security_options = listed(&["seccomp={}"]),
            r#"security.options=["seccomp={}"] security.seccomp.custom="{}" no security.seccomp"#,
        ),
        (
            |w| w.security_options = listed(&["systempaths=unconfined"]),
            "security.unmasked=true",
        ),
        (
            |w| w.security_options = listed(&["mask=/a:/b"]),
            r#"security.mask=["/a","/b"] security.options=["mask=/a:/b"]"#,
        ),
        (
            |w| w.security_options = listed(&["unmask=/a:b"]),
            "invalid --security-opt: \"b\" is not an absolute path",
        ),
        (
            |w| w.security_options = listed(&["apparmor=x"]),
            r#"security.apparmor="x" security.options=["apparmor=x"]"#,
        ),
        (
            |w| w.security_options = listed(&["label=type:x"]),
            r#"security.options=["label=type:x"] security.selinux=["type:x"]"#,
        ),
        (
            |w| w.security_options = listed(&["a=b"]),
            "invalid --security-opt 2: \"a=b\"",
        ),
        (
            |w| w.security_options = listed(&["a"]),
            "invalid --security-opt 2: \"a\"",
        ),
        (
            |w| w.security_options = listed(&["systempaths=x"]),
            "invalid --security-opt 2: \"systempaths=x\"",
        ),
    ]);
    let labelled = HostFacts {
        selinux: true,
        ..host()
    };
    let mut request = CreateRequest {
        security_options: listed(&["label=disable"]),
        ..CreateRequest::default()
    };
    assert!(check(&request, labelled.clone()).is_ok());
    request.security_options = listed(&["label=type:x"]);
    let refused = check(&request, labelled).unwrap_err().to_string();
    assert!(
        refused.contains("SELinux labels are not supported"),
        "{refused}"
    );
}

#[test]
fn logs() {
    table(&[
        (|w| w.log.driver = "k8s-file".to_owned(), ""),
        (|w| w.log.driver = "none".to_owned(), r#"log.driver="none""#),
        (
            |w| w.log.options = pairs(&[("max-size", "1m")]),
            r#"log.options.max-size="1m""#,
        ),
        (
            |w| w.log.options = pairs(&[("size", "1m")]),
            "unknown log opt 'size' for k8s-file log driver",
        ),
        (
            |w| w.log.driver = "x".to_owned(),
            "error looking up logging plugin x: plugin \"x\" not found",
        ),
        (
            |w| w.log.driver = "syslog".to_owned(),
            "the log driver syslog is not supported: use k8s-file, json-file, local or none",
        ),
    ]);
}

#[test]
fn program_and_arguments_follow_dockers_rules() {
    for (entrypoint, cmd, flag, command, argv) in [
        (None, Some(&["sh"][..]), None, &[][..], Some(&["sh"][..])),
        (None, Some(&["sh"]), None, &["ls"], Some(&["ls"])),
        (Some(&["e"][..]), Some(&["c"]), None, &[], Some(&["e", "c"])),
        (
            Some(&["e"]),
            Some(&["c"]),
            None,
            &["x", "y"],
            Some(&["e", "x", "y"]),
        ),
        (
            Some(&["e"]),
            Some(&["c"]),
            Some(&["f"][..]),
            &[],
            Some(&["f"]),
        ),
        (
            Some(&["e"]),
            Some(&["c"]),
            Some(&["f"]),
            &["x"],
            Some(&["f", "x"]),
        ),
        (
            Some(&["e"]),
            Some(&["c"]),
            Some(&[""]),
            &["x"],
            Some(&["x"]),
        ),
        (Some(&["e"]), Some(&["c"]), Some(&[""]), &[], None),
        (None, None, None, &[], None),
    ] {
        let image = RunConfig {
            entrypoint: entrypoint.and_then(words),
            cmd: cmd.and_then(words),
            ..RunConfig::default()
        };
        let wish = RunConfig {
            entrypoint: flag.and_then(words),
            cmd: words(command),
            ..RunConfig::default()
        };
        let planned = program::program(&wish, &image).map(|(_, argv)| argv);
        match argv {
            Some(argv) => assert_eq!(planned.unwrap(), listed(argv)),
            None => assert_eq!(planned.unwrap_err().to_string(), "No command specified"),
        }
    }
}
