//! A Cove under test and a model of what it has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::cmd::Output;
use testkit::cove::Cove;
use testkit::image::busybox;
use testkit::leak::{Snapshot, describe, leaks_besides};
use testkit::registry::Registry;
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::orders::{Clock, Effect, Kind, pool};

/// How long a supervisor may take to see that a client is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// The container that no kill may touch.
pub(super) const SENTINEL: &str = "sentinel";

/// The Cove, the registry it pulls from, and what must be there.
pub(super) struct World {
    pub(super) cove: Cove,
    /// Names of images that were acknowledged.
    pub(super) images: BTreeSet<String>,
    /// Names of containers, and whether one goes at its end.
    pub(super) containers: BTreeMap<String, bool>,
    /// Names of containers that run.
    pub(super) running: BTreeSet<String>,
    pub(super) pool: Vec<String>,
    pub(super) busybox: String,
    pub(super) next: u64,
    /// How long commands take.
    pub(super) clock: Clock,
    /// What there was before the first command that counts.
    before: Snapshot,
    // Last: the registry outlives what pulls from it.
    _registry: Registry,
}

impl World {
    /// A world whose Cove has run one container and holds nothing.
    pub(super) fn new(program: &Path, roots: Roots) -> Result<Self, String> {
        let cove = Cove::at(program, roots);
        let registry = Registry::start();
        registry.push("busybox:latest", &busybox::image());
        let pool = pool(&registry);
        let before = Snapshot::take(cove.roots());
        let mut world = Self {
            cove,
            images: BTreeSet::new(),
            containers: BTreeMap::new(),
            running: BTreeSet::new(),
            pool,
            busybox: registry.reference("busybox:latest"),
            next: 0,
            clock: Clock::default(),
            before,
            _registry: registry,
        };
        world.bring_busybox()?;
        // What stays then are the directories that the first container of a boot makes.
        world.must(&["run", "--rm", "--network", "none", &world.busybox, "true"])?;
        world.calibrate()?;
        world.empty()?;
        world.before = Snapshot::take(world.cove.roots());
        Ok(world)
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

    /// Takes note of how a command ended that no fault struck: it must have worked.
    pub(super) fn unharmed(
        &mut self,
        effect: &Effect,
        output: &Output,
        when: &str,
        tally: &mut Tally,
    ) {
        if !output.success() {
            let text = format!("{when}: without a fault, {output}");
            tally.broken.push(text);
        }
        self.note(effect, output);
    }

    /// Takes note of how a command ended. What it might have removed is not
    /// looked for, even when nobody acknowledged its removal.
    pub(super) fn note(&mut self, effect: &Effect, output: &Output) {
        self.forget(effect);
        if !output.success() {
            return;
        }
        match effect {
            Effect::Image(name) => drop(self.images.insert(name.clone())),
            Effect::Container { name, runs, goes } => {
                self.containers.insert(name.clone(), *goes);
                if *runs {
                    self.running.insert(name.clone());
                }
            }
            Effect::Runs(name) => drop(self.running.insert(name.clone())),
            Effect::NoImage(_) | Effect::NoContainer(_) => {}
        }
    }

    /// Forgets what an unfinished command might have removed.
    pub(super) fn forget(&mut self, effect: &Effect) {
        match effect {
            Effect::NoImage(name) => drop(self.images.remove(name)),
            Effect::NoContainer(name) => {
                self.containers.remove(name);
                self.running.remove(name);
            }
            Effect::Image(_) | Effect::Container { .. } | Effect::Runs(_) => {}
        }
    }

    /// The power went: nothing runs, and what was to go at its end is gone.
    pub(super) fn power_lost(&mut self) {
        self.running.clear();
        self.containers.retain(|_, goes| !*goes);
    }

    /// After a fault: the first command works and cleans up, and everything
    /// acknowledged is there.
    pub(super) fn check(&mut self, when: &str, tally: &mut Tally) {
        if let Err(e) = self.compare(when, tally) {
            tally.broken.push(format!("{when}: {e}"));
        }
    }

    fn compare(&mut self, when: &str, tally: &mut Tally) -> Result<(), String> {
        let began = Instant::now();
        let (ids, mut states) = self.listed()?;
        tally.recovery = tally.recovery.max(began.elapsed());
        // A container that was frozen for a client that was killed goes on when
        // its supervisor hears of that.
        let held = |states: &BTreeMap<String, String>| {
            self.running
                .iter()
                .any(|name| states.get(name).is_some_and(|state| state == "paused"))
        };
        while held(&states) && began.elapsed() < PATIENCE {
            states = self.listed()?.1;
        }
        // One command is all that the leftovers may outlive.
        let left = leaks_besides(&self.before, self.cove.roots(), &ids);
        if !left.is_empty() {
            tally.leaked.push(format!("{when}:\n{}", describe(&left)));
            // A leak counts once.
            self.before = Snapshot::take(self.cove.roots()).besides(&ids);
        }
        let images = self.must(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
        let images: BTreeSet<String> = images.lines().map(str::to_owned).collect();
        tally.acknowledged += self.images.len() + self.containers.len() + self.running.len();
        for image in self.images.difference(&images) {
            tally.lost.push(format!("{when}: image {image}"));
        }
        for name in self.containers.keys().filter(|n| !states.contains_key(*n)) {
            tally.lost.push(format!("{when}: container {name}"));
        }
        for name in &self.running {
            if states.get(name).is_some_and(|state| state != "running") {
                let state = &states[name];
                let told = self.must(&["inspect", "--format", "{{json .State}}", name]);
                let told = told.unwrap_or_else(|e| e);
                let text = format!("{when}: {name} ran and is {state}: {told}");
                tally.lost.push(text);
            }
        }
        // Each loss counts once.
        self.images.retain(|image| images.contains(image));
        self.containers.retain(|name, _| states.contains_key(name));
        self.running
            .retain(|name| states.get(name).is_some_and(|state| state == "running"));
        // What nobody acknowledged may be there or not; it must go when asked.
        for name in states.keys() {
            if name != SENTINEL && !self.containers.contains_key(name) {
                self.must(&["rm", "-f", name])?;
            }
        }
        Ok(())
    }

    /// The ids of all containers, and their states by name.
    fn listed(&self) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
        let format = "{{.ID}} {{.Names}} {{.State}}";
        let listed = self.must(&["ps", "-a", "--no-trunc", "--format", format])?;
        let mut ids = Vec::new();
        let mut states = BTreeMap::new();
        for line in listed.lines() {
            if let [id, name, state] = line.split(' ').collect::<Vec<_>>()[..] {
                ids.push(id.to_owned());
                states.insert(name.to_owned(), state.to_owned());
            }
        }
        Ok((ids, states))
    }

    /// Every stored byte is as it was.
    pub(super) fn fsck(&self, when: &str, tally: &mut Tally) {
        if let Err(e) = self.must(&["system", "fsck"]) {
            tally.lost.push(format!("{when}: {e}"));
        }
    }

    /// Removes all containers and images; then there must be nothing left.
    pub(super) fn clear(&mut self, when: &str, tally: &mut Tally) {
        if let Err(e) = self.empty() {
            tally.broken.push(format!("removing all {when}: {e}"));
            return;
        }
        let left = leaks_besides(&self.before, self.cove.roots(), &[]);
        if !left.is_empty() {
            tally.leaked.push(format!("{when}:\n{}", describe(&left)));
            self.before = Snapshot::take(self.cove.roots());
        }
        for directory in ["layers", "blobs/sha256", "images/by-id", "images/names"] {
            let path = self.cove.roots().root().join(directory);
            let stays = std::fs::read_dir(path).map_or(0, Iterator::count);
            if stays > 0 {
                tally.leaked.push(format!("{when}: {stays} in {directory}"));
            }
        }
    }

    fn empty(&mut self) -> Result<(), String> {
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
        self.running.clear();
        Ok(())
    }

    /// Brings busybox back after [`World::clear`], and some more that must survive.
    pub(super) fn refill(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.bring_busybox()?;
        for kind in [Kind::Pull, Kind::Create, Kind::Run, Kind::Run, Kind::Commit] {
            self.undisturbed(kind, rng)?;
        }
        Ok(())
    }

    fn bring_busybox(&mut self) -> Result<(), String> {
        let image = self.busybox.clone();
        self.must(&["pull", "-q", &image])?;
        self.images.insert(image);
        Ok(())
    }
}
