//! The commands that are struck: random ones, and how long each kind takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cove_model::image::Compression;
use testkit::cmd::{Cmd, Output};
use testkit::image::many::{self, Shape};
use testkit::registry::Registry;
use testkit::rng::Rng;

use super::world::World;

/// How many images there are to pull.
const POOL: u64 = 6;
/// Every kind is run so often before the first fault.
const TRIALS: usize = 3;
/// A container writes something of its own, so that a commit has something to keep.
const SCRIPT: &str = "head -c 300000 /dev/urandom >/data; exec sleep 100000";

/// A kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Pull,
    Create,
    Run,
    RunRemoved,
    Start,
    Commit,
    Remove,
    RemoveImage,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Pull,
        Self::Create,
        Self::Run,
        Self::RunRemoved,
        Self::Start,
        Self::Commit,
        Self::Remove,
        Self::RemoveImage,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Run => "run",
            Self::RunRemoved => "run --rm",
            Self::Start => "start",
            Self::Commit => "commit",
            Self::Remove => "rm",
            Self::RemoveImage => "rmi",
        }
    }
}

/// What a command does to the model when it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// An image is there.
    Image(String),
    /// An image is no more.
    NoImage(String),
    /// A container is there.
    Container {
        name: String,
        /// It runs.
        runs: bool,
        /// It goes at its end.
        goes: bool,
    },
    /// A container that was there runs.
    Runs(String),
    /// A container is no more.
    NoContainer(String),
}

/// A command to be struck.
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) cmd: Cmd,
    pub(super) effect: Effect,
    /// The time within which the fault comes: 1.2 times the usual duration.
    pub(super) span: Duration,
}

/// How long commands that nothing disturbed took.
#[derive(Debug, Default)]
pub(super) struct Clock(BTreeMap<Kind, Vec<Duration>>);

impl Clock {
    pub(super) fn add(&mut self, kind: Kind, output: &Output) {
        if output.success() {
            self.0.entry(kind).or_default().push(output.time);
        }
    }

    /// The median of the last ones.
    pub(super) fn usual(&self, kind: Kind) -> Duration {
        let all = self.0.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let mut last = all[all.len().saturating_sub(3)..].to_vec();
        last.sort_unstable();
        last.get(last.len() / 2)
            .copied()
            .unwrap_or(Duration::from_millis(100))
    }
}

/// Fills the registry with images to pull.
pub(super) fn pool(registry: &Registry) -> Vec<String> {
    (0..POOL)
        .map(|n| {
            // Another number of files is another content.
            let compression = if n % 2 == 0 {
                Compression::Gzip
            } else {
                Compression::Zstd
            };
            let shape = Shape {
                layers: 3,
                files: 300 + n * 3,
                bytes: 6 << 20,
                compression,
            };
            let name = format!("many{n}:latest");
            registry.push(&name, &many::image(shape));
            registry.reference(&name)
        })
        .collect()
}

impl World {
    /// Learns how long commands take, and that each works.
    pub(super) fn calibrate(&mut self) -> Result<(), String> {
        let mut rng = Rng::new(1);
        for kind in Kind::ALL.iter().copied().cycle().take(TRIALS * 8) {
            self.undisturbed(kind, &mut rng)?;
        }
        Ok(())
    }

    /// Runs one command of a kind that nothing disturbs.
    pub(super) fn undisturbed(&mut self, kind: Kind, rng: &mut Rng) -> Result<(), String> {
        let Some(order) = self.order_of(kind, rng) else {
            return Ok(());
        };
        let output = order.cmd.run();
        self.clock.add(kind, &output);
        self.note(&order.effect, &output);
        if output.success() {
            Ok(())
        } else {
            Err(output.to_string())
        }
    }

    /// A random command that can be run now.
    pub(super) fn order(&mut self, rng: &mut Rng) -> Order {
        use Kind::{Commit, Create, Pull, Remove, RemoveImage, Run, RunRemoved, Start};
        const DICE: [Kind; 18] = [
            Pull,
            Pull,
            Pull,
            Create,
            Create,
            Run,
            Run,
            RunRemoved,
            RunRemoved,
            Start,
            Start,
            Start,
            Commit,
            Commit,
            Commit,
            Remove,
            Remove,
            RemoveImage,
        ];
        loop {
            let n = usize::try_from(rng.below(DICE.len() as u64)).unwrap_or(0);
            if let Some(order) = self.order_of(DICE[n], rng) {
                return order;
            }
        }
    }

    /// A command of a kind; `None` when there is nothing it could be done to.
    fn order_of(&mut self, kind: Kind, rng: &mut Rng) -> Option<Order> {
        self.next += 1;
        let fresh = format!("c{}", self.next);
        let busybox = self.busybox.clone();
        let container = |runs: bool, goes: bool| Effect::Container {
            name: fresh.clone(),
            runs,
            goes,
        };
        let mut list: Vec<&str> = Vec::new();
        let effect = match kind {
            Kind::Pull => {
                let absent = self.pool.iter().filter(|i| !self.images.contains(*i));
                Effect::Image(pick(absent, rng)?)
            }
            Kind::Create => {
                list.extend(["create", "--network", "none", "--name", &fresh, &busybox]);
                list.extend(["sh", "-c", SCRIPT]);
                container(false, false)
            }
            Kind::Run | Kind::RunRemoved => {
                list.extend(["run", "-d", "--network", "none", "--name", &fresh]);
                let goes = kind == Kind::RunRemoved;
                if goes {
                    list.push("--rm");
                }
                list.extend([busybox.as_str(), "sh", "-c", SCRIPT]);
                container(true, goes)
            }
            Kind::Start => {
                let down = self.containers.keys();
                let down = down.filter(|name| !self.running.contains(*name));
                Effect::Runs(pick(down, rng)?)
            }
            Kind::Commit => {
                list.extend(["commit"]);
                Effect::Image(format!("kept{}:latest", self.next))
            }
            Kind::Remove => Effect::NoContainer(pick(self.containers.keys(), rng)?),
            Kind::RemoveImage => {
                let others = self.images.iter().filter(|i| **i != busybox);
                Effect::NoImage(pick(others, rng)?)
            }
        };
        let source = if kind == Kind::Commit {
            pick(self.containers.keys(), rng)?
        } else {
            String::new()
        };
        match (kind, &effect) {
            (Kind::Pull, Effect::Image(name)) => list.extend(["pull", "-q", name]),
            (Kind::Start, Effect::Runs(name)) => list.extend(["start", name]),
            (Kind::Commit, Effect::Image(name)) => list.extend([source.as_str(), name]),
            (Kind::Remove, Effect::NoContainer(name)) => list.extend(["rm", "-f", name]),
            (Kind::RemoveImage, Effect::NoImage(name)) => list.extend(["rmi", "-f", name]),
            _ => {}
        }
        let cmd = self.cove.cmd(&list).limit(Duration::from_secs(60));
        Some(Order {
            kind,
            cmd,
            effect,
            span: self.clock.usual(kind) * 6 / 5,
        })
    }
}

fn pick<'a>(from: impl Iterator<Item = &'a String>, rng: &mut Rng) -> Option<String> {
    let all: BTreeSet<&String> = from.collect();
    let n = usize::try_from(rng.below(all.len().max(1) as u64)).ok()?;
    all.iter().nth(n).map(|name| (*name).clone())
}
