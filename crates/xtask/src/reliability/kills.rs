//! kill -9 of a command, or of the processes beside containers, at a random
//! moment.

use std::path::Path;
use std::time::Duration;

use testkit::fault::{kill_process, killed_beside, killed_within};
use testkit::rng::Rng;
use testkit::roots::Roots;

use super::Tally;
use super::orders::{Effect, Kind};
use super::sentinel::Sentinel;
use super::world::World;

/// After so many rounds everything is removed and the leaks are counted.
const SPELL: u64 = 25;

/// The faults, in the order of the tallies that are returned.
const FAULTS: [&str; 5] = [
    "kill -9 of a command",
    "of a supervisor or keeper during it",
    "of a command and one of them at once",
    "of a command, then of the next that cleans up",
    "of a container's first process",
];
/// How often each comes.
const DICE: [usize; 12] = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4];

pub(super) fn run(program: &Path, rounds: u64, rng: &mut Rng) -> Result<Vec<Tally>, String> {
    let mut tallies: Vec<Tally> = FAULTS.iter().map(|name| Tally::new(name)).collect();
    let mut world = World::new(program, Roots::new())?;
    let mut round = 0;
    while round < rounds {
        world.refill(rng)?;
        let mut sentinel = Sentinel::start(&world)?;
        for _ in 0..SPELL.min(rounds - round) {
            round += 1;
            let n = usize::try_from(rng.below(DICE.len() as u64)).unwrap_or(0);
            let fault = DICE[n];
            let tally = &mut tallies[fault];
            let when = strike(&mut world, fault, round, rng, tally);
            world.check(&when, tally);
            sentinel.check(&world, &when, tally);
        }
        let when = format!("after kill {round}");
        let tally = &mut tallies[0];
        world.fsck(&when, tally);
        sentinel.end(&world, &when, tally);
        world.clear(&when, tally);
        let sums: Vec<String> = tallies.iter().map(Tally::sum).collect();
        eprintln!("{round} kills: {}", sums.join("; "));
    }
    Ok(tallies)
}

/// One fault; tells which and at what.
fn strike(world: &mut World, fault: usize, round: u64, rng: &mut Rng, tally: &mut Tally) -> String {
    if fault == 4 {
        return strike_first_process(world, round, rng, tally);
    }
    let order = world.order(rng);
    let mut when = format!("kill {round} ({}), {}", FAULTS[fault], order.kind.name());
    let (output, struck) = match fault {
        1 | 2 => {
            let roots = world.cove.roots();
            let place = (roots, world.cove.program());
            let (output, killed) = killed_beside(&order.cmd, order.span, fault == 2, place, rng);
            if let Some(process) = &killed {
                when.push_str(&format!(", {process} killed"));
            }
            (output, killed.is_some())
        }
        _ => killed_within(&order.cmd, order.span, rng),
    };
    tally.round(order.kind, struck);
    if struck {
        world.note(&order.effect, &output);
    } else {
        world.clock.add(order.kind, &output);
        world.unharmed(&order.effect, &output, &when, tally);
    }
    if fault == 3 {
        // The next command, which cleans up, dies as well.
        let next = world.cove.cmd(["ps", "-aq"]);
        let (_, _struck) = killed_within(&next, Duration::from_millis(20), rng);
    }
    when
}

/// A container whose first process is killed is down; its record stays.
fn strike_first_process(world: &mut World, round: u64, rng: &mut Rng, tally: &mut Tally) -> String {
    if world.running.is_empty()
        && let Err(e) = world.undisturbed(Kind::Run, rng)
    {
        tally.broken.push(format!("kill {round}: {e}"));
    }
    let names: Vec<String> = world.running.iter().cloned().collect();
    let n = usize::try_from(rng.below(names.len().max(1) as u64)).unwrap_or(0);
    let when = format!("kill {round} ({})", FAULTS[4]);
    tally.rounds += 1;
    let Some(name) = names.get(n) else {
        return when;
    };
    match world.must(&["inspect", "--format", "{{.State.Pid}}", name]) {
        Ok(pid) => {
            if let Ok(pid) = pid.parse() {
                kill_process(pid);
                tally.struck += 1;
            }
        }
        Err(e) => tally.broken.push(format!("{when}: {e}")),
    }
    world.running.remove(name);
    if world.containers.get(name) == Some(&true) {
        world.forget(&Effect::NoContainer(name.clone()));
    } else if let Err(e) = world.must(&["wait", name]).and_then(|code| {
        if code == "137" {
            Ok(())
        } else {
            Err(format!("{name} ended with {code}"))
        }
    }) {
        tally.broken.push(format!("{when}: {e}"));
    }
    when
}
