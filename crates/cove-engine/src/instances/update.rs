//! Changing an instance that exists: its name, its limits, its restart policy.

use cove_model::control::Request;
use cove_model::event::InstanceChange;
use cove_model::instance::{InstanceSpec, Limits, Record, RestartPolicy};
use cove_state::Locked;
use rustix::fs::FlockOperation;

use super::Instances;
use super::limits;
use super::status::{is_down, is_orphan};
use crate::driver::{self, FormerLimits};
use crate::error::{Error, Result};
use crate::turn::take_turn;

impl Instances<'_> {
    /// Gives an instance another name.
    ///
    /// # Errors
    /// When the name is taken or breaks the grammar.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == record.name {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        self.engine
            .state
            .rename(&record.id, name)
            .map_err(Error::State)?;
        let old_name = record.name.clone();
        let mut renamed = record.clone();
        name.clone_into(&mut renamed.name);
        self.note(&renamed, InstanceChange::Rename { old_name });
        Ok(())
    }

    /// Changes limits and restart policy, of a running instance at once. A
    /// limit that `asked` leaves out stays as it is, also when another command
    /// changes it at this moment. What the host cannot keep is left out; what the
    /// user should know of that is returned.
    ///
    /// # Errors
    /// When a limit makes no sense or the kernel refuses it; nothing is
    /// changed then.
    pub fn update(
        &self,
        record: &Record,
        asked: &Limits,
        restart: Option<RestartPolicy>,
    ) -> Result<Vec<String>> {
        let host = limits::Host::of(asked);
        let mut kept = asked.clone();
        let warnings = limits::keepable(&mut kept, &host)?;
        let runtime = self.runtime_dir(record);
        loop {
            // Puts a supervisor beside an instance that lost its own.
            self.status(record)?;
            let turn = take_turn(&runtime, FlockOperation::LockExclusive)?;
            let seen = self.look(record)?;
            if seen.as_ref().is_some_and(is_orphan) {
                continue;
            }
            let changed = self.change(record, &kept, &host, restart)?;
            let supervised = seen.is_some_and(|seen| !is_down(seen.status.state));
            if let Some(policy) = restart.filter(|_| supervised)
                && let Err(error) = self.tell(record, policy)
            {
                // Why the supervisor does not heed it counts more than what else is in the way.
                drop(self.take_back(record, changed));
                return Err(error);
            }
            // Without a turn, somebody may have begun to start it with the limits it had.
            if turn.is_some() || !runtime.exists() {
                self.note(record, InstanceChange::Update);
                return Ok(warnings);
            }
        }
    }

    /// Changes the record, and what the kernel has of it.
    fn change(
        &self,
        record: &Record,
        asked: &Limits,
        host: &limits::Host,
        restart: Option<RestartPolicy>,
    ) -> Result<Changed> {
        let cannot = |source| cannot_update(record, source);
        let locked = self.engine.state.lock(&record.id).map_err(Error::State)?;
        let before = locked.get().map_err(Error::State)?.spec;
        let mut after = before.clone();
        after.limits = merged(&before.limits, asked);
        if above_swap(&before.limits, asked) {
            return Err(cannot(Error::Conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                    .to_owned(),
            )));
        }
        limits::check(&after.limits, host)?;
        if let Some(policy) = restart {
            if before.auto_remove && policy != RestartPolicy::No {
                return Err(cannot(Error::Conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container"
                        .to_owned(),
                )));
            }
            after.restart = policy;
        }
        let former = if after.limits == before.limits {
            FormerLimits::default()
        } else {
            self.limit(record, &after).map_err(cannot)?
        };
        if let Err(error) = keep(&locked, &after) {
            // A record that cannot be written is what is said; the kernel had what it gets back.
            drop(former.restore());
            return Err(error);
        }
        Ok(Changed { before, former })
    }

    fn take_back(&self, record: &Record, changed: Changed) -> Result<()> {
        let locked = self.engine.state.lock(&record.id).map_err(Error::State)?;
        let restored = changed.former.restore();
        keep(&locked, &changed.before)?;
        restored
    }

    /// Sets the limits of what runs. While the record is locked nothing of the instance is
    /// being created, so what does not run now will begin with the record.
    fn limit(&self, record: &Record, spec: &InstanceSpec) -> Result<FormerLimits> {
        driver::of(&self.engine.roots, record).update(spec)
    }

    /// Tells the supervisor. One that has gone meanwhile need not know: the next begins with
    /// the record.
    fn tell(&self, record: &Record, policy: RestartPolicy) -> Result<()> {
        match self.ask(record, &Request::UpdateRestart { policy }) {
            Err(error @ Error::Unreachable { .. }) => match self.look(record)? {
                Some(seen) if seen.supervised && !is_down(seen.status.state) => Err(error),
                Some(_) | None => Ok(()),
            },
            other => other,
        }
    }
}

