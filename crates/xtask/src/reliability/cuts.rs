//! Power cuts at random moments of a command.

use std::path::Path;

use testkit::cmd::Cmd;
use testkit::fault::moment;
use testkit::leak::remove_cgroups;
use testkit::power::Disk;
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::orders::Effect;
use super::world::World;

/// After so many cuts everything is removed and the disk is checked.
const SPELL: u64 = 20;

pub(super) fn run(program: &Path, rounds: u64, rng: &mut Rng) -> Result<Tally, String> {
    let mut tally = Tally::new("power cut");
    let mut disk = Disk::new(1024);
    let roots = Roots::beneath(&disk.path());
    let runroot = roots.runroot();
    // The roots themselves are older than the first cut.
    Cmd::new("sync").arg("--file-system").arg(disk.path()).ok();
    let mut world = World::new(program, roots)?;
    for round in 1..=rounds {
        if round % SPELL == 1 {
            world.refill(rng)?;
        }
        let when = format!("cut {round}");
        let order = world.order(rng);
        let when = format!("{when}, {}", order.kind.name());
        let running = order.cmd.start();
        // Writing back makes the same command faster or slower from round to round.
        let ended = running.ends_within(moment(order.span * 4 / 5, rng));
        // The command is acknowledged when it has ended, not before: whoever
        // is killed by the cut has said nothing.
        disk.cut();
        let output = running.wait();
        tally.round(order.kind, !ended);
        if ended {
            world.clock.add(order.kind, &output);
            world.unharmed(&order.effect, &output, &when, &mut tally);
        } else {
            world.forget(&order.effect);
        }
        // What dies with a boot.
        world.power_lost();
        remove_cgroups(&runroot);
        testkit::files::remove_tree(&runroot);
        std::fs::create_dir(&runroot).map_err(|e| format!("{}: {e}", runroot.display()))?;
        world.check(&when, &mut tally);
        world.fsck(&when, &mut tally);
        start_one(&mut world, &when, rng, &mut tally);
        if round % SPELL == 0 || round == rounds {
            world.clear(&format!("after cut {round}"), &mut tally);
            disk.check();
            eprintln!("{round} cuts: {}", tally.sum());
        }
    }
    drop(world);
    Ok(tally)
}

/// A container that survived must also start, with the files it had.
fn start_one(world: &mut World, when: &str, rng: &mut Rng, tally: &mut Tally) {
    let names: Vec<String> = world.containers.keys().cloned().collect();
    let n = usize::try_from(rng.below(names.len().max(1) as u64)).unwrap_or(0);
    let Some(name) = names.get(n) else { return };
    match world.must(&["start", name]) {
        Ok(_) => drop(world.running.insert(name.clone())),
        Err(e) => {
            tally.broken.push(format!("{when}: {e}"));
            world.forget(&Effect::NoContainer(name.clone()));
        }
    }
}
