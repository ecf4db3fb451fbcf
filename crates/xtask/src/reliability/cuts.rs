//! Power cuts at random moments of a command.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::cmd::{Cmd, pause};
use testkit::fault::moment;
use testkit::leak::remove_cgroups;
use testkit::power::Disk;
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::orders::{Effect, Kind};
use super::world::World;

/// After so many cuts everything is removed and the disk is checked.
const SPELL: u64 = 20;
/// About how long a pull of the small images is being settled.
const SETTLING: Duration = Duration::from_millis(10);
/// No pull takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// About how long a check takes that makes layers anew.
const REMAKING: Duration = Duration::from_millis(80);

pub(super) fn run(program: &Path, rounds: u64, rng: &mut Rng) -> Result<Tally, String> {
    let mut tally = Tally::new("power cut");
    let mut disk = Disk::new(1024);
    let roots = Roots::beneath(&disk.path());
    let (root, runroot) = (roots.root(), roots.runroot());
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
        // Writing back makes the same command faster or slower from round to
        // round. Every third pull is to be acknowledged.
        let acknowledged = order.kind == Kind::Pull && rng.below(3) == 0;
        let span = if acknowledged {
            PATIENCE
        } else {
            moment(order.span * 4 / 5, rng)
        };
        let ended = running.ends_within(span);
        if ended {
            // What was acknowledged is being settled.
            pause(moment(SETTLING, rng));
        }
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
        world.power_lost();
        end_boot(&runroot)?;
        let unsettled = unsettled(&root);
        tally.unsettled += unsettled.len();
        if !unsettled.is_empty() && rng.below(3) == 0 {
            // The power goes again while layers are made anew.
            let running = world.cove.cmd(["system", "fsck"]).start();
            let _ended = running.ends_within(moment(REMAKING, rng));
            disk.cut();
            drop(running.wait());
            end_boot(&runroot)?;
        }
        world.check(&when, &mut tally);
        world.fsck(&when, &mut tally);
        let anew = |(layer, inode): &(PathBuf, u64)| inode_of(layer) != Some(*inode);
        tally.made_anew += unsettled.iter().filter(|one| anew(one)).count();
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

/// What dies with a boot.
fn end_boot(runroot: &Path) -> Result<(), String> {
    remove_cgroups(runroot);
    testkit::files::remove_tree(runroot);
    std::fs::create_dir(runroot).map_err(|e| format!("{}: {e}", runroot.display()))
}

/// The layers that are durable by their redo logs only, and their inodes.
fn unsettled(root: &Path) -> Vec<(PathBuf, u64)> {
    let layers = std::fs::read_dir(root.join("layers"));
    let layers = layers.into_iter().flatten().flatten();
    layers
        .map(|layer| layer.path())
        .filter(|layer| layer.join("redo").exists())
        .filter_map(|layer| Some((layer.clone(), inode_of(&layer)?)))
        .collect()
}

fn inode_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|found| found.ino())
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
