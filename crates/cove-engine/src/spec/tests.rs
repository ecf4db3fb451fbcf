//! The runtime specification of typical instances.

use cove_model::InstanceId;
use cove_model::instance::{Mount, MountSource, Security, Ulimit};
use oci_spec::runtime::{Capability, LinuxCapabilities};

use super::*;

fn build(spec: &InstanceSpec, uid: u32) -> Spec {
    let identity = Identity {
        uid,
        gid: uid,
        groups: Vec::new(),
        home: "/root".to_owned(),
    };
    let facts = Facts {
        identity: &identity,
        size: None,
        cgroup: "/cove/id".into(),
        files: Path::new("/run/files"),
        shm: "/run/shm".into(),
        joined: Joined::default(),
        devices: Vec::new(),
        default_pids: Some(DEFAULT_PIDS),
        executable: "/usr/bin/cove".into(),
    };
    runtime_spec(spec, &facts).unwrap()
}

fn plain() -> InstanceSpec {
    InstanceSpec {
        argv: vec!["sh".to_owned()],
        hostname: "box".to_owned(),
        ..InstanceSpec::default()
    }
}

fn capabilities_of(spec: &Spec) -> &LinuxCapabilities {
    let process = spec.process().as_ref().unwrap();
    process.capabilities().as_ref().unwrap()
}

fn kinds(spec: &Spec) -> Vec<String> {
    let linux = spec.linux().as_ref().unwrap();
    linux
        .namespaces()
        .as_ref()
        .unwrap()
        .iter()
        .map(|ns| ns.typ().to_string())
        .collect()
}

#[test]
fn a_plain_container_is_isolated_and_hardened() {
    let spec = build(&plain(), 0);
    assert_eq!(kinds(&spec), ["mnt", "pid", "ipc", "uts", "net", "cgroup"]);
    let linux = spec.linux().as_ref().unwrap();
    assert!(
        linux
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/kcore".to_owned())
    );
    assert!(
        linux
            .readonly_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/sys".to_owned())
    );
    assert!(linux.seccomp().is_some());
    let resources = linux.resources().as_ref().unwrap();
    assert_eq!(resources.pids().as_ref().unwrap().limit(), 2048);
    assert!(!resources.devices().as_ref().unwrap()[0].allow());
    let process = spec.process().as_ref().unwrap();
    let capabilities = capabilities_of(&spec);
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 11);
    assert!(
        !capabilities
            .bounding()
            .as_ref()
            .unwrap()
            .contains(&Capability::NetRaw)
    );
    assert!(capabilities.inheritable().as_ref().unwrap().is_empty());
    let environment = process.env().as_ref().unwrap();
    assert!(environment.contains(&"HOSTNAME=box".to_owned()));
    assert!(environment.contains(&"HOME=/root".to_owned()));
}

#[test]
fn an_ordinary_user_holds_no_capability() {
    let spec = build(&plain(), 1000);
    let capabilities = capabilities_of(&spec);
    assert!(capabilities.effective().as_ref().unwrap().is_empty());
    assert!(capabilities.permitted().as_ref().unwrap().is_empty());
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 11);
}

#[test]
fn privileges_are_added_and_dropped_by_name() {
    for (add, drop, has, hasnot) in [
        (
            &["NET_ADMIN"][..],
            &[][..],
            Some(Capability::NetAdmin),
            None,
        ),
        (
            &["cap_net_raw"],
            &["ALL"],
            Some(Capability::NetRaw),
            Some(Capability::Chown),
        ),
        (
            &[],
            &["chown"],
            Some(Capability::Kill),
            Some(Capability::Chown),
        ),
        (
            &["ALL"],
            &["SYS_ADMIN"],
            Some(Capability::Bpf),
            Some(Capability::SysAdmin),
        ),
    ] {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let security = Security {
            cap_add: own(add),
            cap_drop: own(drop),
            ..Security::default()
        };
        let set = capabilities(&security, 0)
            .unwrap()
            .bounding()
            .clone()
            .unwrap();
        assert!(
            has.is_none_or(|capability| set.contains(&capability)),
            "{add:?} {drop:?}"
        );
        assert!(
            hasnot.is_none_or(|capability| !set.contains(&capability)),
            "{add:?} {drop:?}"
        );
    }
    let security = Security {
        cap_add: vec!["FLY".to_owned()],
        ..Security::default()
    };
    let error = capabilities(&security, 0).unwrap_err();
    assert_eq!(error.to_string(), "invalid capability: \"CAP_FLY\"");
}

#[test]
fn an_apparmor_profile_is_the_processs_privileged_or_not() {
    for privileged in [false, true] {
        let mut spec = plain();
        spec.security.apparmor = Some("tight".to_owned());
        spec.security.privileged = privileged;
        let spec = build(&spec, 0);
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.apparmor_profile().as_deref(), Some("tight"));
    }
}

#[test]
fn privileged_is_without_protection() {
    let security = Security {
        privileged: true,
        ..Security::default()
    };
    let spec = build(
        &InstanceSpec {
            security,
            ..plain()
        },
        0,
    );
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_none());
    assert!(linux.masked_paths().as_ref().unwrap().is_empty());
    let process = spec.process().as_ref().unwrap();
    assert!(process.apparmor_profile().is_none());
    let capabilities = capabilities_of(&spec);
    assert_eq!(capabilities.effective().as_ref().unwrap().len(), 41);
}

