//! A Cove under test and a model of what it has acknowledged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cove_model::image::Compression;
use testkit::cmd::{Cmd, Output};
use testkit::cove::Cove;
use testkit::image::busybox;
use testkit::image::many::{self, Shape};
use testkit::registry::Registry;
use testkit::rng::Rng;

use super::Tally;

/// The container that no kill may touch.
pub(super) const SENTINEL: &str = "sentinel";
/// How many images there are to pull.
const POOL: u64 = 6;

/// What a command does to the model when it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// An image is there.
    Image(String),
    /// An image is no more.
    NoImage(String),
    /// A container is there.
    Container(String),
    /// A container is no more.
    NoContainer(String),
    /// Nothing that lasts.
    Nothing,
}

/// The Cove, the registry it pulls from, and what must be there.
pub(super) struct World {
    pub(super) cove: Cove,
    images: BTreeSet<String>,
    containers: BTreeSet<String>,
    pool: Vec<String>,
    busybox: String,
    next: u64,
    // Last: the registry outlives what pulls from it.
    _registry: Registry,
}

impl World {
    /// A world whose Cove has pulled busybox and nothing else.
    pub(super) fn new(cove: Cove) -> Result<Self, String> {
        let registry = Registry::start();
        registry.push("busybox:latest", &busybox::image());
        let mut pool = Vec::new();
        for n in 0..POOL {
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
            pool.push(registry.reference(&name));
        }
        let busybox = registry.reference("busybox:latest");
        let mut world = Self {
            cove,
            images: BTreeSet::new(),
            containers: BTreeSet::new(),
            pool,
            busybox,
            next: 0,
            _registry: registry,
        };
        let image = world.busybox.clone();
        world.must(&["pull", "-q", &image])?;
        world.images.insert(image);
        Ok(world)
    }

