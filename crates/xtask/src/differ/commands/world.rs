//! A world is one engine with files, images and programs of its own, in which
//! cases run. Two worlds answer the same case.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::files::write as write_file;
use testkit::image::{Family, busybox};
use testkit::registry::Registry;
use testkit::roots::Roots;

use super::case::{Case, Peer};
use super::normal;
use crate::bench::docker::Docker;

/// No line of a case takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What one world said to a case, made comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Exit status of the command; `None` when the set-up failed.
    pub(crate) status: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

/// One engine.
pub(crate) struct World {
    directory: tempfile::TempDir,
    peer: Peer,
    environment: Vec<(String, String)>,
    /// What lives as long as the world.
    _holds: Holds,
}

/// What must be ended with a world.
#[expect(dead_code, reason = "held for their ends, which their Drop brings")]
enum Holds {
    Docker(Docker),
    Cove(Cove),
    Files,
}

/// What the worlds share.
pub(crate) struct Stage {
    registry: Registry,
    /// A root filesystem for bundles.
    rootfs: tempfile::TempDir,
    docker: OnceLock<World>,
    podman: OnceLock<World>,
    runc: OnceLock<World>,
    /// One Cove answers to all names.
    cove: [OnceLock<World>; 3],
}

impl Stage {
    pub(crate) fn new() -> Result<Self, String> {
        let registry = Registry::start();
        registry.push("busybox:latest", &busybox::image().family(Family::Docker));
        let app = busybox::image().family(Family::Docker).with(|run| {
            run.env.push("GREETING=hello".to_owned());
            run.entrypoint = Some(vec!["echo".to_owned()]);
            run.cmd = Some(vec!["from".to_owned(), "app".to_owned()]);
            run.user = "1000:1000".to_owned();
            run.working_dir = "/home/ann".to_owned();
            run.stop_signal = Some("SIGINT".to_owned());
            run.labels.insert("maker".to_owned(), "differ".to_owned());
            run.exposed_ports
                .insert("8080/tcp".to_owned(), Default::default());
        });
        registry.push("app:latest", &app);
        let rootfs = directory()?;
        busybox::image().write_rootfs(rootfs.path());
        Ok(Self {
            registry,
            rootfs,
            docker: OnceLock::new(),
            podman: OnceLock::new(),
            runc: OnceLock::new(),
            cove: [OnceLock::new(), OnceLock::new(), OnceLock::new()],
        })
    }

    /// Makes the peer's world and Cove's, unless they are there.
    pub(crate) fn prepare(&self, peer: Peer) -> Result<(), String> {
        let (theirs, ours) = self.slots(peer);
        if theirs.get().is_none() {
            let _same = theirs.set(self.peer_world(peer)?);
        }
        if ours.get().is_none() {
            let _same = ours.set(self.cove_world(peer)?);
        }
        Ok(())
    }

    /// The peer's world and Cove's, once prepared.
    pub(crate) fn worlds(&self, peer: Peer) -> Result<(&World, &World), String> {
        let (theirs, ours) = self.slots(peer);
        match (theirs.get(), ours.get()) {
            (Some(theirs), Some(ours)) => Ok((theirs, ours)),
            _ => Err("a world is not prepared".to_owned()),
        }
    }

    /// Removes what refused command lines of other cases left, before cases
    /// that look at everything.
    pub(crate) fn clear(&self) {
        for world in [&self.docker, &self.cove[0]]
            .into_iter()
            .filter_map(OnceLock::get)
        {
            let home = world.directory.path().join("home");
            for line in [
                "docker ps -aq | xargs -r docker rm -f",
                "docker images --format '{{.Repository}}:{{.Tag}}' | grep -vE '^(busybox|app|<none>):' | xargs -r docker rmi -f",
                "docker image prune -f",
            ] {
                let _best = world.line(line, &home, "-").run();
            }
        }
    }

    fn slots(&self, peer: Peer) -> (&OnceLock<World>, &OnceLock<World>) {
        match peer {
            Peer::Docker => (&self.docker, &self.cove[0]),
            Peer::Podman => (&self.podman, &self.cove[1]),
            Peer::Runc => (&self.runc, &self.cove[2]),
        }
    }

