//! kill -9 of a command, or of a supervisor, at a random moment.

use std::path::Path;
use std::time::Duration;

use testkit::cove::Cove;
use testkit::fault::{kill_one, killed_within};
use testkit::leak::{Snapshot, describe, leaks};
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::world::{SENTINEL, World};

/// After so many rounds everything is removed and the leaks are counted.
const SPELL: u64 = 25;

pub(super) fn run(program: &Path, rounds: u64, rng: &mut Rng) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut world = World::new(Cove::at(program, Roots::new()))?;
    world.settle()?;
    let mut before = Snapshot::take(world.cove.roots());
    let mut round = 0;
    while round < rounds {
        world.refill()?;
        let sentinel = start_sentinel(&world)?;
        for _ in 0..SPELL.min(rounds - round) {
            round += 1;
            let when = format!("kill {round}");
            if rng.below(5) == 0 {
                // A supervisor: its container must go on.
                let killed = kill_one(world.cove.roots(), program, rng);
                tally.struck += usize::from(killed.is_some());
            } else {
                let (cmd, effect, time) = world.order(rng);
                let (output, struck) = killed_within(&cmd, time * 5 / 4, rng);
                tally.struck += usize::from(struck);
                if struck {
                    world.note(effect, &output);
                } else {
                    world.unharmed(effect, &output, &when, &mut tally);
                }
            }
            tally.rounds += 1;
            check_sentinel(&world, &sentinel, &when, &mut tally);
            world.check(&when, &mut tally);
        }
        world.fsck(&format!("after kill {round}"), &mut tally);
        if let Err(e) = world.empty() {
            tally
                .broken
                .push(format!("removing all after kill {round}: {e}"));
        }
        let left = leaks(&before, world.cove.roots());
        if !left.is_empty() {
            tally
                .leaked
                .push(format!("after kill {round}:\n{}", describe(&left)));
            // A leak counts once.
            world = World::new(Cove::at(program, Roots::new()))?;
            world.settle()?;
            before = Snapshot::take(world.cove.roots());
        }
        eprintln!(
            "{round} kills: {} lost, {} leaked, {} broken",
            tally.lost.len(),
            tally.leaked.len(),
            tally.broken.len()
        );
    }
    Ok(tally)
}

/// A container that writes to its standard output all the time, so that a
/// broken pipe would end it; returns its process.
fn start_sentinel(world: &World) -> Result<String, String> {
    let image = world.must(&["images", "-q"])?;
    let image = image.lines().next().unwrap_or_default();
    let script = "while :; do echo alive || exit 9; usleep 20000; done";
    world.must(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        SENTINEL,
        image,
        "sh",
        "-c",
        script,
    ])?;
    world.must(&["inspect", "--format", "{{.State.Pid}}", SENTINEL])
}

fn check_sentinel(world: &World, pid: &str, when: &str, tally: &mut Tally) {
    let alive = testkit::files::text(format!("/proc/{pid}/stat").as_ref())
        .is_some_and(|stat| !stat.contains(") Z "));
    if !alive {
        tally.lost.push(format!("{when}: the running container"));
        return;
    }
    let works = world
        .cove
        .cmd(["exec", SENTINEL, "true"])
        .limit(Duration::from_secs(20))
        .run();
    if !works.success() {
        tally.broken.push(format!("{when}: {works}"));
    }
}
