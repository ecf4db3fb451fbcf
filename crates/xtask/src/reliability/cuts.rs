//! Power cuts at random moments of a command.

use std::path::Path;
use std::time::Duration;

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::leak::{Snapshot, describe, leaks, remove_cgroups};
use testkit::power::Disk;
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::world::World;

/// After so many cuts everything is removed and the leaks are counted.
const SPELL: u64 = 20;

pub(super) fn run(program: &Path, rounds: u64, rng: &mut Rng) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut disk = Disk::new(1024);
    let roots = Roots::beneath(&disk.path());
    let runroot = roots.runroot();
    // The roots themselves are older than the first cut.
    Cmd::new("sync").arg("--file-system").arg(disk.path()).ok();
    let mut world = World::new(Cove::at(program, roots))?;
    world.settle()?;
    let before = Snapshot::take(world.cove.roots());
    for round in 1..=rounds {
        if round % SPELL == 1 {
            world.refill()?;
        }
        let when = format!("cut {round}");
        let (cmd, effect, time) = world.order(rng);
        let running = cmd.start();
        let span = u64::try_from((time * 3 / 2).as_nanos()).unwrap_or(u64::MAX);
        let ended = running.ends_within(Duration::from_nanos(rng.below(span)));
        // The command is acknowledged when it has ended, not before: whoever
        // is killed by the cut has said nothing.
        disk.cut();
        let output = running.wait();
        tally.struck += usize::from(!ended);
        if ended {
            world.unharmed(effect, &output, &when, &mut tally);
        } else {
            world.forget(&effect);
        }
        // What dies with a boot.
        testkit::files::remove_tree(&runroot);
        std::fs::create_dir(&runroot).map_err(|e| format!("{}: {e}", runroot.display()))?;
        remove_cgroups(&runroot);
        tally.rounds += 1;
        world.check(&when, &mut tally);
        world.fsck(&when, &mut tally);
        if round % SPELL == 0 || round == rounds {
            if let Err(e) = world.empty() {
                tally
                    .broken
                    .push(format!("removing all after cut {round}: {e}"));
            }
            let left = leaks(&before, world.cove.roots());
            if !left.is_empty() {
                tally
                    .leaked
                    .push(format!("after cut {round}:\n{}", describe(&left)));
            }
            disk.check();
            eprintln!(
                "{round} cuts: {} lost, {} leaked, {} broken",
                tally.lost.len(),
                tally.leaked.len(),
                tally.broken.len()
            );
        }
    }
    drop(world);
    Ok(tally)
}