    fn peer_world(&self, peer: Peer) -> Result<World, String> {
        needs(peer)?;
        let directory = directory()?;
        let at = directory.path().display().to_string();
        let (holds, program, more) = match peer {
            Peer::Docker => {
                // A busy machine may keep its containerd waiting for too long.
                let docker = Docker::start()
                    .or_else(|first| Docker::start().map_err(|e| format!("{first}; again: {e}")))?;
                let host = ("DOCKER_HOST".to_owned(), docker.host());
                let program = format!("exec {} \"$@\"", docker_client());
                (Holds::Docker(docker), program, vec![host])
            }
            Peer::Podman => {
                let program = podman(directory.path())?;
                (Holds::Files, program, Vec::new())
            }
            Peer::Runc => (
                Holds::Files,
                format!("exec /usr/sbin/runc --root {at}/runc \"$@\""),
                Vec::new(),
            ),
        };
        let world = self.world(directory, peer, &program, more, holds)?;
        self.images(&world, peer)?;
        Ok(world)
    }

    fn cove_world(&self, peer: Peer) -> Result<World, String> {
        let program = testkit::cove::program()
            .ok_or("no cove beside this program: cargo build --package cove")?;
        let cove = Cove::at(&program, Roots::new());
        let roots = cove.roots();
        let more = vec![
            ("COVE_ROOT".to_owned(), roots.root().display().to_string()),
            (
                "COVE_RUNROOT".to_owned(),
                roots.runroot().display().to_string(),
            ),
        ];
        let directory = directory()?;
        let program = program.display();
        let script = match peer {
            Peer::Docker | Peer::Podman => format!("exec {program} \"$@\""),
            Peer::Runc => format!(
                "exec {program} oci --root {}/oci \"$@\"",
                directory.path().display()
            ),
        };
        let world = self.world(directory, peer, &script, more, Holds::Cove(cove))?;
        self.images(&world, peer)?;
        Ok(world)
    }

    fn world(
        &self,
        directory: tempfile::TempDir,
        peer: Peer,
        script: &str,
        more: Vec<(String, String)>,
        holds: Holds,
    ) -> Result<World, String> {
        let at = directory.path();
        for name in ["bin", "home", "cases"] {
            std::fs::create_dir(at.join(name)).map_err(|e| e.to_string())?;
        }
        let script = format!("#!/bin/sh\n{script}\n");
        write_file(&at.join("bin").join(peer.name()), &script, 0o755);
        write_file(&at.join("bin/bundle"), BUNDLE, 0o755);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut environment = vec![
            ("PATH".to_owned(), format!("{}/bin:{path}", at.display())),
            ("HOME".to_owned(), at.join("home").display().to_string()),
            ("R".to_owned(), self.registry.address().to_string()),
            (
                "ROOTFS".to_owned(),
                self.rootfs.path().display().to_string(),
            ),
            ("LC_ALL".to_owned(), "C".to_owned()),
        ];
        environment.extend(more);
        Ok(World {
            directory,
            peer,
            environment,
            _holds: holds,
        })
    }

    fn images(&self, world: &World, peer: Peer) -> Result<(), String> {
        let pull = match peer {
            Peer::Runc => return Ok(()),
            Peer::Docker => "docker pull -q",
            Peer::Podman => "podman pull -q",
        };
        let name = peer.name();
        for image in ["busybox", "app"] {
            let line = format!(
                "{pull} $R/{image} && {name} tag $R/{image} {image} && {name} rmi $R/{image}"
            );
            let output = world
                .line(&line, &world.directory.path().join("home"), "-")
                .run();
            if !output.success() {
                return Err(format!("an image for {name}: {output}"));
            }
        }
        Ok(())
    }
}

impl World {
    /// Runs a case and removes what it leaves.
    pub(crate) fn answer(&self, case: &Case) -> Answer {
        let place = self.directory.path().join("cases").join(&case.name);
        if let Err(e) = std::fs::create_dir(&place) {
            return Answer::failed(&format!("{}: {e}", place.display()));
        }
        let answer = self.answer_in(case, &place);
        self.clean(case, &place);
        let _left = std::fs::remove_dir_all(&place);
        answer
    }

    fn answer_in(&self, case: &Case, place: &Path) -> Answer {
        if !case.setup.is_empty() {
            let output = self
                .line(&format!("set -e; {}", case.setup), place, &case.name)
                .run();
            if !output.success() {
                return Answer::failed(&format!("the set-up: {}", output.err()));
            }
        }
        let output = self.line(&case.command, place, &case.name).run();
        let world = self.directory.path().display().to_string();
        let mut err = normal::errors(&output.err(), &world);
        if output.timed_out {
            err.push("(killed after its time)".to_owned());
        }
        Answer {
            status: Some(output.code()),
            out: normal::output(&output.out(), &world),
            err,
        }
    }