    /// Runs one container and removes everything: what stays then are the
    /// directories and cgroups that the first container of a boot makes.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let image = self.busybox.clone();
        self.must(&["run", "--rm", "--network", "none", &image, "true"])?;
        self.empty()
    }

    /// Runs a command that no fault disturbs.
    pub(super) fn must(&self, words: &[&str]) -> Result<String, String> {
        let output = self.cove.cmd(words).limit(Duration::from_secs(60)).run();
        if output.success() {
            Ok(output.out().trim().to_owned())
        } else {
            Err(output.to_string())
        }
    }

    /// A random command that can be run now, its effect, and about how long
    /// it takes.
    pub(super) fn order(&mut self, rng: &mut Rng) -> (Cmd, Effect, Duration) {
        self.next += 1;
        let n = self.next;
        let pick = |set: &BTreeSet<String>, rng: &mut Rng| {
            let at = usize::try_from(rng.below(set.len().max(1) as u64)).unwrap_or(0);
            set.iter().nth(at).cloned()
        };
        let absent: BTreeSet<String> = self
            .pool
            .iter()
            .filter(|i| !self.images.contains(*i))
            .cloned()
            .collect();
        let removable: BTreeSet<String> = self
            .images
            .iter()
            .filter(|i| **i != self.busybox)
            .cloned()
            .collect();
        let busybox = self.busybox.clone();
        let ms = Duration::from_millis;
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let create = |kind: &str| {
            let name = format!("c{n}");
            let mut list = words(&[kind, "--network", "none", "--name", &name]);
            if kind == "run" {
                list.push("-d".to_owned());
            }
            list.extend(words(&[&busybox, "sleep", "100000"]));
            (list, Effect::Container(name), ms(120))
        };
        let some = pick(&self.containers, rng);
        let (list, effect, time) = match (rng.below(9), some) {
            (0..=2, _) => match pick(&absent, rng) {
                Some(image) => (
                    words(&["pull", "-q", &image]),
                    Effect::Image(image),
                    ms(500),
                ),
                None => create("create"),
            },
            (3, Some(name)) => (words(&["start", &name]), Effect::Nothing, ms(100)),
            (4, Some(name)) => (
                words(&["rm", "-f", &name]),
                Effect::NoContainer(name),
                ms(120),
            ),
            (5, Some(name)) => {
                let image = format!("kept{n}:latest");
                (
                    words(&["commit", &name, &image]),
                    Effect::Image(image),
                    ms(150),
                )
            }
            (6, _) => match pick(&removable, rng) {
                Some(image) => (
                    words(&["rmi", "-f", &image]),
                    Effect::NoImage(image),
                    ms(100),
                ),
                None => create("run"),
            },
            (7, _) => create("run"),
            _ => create("create"),
        };
        (
            self.cove.cmd(&list).limit(Duration::from_secs(60)),
            effect,
            time,
        )
    }

    /// Takes note of how a command ended that no fault struck: it must have worked.
    pub(super) fn unharmed(
        &mut self,
        effect: Effect,
        output: &Output,
        when: &str,
        tally: &mut Tally,
    ) {
        if !output.success() {
            tally
                .broken
                .push(format!("{when}: without a fault, {output}"));
        }
        self.note(effect, output);
    }

    /// Takes note of how a command ended. What it might have removed is not
    /// looked for, even when nobody acknowledged its removal.
    pub(super) fn note(&mut self, effect: Effect, output: &Output) {
        self.forget(&effect);
        if !output.success() {
            return;
        }
        match effect {
            Effect::Image(name) => drop(self.images.insert(name)),
            Effect::Container(name) => drop(self.containers.insert(name)),
            Effect::NoImage(_) | Effect::NoContainer(_) | Effect::Nothing => {}
        }
    }

    /// Forgets what an unfinished command might have removed.
    pub(super) fn forget(&mut self, effect: &Effect) {
        match effect {
            Effect::NoImage(name) => drop(self.images.remove(name)),
            Effect::NoContainer(name) => drop(self.containers.remove(name)),
            Effect::Image(_) | Effect::Container(_) | Effect::Nothing => {}
        }
    }

    /// After a fault: the first command works, and everything acknowledged is there.
    pub(super) fn check(&mut self, when: &str, tally: &mut Tally) {
        let began = Instant::now();
        let listed = self.must(&["ps", "-a", "--format", "{{.Names}}"]);
        tally.recovery = tally.recovery.max(began.elapsed());
        let containers: BTreeSet<String> = match listed {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(e) => return tally.broken.push(format!("{when}: {e}")),
        };
        let images = match self.must(&["images", "--format", "{{.Repository}}:{{.Tag}}"]) {
            Ok(text) => text.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
            Err(e) => return tally.broken.push(format!("{when}: {e}")),
        };
        tally.acknowledged += self.images.len() + self.containers.len();
        for image in self.images.difference(&images) {
            tally.lost.push(format!("{when}: image {image}"));
        }
        for name in self.containers.difference(&containers) {
            tally.lost.push(format!("{when}: container {name}"));
        }
        // Each loss counts once.
        self.images.retain(|image| images.contains(image));
        self.containers.retain(|name| containers.contains(name));
        // What nobody acknowledged may be there or not; it must go when asked.
        for name in containers
            .difference(&self.containers.clone())
            .filter(|n| *n != SENTINEL)
        {
            if let Err(e) = self.must(&["rm", "-f", name]) {
                tally.broken.push(format!("{when}: {e}"));
            }
        }
    }

    /// Every stored byte is as it was.
    pub(super) fn fsck(&self, when: &str, tally: &mut Tally) {
        if let Err(e) = self.must(&["system", "fsck"]) {
            tally.lost.push(format!("{when}: {e}"));
        }
    }

    /// Removes all containers and images.
    pub(super) fn empty(&mut self) -> Result<(), String> {
        for (list, remove) in [
            (vec!["ps", "-aq"], ["rm", "-f"]),
            (vec!["images", "-q", "--no-trunc"], ["rmi", "-f"]),
        ] {
            let listed = self.must(&list)?;
            let ids: BTreeSet<&str> = listed.split_whitespace().collect();
            if !ids.is_empty() {
                let mut words = remove.to_vec();
                words.extend(ids);
                self.must(&words)?;
            }
        }
        self.images.clear();
        self.containers.clear();
        Ok(())
    }

    /// Brings busybox back after [`World::empty`].
    pub(super) fn refill(&mut self) -> Result<(), String> {
        let image = self.busybox.clone();
        self.must(&["pull", "-q", &image])?;
        self.images.insert(image);
        Ok(())
    }
}
