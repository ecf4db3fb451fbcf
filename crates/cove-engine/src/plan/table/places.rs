//! Where an instance is: networks, namespaces and mounts.

use cove_model::instance::InstanceId;

use super::{SharedNamespace, listed, table, told};
use crate::request::{MountRequest, NamespaceRequest, NetworkRequest};

fn mount(kind: &str, source: &str, target: &str) -> MountRequest {
    MountRequest {
        kind: kind.to_owned(),
        source: source.into(),
        target: target.to_owned(),
        ..MountRequest::default()
    }
}

fn short(kind: &str, source: &str, target: &str, options: &str) -> MountRequest {
    MountRequest {
        options: options.to_owned(),
        short: true,
        ..mount(kind, source, target)
    }
}

#[test]
fn networks_and_namespaces() {
    let conflict = |words: &str| format!("conflicting options: {words}");
    let joined = r#"hostname="partner" network.instance="#.to_owned();
    let id = format!("{:?}", InstanceId::from_random([2; 32]).as_str());
    table(&[
        (|w| w.network = NetworkRequest::None, ""),
        (
            |w| w.network = NetworkRequest::Host,
            r#"hostname="metal" network="host""#,
        ),
        (
            |w| w.network = NetworkRequest::Instance("o".to_owned()),
            &format!("{joined}{id} no network"),
        ),
        (
            |w| w.network = NetworkRequest::Named("x".to_owned()),
            "network x not found",
        ),
        (|w| w.hostname = "h".to_owned(), r#"hostname="h""#),
        (|w| w.domainname = "d".to_owned(), r#"domainname="d""#),
        (
            |w| w.namespaces.uts = NamespaceRequest::Host,
            r#"hostname="metal" namespaces.uts="host""#,
        ),
        (
            |w| (w.namespaces.uts, w.hostname) = (NamespaceRequest::Host, "h".to_owned()),
            &conflict("hostname and the UTS mode"),
        ),
        (
            |w| (w.namespaces.uts, w.domainname) = (NamespaceRequest::Host, "h".to_owned()),
            &conflict("domainname and the UTS mode"),
        ),
        (
            |w| {
                (w.network, w.hostname) =
                    (NetworkRequest::Instance("o".to_owned()), "h".to_owned());
            },
            &conflict("hostname and the network mode"),
        ),
        (
            |w| {
                (w.network, w.dns) = (
                    NetworkRequest::Instance("o".to_owned()),
                    listed(&["1.1.1.1"]),
                );
            },
            &conflict("dns and the network mode"),
        ),
        (
            |w| {
                (w.network, w.extra_hosts) = (
                    NetworkRequest::Instance("o".to_owned()),
                    listed(&["a:1.1.1.1"]),
                );
            },
            &conflict("custom host-to-IP mapping and the network mode"),
        ),
        (
            |w| w.namespaces.pid = NamespaceRequest::Host,
            r#"namespaces.pid="host""#,
        ),
        (
            |w| w.namespaces.pid = NamespaceRequest::Instance("o".to_owned()),
            &format!("namespaces.pid.instance={id} no namespaces.pid"),
        ),
        (
            |w| w.namespaces.pid = NamespaceRequest::Bare,
            "Invalid PID mode",
        ),
        (
            |w| w.namespaces.uts = NamespaceRequest::Private,
            "Invalid UTS mode",
        ),
        (|w| w.namespaces.cgroup = NamespaceRequest::Private, ""),
        (
            |w| w.namespaces.ipc = NamespaceRequest::Bare,
            r#"namespaces.ipc="bare""#,
        ),
        (
            |w| w.namespaces.ipc = NamespaceRequest::Shareable,
            r#"namespaces.ipc="shareable""#,
        ),
        (
            |w| w.namespaces.ipc = NamespaceRequest::Instance("o".to_owned()),
            &format!("namespaces.ipc.instance={id} no namespaces.ipc"),
        ),
    ]);
    let refused = told(|w| {
        w.hostname = "closed".to_owned();
        w.namespaces.ipc = NamespaceRequest::Instance("o".to_owned());
    });
    assert!(refused.contains("non-shareable IPC"), "{refused}");
}

#[test]
fn mounts() {
    let bind = |create: bool| {
        format!(
            r#"mounts.0.read_only=false mounts.0.source.create={create} mounts.0.source.non_recursive=false mounts.0.source.path="/c" mounts.0.source.type="bind" mounts.0.target="/b""#
        )
    };
    let tmpfs = |mount: bool, read_only: bool, options: &str| {
        format!(
            r#"mounts.0.read_only={read_only} mounts.0.source.mount={mount} mounts.0.source.options="{options}" mounts.0.source.type="tmpfs" mounts.0.target="/t""#
        )
    };
    let refused =
        |kind: &str, words: &str| format!("invalid mount config for type \"{kind}\": {words}");
    table(&[
        (
            |w| w.mounts = vec![mount("bind", "/a/../c", "/b")],
            &bind(false),
        ),
        (
            |w| w.mounts = vec![short("bind", "/c", "/b", "")],
            &bind(true),
        ),
        (
            |w| w.mounts = vec![mount("tmpfs", "", "/t")],
            &tmpfs(true, false, ""),
        ),
        (
            |w| w.mounts = vec![short("tmpfs", "", "/t", "size=1m,ro")],
            &tmpfs(false, true, "size=1m,ro"),
        ),
        (
            |w| w.mounts = vec![mount("foo", "", "/x")],
            &refused("foo", "mount type unknown"),
        ),
        (
            |w| w.mounts = vec![mount("bind", "", "/x")],
            &refused("bind", "field Source must not be empty"),
        ),
        (
            |w| w.mounts = vec![mount("bind", "a", "/x")],
            &refused(
                "bind",
                "invalid mount path: 'a' mount path must be absolute",
            ),
        ),
        (
            |w| w.mounts = vec![mount("bind", "/a", "x")],
            &refused(
                "bind",
                "invalid mount path: 'x' mount path must be absolute",
            ),
        ),
        (
            |w| w.mounts = vec![mount("tmpfs", "/a", "/x")],
            &refused("tmpfs", "field Source must not be specified"),
        ),
        (
            |w| w.mounts = vec![mount("tmpfs", "", "/./")],
            &refused("tmpfs", "invalid specification: destination can't be '/'"),
        ),
        (
            |w| w.mounts = vec![mount("volume", "v", "/x")],
            &refused(
                "volume",
                "volumes are not supported yet; use type=bind with a host directory",
            ),
        ),
        (
            |w| {
                w.mounts = vec![MountRequest {
                    propagation: Some("far".to_owned()),
                    ..mount("bind", "/a", "/x")
                }];
            },
            &refused("bind", "invalid propagation mode: far"),
        ),
        (
            |w| w.mounts = vec![short("tmpfs", "", "x", "")],
            "invalid mount path: 'x' mount path must be absolute",
        ),
        (
            |w| w.mounts = vec![short("tmpfs", "", "/", "")],
            "invalid specification: destination can't be '/'",
        ),
        (
            |w| w.mounts = vec![short("tmpfs", "", "/a/../b", "")],
            "invalid mount path: '/a/../b'",
        ),
        (
            |w| w.mounts = vec![mount("tmpfs", "", "/a"), short("bind", "/c", "/a/", "")],
            "Duplicate mount point: /a",
        ),
    ]);
}

#[test]
fn the_namespaces_that_texts_name() {
    use SharedNamespace::{Cgroup, Ipc, Pid, Uts};
    for (kind, text, mode) in [
        (Pid, "", Some(NamespaceRequest::Default)),
        (Pid, "host", Some(NamespaceRequest::Host)),
        (
            Pid,
            "container:a",
            Some(NamespaceRequest::Instance("a".to_owned())),
        ),
        (Pid, "private", None),
        (Uts, "private", None),
        (Uts, "container:a", None),
        (Cgroup, "private", Some(NamespaceRequest::Private)),
        (Cgroup, "none", None),
        (Ipc, "none", Some(NamespaceRequest::Bare)),
        (Ipc, "shareable", Some(NamespaceRequest::Shareable)),
        (Ipc, "frob", None),
    ] {
        assert_eq!(kind.mode(text), mode, "{kind:?} {text}");
    }
}