    fn line(&self, line: &str, place: &Path, name: &str) -> Cmd {
        let variables = self.environment.iter().map(|(k, v)| format!("{k}={v}"));
        Cmd::new("env")
            .arg("-i")
            .args(variables)
            .args([format!("C={name}"), format!("I=img-{name}")])
            .args(["sh", "-c", line])
            .directory(place)
            .limit(LIMIT)
    }

    fn clean(&self, case: &Case, place: &Path) {
        let name = self.peer.name();
        let uses = |sign: &str| case.setup.contains(sign) || case.command.contains(sign);
        let mut lines = Vec::new();
        match self.peer {
            Peer::Docker | Peer::Podman => {
                if uses("$C") || uses("docker run") || uses("docker create") {
                    lines.push(format!(
                        "{name} ps -a --format '{{{{.Names}}}}' | grep -E \"^$C(-.*)?\\$\" | xargs -r {name} rm -f"
                    ));
                }
                if uses("$I") {
                    lines.push(format!(
                        "{name} images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep -E \"^(localhost/)?$I(-[^:]*)?:\" | xargs -r {name} rmi -f"
                    ));
                }
            }
            Peer::Runc => lines.push("for c in $C $C-2; do runc delete -f $c; done".to_owned()),
        }
        for line in lines {
            let _best = self.line(&line, place, &case.name).run();
        }
    }
}

impl Answer {
    fn failed(why: &str) -> Self {
        Self {
            status: None,
            out: Vec::new(),
            err: vec![why.to_owned()],
        }
    }
}

/// Whether the programs are there that a peer's world is made of.
fn needs(peer: Peer) -> Result<(), String> {
    let (programs, packages): (&[&str], _) = match peer {
        Peer::Docker => (
            &["dockerd", docker_client(), "containerd", "jq"],
            "docker.io jq",
        ),
        Peer::Podman => (&["/usr/bin/podman", "/usr/sbin/runc"], "podman runc"),
        Peer::Runc => (&["/usr/sbin/runc", "jq"], "runc jq"),
    };
    for program in programs {
        let there = match program.strip_prefix('/') {
            Some(_) => Path::new(program).exists(),
            None => std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|directory| directory.join(program).exists())
            }),
        };
        if !there {
            return Err(format!(
                "{program} is not there, and without it nothing can be compared with {}: install {packages}",
                peer.name()
            ));
        }
    }
    Ok(())
}

/// `bundle DIR [FILTER]` makes a bundle whose config.json jq changed.
const BUNDLE: &str = r#"#!/bin/sh
set -e
mkdir -p "$1"
cd "$1"
/usr/sbin/runc spec
jq --arg rootfs "$ROOTFS" '.process.terminal = false | .root.path = $rootfs | .root.readonly = true
    | .process.args = ["true"] | del(.process.capabilities.ambient) | '"${2:-.}" config.json >changed
mv changed config.json
"#;

/// The newest client there is: one beside the distribution's comes first.
fn docker_client() -> &'static str {
    let own = "/usr/local/bin/docker";
    if Path::new(own).exists() {
        own
    } else {
        "/usr/bin/docker"
    }
}

/// Whether Docker's client is one whose words Cove follows; the distribution's
/// may be years older.
pub(crate) fn client_is_new() -> bool {
    let said = Cmd::new(docker_client()).arg("--version").run().out();
    let version = said.split_whitespace().nth(2).unwrap_or_default();
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    major.is_some_and(|major| major >= 28)
}

/// The script that runs podman with directories below `at`.
fn podman(at: &Path) -> Result<String, String> {
    let settings = at.join("containers.conf");
    let text = "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n\
        [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";
    std::fs::write(&settings, text).map_err(|e| e.to_string())?;
    let at = at.display();
    // Podman, too, refuses a host with both versions of cgroups.
    Ok(format!(
        "export CONTAINERS_CONF={at}/containers.conf\n\
         [ \"$1\" = pull ] && {{ shift; set -- pull --tls-verify=false \"$@\"; }}\n\
         exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"' podman \
         /usr/bin/podman --root {at}/root --runroot {at}/run --tmpdir {at}/tmp --storage-driver overlay \"$@\""
    ))
}

fn directory() -> Result<tempfile::TempDir, String> {
    let base = std::env::var_os("COVE_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new()
        .prefix("cvx")
        .tempdir_in(base)
        .map_err(|e| e.to_string())
}