#[test]
fn host_namespaces_are_left_out() {
    let mut spec = plain();
    spec.network = NetworkMode::Host;
    spec.namespaces.pid = NamespaceMode::Host;
    spec.namespaces.uts = NamespaceMode::Host;
    let spec = build(&spec, 0);
    assert_eq!(kinds(&spec), ["mnt", "ipc", "cgroup"]);
    assert!(spec.hostname().is_none());
    assert!(has_no_sysctls(&spec));
}

fn has_no_sysctls(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref().unwrap();
    linux.sysctl().as_ref().unwrap().is_empty()
}

#[test]
fn a_network_that_is_joined_is_not_set_up_again() {
    assert!(!has_no_sysctls(&build(&plain(), 0)));
    let mut spec = plain();
    spec.network = NetworkMode::Instance(InstanceId::from_random([8; 32]));
    assert!(has_no_sysctls(&build(&spec, 0)));
}

#[test]
fn the_users_mounts_come_last_outer_first_and_replace_ours() {
    let mount = |target: &str, source| Mount {
        source,
        target: target.to_owned(),
        read_only: true,
    };
    let bind = |path: &str| MountSource::Bind {
        path: path.into(),
        propagation: None,
        non_recursive: false,
        create: true,
    };
    let mut spec = plain();
    spec.mounts = vec![
        mount("/data/inner", bind("/b")),
        mount(
            "/data",
            MountSource::Tmpfs {
                options: "size=1m".to_owned(),
                mount: false,
            },
        ),
        mount("/etc/hosts", bind("/my/hosts")),
    ];
    let spec = build(&spec, 0);
    let mounts = spec.mounts().as_ref().unwrap();
    let targets: Vec<_> = mounts
        .iter()
        .map(|mount| mount.destination().to_str().unwrap())
        .collect();
    let at = |target| targets.iter().position(|&t| t == target).unwrap();
    assert!(at("/data") < at("/data/inner"));
    assert_eq!(targets.iter().filter(|&&t| t == "/etc/hosts").count(), 1);
    let data = &mounts[at("/data")];
    assert!(data.options().as_ref().unwrap().contains(&"ro".to_owned()));
    assert!(
        data.options()
            .as_ref()
            .unwrap()
            .contains(&"size=1m".to_owned())
    );
}

#[test]
fn an_init_goes_before_the_program() {
    let spec = build(
        &InstanceSpec {
            init: Some(true),
            ..plain()
        },
        0,
    );
    assert_eq!(
        spec.process().as_ref().unwrap().args().as_ref().unwrap(),
        &[INIT_PATH, "--", "sh"]
    );
}

#[test]
fn unknown_ulimits_are_refused() {
    let limit = Ulimit {
        name: "wings".to_owned(),
        soft: 1,
        hard: 1,
    };
    let spec = InstanceSpec {
        ulimits: vec![limit],
        ..plain()
    };
    let identity = Identity {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        home: "/".to_owned(),
    };
    let error = process(&spec, &identity, None).unwrap_err();
    assert_eq!(error.to_string(), "invalid ulimit type: wings");
}

#[test]
fn a_read_only_root_has_read_only_files_of_ours() {
    for (read_only, expected) in [(false, "rw"), (true, "ro")] {
        let mut spec = plain();
        spec.read_only_root = read_only;
        let spec = build(&spec, 0);
        for name in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
            let mounts = spec.mounts().as_ref().unwrap();
            let mut mounts = mounts.iter();
            let mount = mounts.find(|mount| mount.destination() == Path::new(name));
            let options = mount.unwrap().options().as_ref().unwrap();
            assert!(options.iter().any(|option| option == expected), "{name}");
        }
    }
}

#[test]
fn a_root_lets_through_what_the_users_mounts_ask_for() {
    for (word, expected) in [
        (None, None),
        (Some("rprivate"), None),
        (Some("slave"), Some("rslave")),
        (Some("rslave"), Some("rslave")),
        (Some("shared"), Some("shared")),
        (Some("rshared"), Some("shared")),
    ] {
        let mut spec = plain();
        spec.mounts = vec![Mount {
            source: MountSource::Bind {
                path: "/a".into(),
                propagation: word.map(str::to_owned),
                non_recursive: false,
                create: false,
            },
            target: "/b".to_owned(),
            read_only: false,
        }];
        let spec = build(&spec, 0);
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.rootfs_propagation().as_deref(), expected, "{word:?}");
    }
}

#[test]
fn shared_memory_goes_with_the_ipc_namespace() {
    let other = InstanceId::from_random([8; 32]);
    for (mode, expected) in [
        (NamespaceMode::Private, Some("shm")),
        (NamespaceMode::Shareable, Some("shm")),
        (NamespaceMode::Bare, None),
        (NamespaceMode::Host, Some("/dev/shm")),
        (NamespaceMode::Instance(other), Some("/run/shm")),
    ] {
        let mut spec = plain();
        spec.namespaces.ipc = mode.clone();
        let spec = build(&spec, 0);
        let mut mounts = spec.mounts().as_ref().unwrap().iter();
        let mount = mounts.find(|mount| mount.destination() == Path::new("/dev/shm"));
        let source = mount.and_then(|mount| mount.source().as_deref());
        assert_eq!(source, expected.map(Path::new), "{mode:?}");
    }
}