/// What an update changed, to take it back.
#[derive(Debug)]
struct Changed {
    before: InstanceSpec,
    former: FormerLimits,
}

/// Writes limits and restart policy into the record.
fn keep(locked: &Locked<'_, Record>, spec: &InstanceSpec) -> Result<()> {
    let change = |record: &mut Record| {
        record.spec.limits = spec.limits.clone();
        record.spec.restart = spec.restart;
    };
    locked.change(change).map_err(Error::State)
}

fn cannot_update(record: &Record, source: Error) -> Error {
    Error::Update {
        id: record.id.to_string(),
        source: Box::new(source),
    }
}

/// Whether more memory is asked for than memory and swap together have been
/// given. Where there was no limit, or none of swap, there is nothing above it.
fn above_swap(now: &Limits, new: &Limits) -> bool {
    let both = now
        .memory_and_swap()
        .and_then(|both| u64::try_from(both).ok());
    match (new.memory, new.memory_swap, both) {
        (Some(memory), None, Some(both)) => memory > both,
        _ => false,
    }
}

/// The limits after an update. Neither Docker nor the kernel is asked to take a
/// limit away, so what the update leaves out is still what the kernel enforces.
fn merged(now: &Limits, new: &Limits) -> Limits {
    let text = |new: &Option<String>, now: &Option<String>| new.as_ref().or(now.as_ref()).cloned();
    Limits {
        memory: new.memory.or(now.memory),
        memory_reservation: new.memory_reservation.or(now.memory_reservation),
        memory_swap: new.memory_swap.or(now.memory_and_swap()),
        memory_swappiness: new.memory_swappiness.or(now.memory_swappiness),
        oom_kill_disable: new.oom_kill_disable || now.oom_kill_disable,
        nano_cpus: new.nano_cpus.or(now.nano_cpus),
        cpu_shares: new.cpu_shares.or(now.cpu_shares),
        cpu_quota: new.cpu_quota.or(now.cpu_quota),
        cpu_period: new.cpu_period.or(now.cpu_period),
        cpuset_cpus: text(&new.cpuset_cpus, &now.cpuset_cpus),
        cpuset_mems: text(&new.cpuset_mems, &now.cpuset_mems),
        pids: new.pids.or(now.pids),
        blkio_weight: new.blkio_weight.or(now.blkio_weight),
        cgroup_parent: text(&new.cgroup_parent, &now.cgroup_parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_update_leaves_out_stays() {
        let now = Limits {
            memory: Some(64 << 20),
            cpuset_cpus: Some("0".to_owned()),
            pids: Some(10),
            ..Limits::default()
        };
        let new = Limits {
            memory_swap: Some(-1),
            pids: Some(-1),
            ..Limits::default()
        };
        let expected = Limits {
            memory_swap: Some(-1),
            pids: Some(-1),
            ..now.clone()
        };
        assert_eq!(merged(&now, &new), expected);
        let expected = Limits {
            memory_swap: Some(128 << 20),
            ..now.clone()
        };
        assert_eq!(merged(&now, &Limits::default()), expected);
    }

    #[test]
    fn memory_does_not_outgrow_the_swap_it_was_given() {
        let memory = |memory, memory_swap| Limits {
            memory,
            memory_swap,
            ..Limits::default()
        };
        let now = memory(Some(100), None);
        for (now, new, above) in [
            (&now, memory(Some(200), None), false),
            (&now, memory(Some(201), None), true),
            (&now, memory(Some(201), Some(300)), false),
            (&now, memory(Some(201), Some(-1)), false),
            (&memory(Some(100), Some(-1)), memory(Some(900), None), false),
            (&memory(None, None), memory(Some(900), None), false),
        ] {
            assert_eq!(above_swap(now, &new), above, "{now:?} {new:?}");
        }
    }
}
