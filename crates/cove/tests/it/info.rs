//! `info`: Docker's document with values that are true.

use serde_json::Value;

use crate::support::{IMAGE, cove};

#[test]
fn the_document_is_dockers_and_true() {
    let cove = cove();
    cove.ok(&["create", IMAGE, "true"]);
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let text = cove.ok(&["info", "--format", "{{json .}}"]);
    let info: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&str> = info
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    // Those of dockerd 20.10, but for limits of kernel memory, which no kernel has any more.
    for key in "ID Containers ContainersRunning ContainersPaused ContainersStopped Images Driver \
                DriverStatus Plugins MemoryLimit SwapLimit CpuCfsPeriod CpuCfsQuota CPUShares \
                CPUSet PidsLimit IPv4Forwarding Debug NFd OomKillDisable NGoroutines SystemTime \
                LoggingDriver CgroupDriver CgroupVersion NEventsListener KernelVersion \
                OperatingSystem OSVersion OSType Architecture IndexServerAddress RegistryConfig \
                NCPU MemTotal GenericResources DockerRootDir HttpProxy HttpsProxy NoProxy Name \
                Labels ExperimentalBuild ServerVersion Runtimes DefaultRuntime Swarm \
                LiveRestoreEnabled Isolation InitBinary ContainerdCommit RuncCommit InitCommit \
                SecurityOptions Warnings ClientInfo"
        .split_whitespace()
    {
        assert!(keys.contains(&key), "{key}");
    }
    for (key, value) in [
        ("Containers", Value::from(2)),
        ("ContainersRunning", 1.into()),
        ("ContainersStopped", 1.into()),
        ("Images", 1.into()),
        ("OSType", "linux".into()),
        ("LoggingDriver", "k8s-file".into()),
        ("DefaultRuntime", "cove".into()),
        (
            "DockerRootDir",
            cove.roots().root().display().to_string().into(),
        ),
        ("HttpProxy", "".into()),
    ] {
        assert_eq!(info[key], value, "{key}");
    }
    // What is said of limits is what this host does with one.
    let limited = |options: &[&str]| {
        let words = [&["run", "--rm"][..], options, &[IMAGE, "true"]].concat();
        cove.cmd(words).run().success()
    };
    assert_eq!(info["MemoryLimit"], limited(&["-m", "64m"]));
    assert_eq!(info["PidsLimit"], limited(&["--pids-limit", "10"]));
    assert_eq!(info["CPUShares"], limited(&["--cpu-shares", "100"]));
    assert_eq!(info["CpuCfsQuota"], limited(&["--cpu-quota", "50000"]));
    assert_eq!(info["CPUSet"], limited(&["--cpuset-cpus", "0"]));
    for runtime in info["Runtimes"].as_object().unwrap().keys() {
        assert!(limited(&["--runtime", runtime]), "{runtime}");
    }
    for driver in info["Plugins"]["Log"].as_array().unwrap() {
        assert!(
            limited(&["--log-driver", driver.as_str().unwrap()]),
            "{driver}"
        );
    }
    let again = cove.ok(&["info", "--format", "{{.ID}}"]);
    assert_eq!(info["ID"], again);
    let other = crate::support::cove();
    assert_ne!(info["ID"], other.ok(&["info", "--format", "{{.ID}}"]));
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn the_lines_are_dockers() {
    let cove = cove();
    let output = cove
        .cmd(["info"])
        .env("HTTPS_PROXY", "http://me:secret@proxy:1")
        .ok();
    let text = output.out();
    for line in [
        "Client:",
        " Context:    default",
        "Server:",
        " Containers: 0",
        "  Running: 0",
        " Images: 1",
        " Storage Driver: overlay2",
        " Logging Driver: k8s-file",
        " Cgroup Driver: cgroupfs",
        "  Network: host null",
        "  Log: json-file k8s-file local none",
        " Swarm: inactive",
        " Runtimes: cove crun io.containerd.runc.v2 runc",
        " Default Runtime: cove",
        "  seccomp",
        "   Profile: builtin",
        " HTTPS Proxy: http://xxxxx:xxxxx@proxy:1",
        "  127.0.0.0/8",
        " Live Restore Enabled: true",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let root = format!(" Docker Root Dir: {}", cove.roots().root().display());
    assert!(text.contains(&root), "{text}");
}
