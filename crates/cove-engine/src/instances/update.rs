//! Changing an instance that exists: its name, its limits, its restart policy.

use cove_model::control::Request;
use cove_model::instance::{Limits, Record, RestartPolicy};

use super::Instances;
use super::lifecycle::is_down;
use super::limits;
use crate::error::{Error, Result};
use crate::spec;

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
            .map_err(Error::State)
    }

    /// Changes limits and restart policy, of a running instance at once. A
    /// limit that `asked` leaves out stays as it is.
    ///
    /// # Errors
    /// When a limit makes no sense or the kernel refuses it; nothing is
    /// recorded then.
    pub fn update(
        &self,
        record: &Record,
        asked: &Limits,
        restart: Option<RestartPolicy>,
    ) -> Result<()> {
        let cannot = |source| Error::Update {
            id: record.id.to_string(),
            source: Box::new(source),
        };
        let mut changed = record.clone();
        changed.spec.limits = merged(&record.spec.limits, asked);
        if above_swap(&record.spec.limits, asked) {
            return Err(cannot(Error::Conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                    .to_owned(),
            )));
        }
        limits::check(&changed.spec.limits, &limits::Host::of(asked))?;
        if let Some(policy) = restart {
            if changed.spec.auto_remove && policy != RestartPolicy::No {
                return Err(cannot(Error::Conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container"
                        .to_owned(),
                )));
            }
            changed.spec.restart = policy;
        }
        let state = self.status(record)?.state;
        if state.is_running() && changed.spec.limits != record.spec.limits {
            let resources = spec::resources(&changed.spec, &[], None)?;
            cove_sandbox::Container::load(&self.engine.roots.sandbox(), record.id.as_str())
                .and_then(|container| container.update(&spec::without_devices(resources)))
                .map_err(|error| cannot(Error::Sandbox(error)))?;
        }
        let durable = !changed.spec.auto_remove;
        self.engine
            .state
            .change(&record.id, durable, |record| {
                record.spec.limits = changed.spec.limits;
                record.spec.restart = changed.spec.restart;
            })
            .map_err(Error::State)?;
        let Some(policy) = restart.filter(|_| !is_down(state)) else {
            return Ok(());
        };
        match self.ask(record, &Request::UpdateRestart { policy }) {
            // It ended before it could be told: its next run begins with the record.
            Err(Error::Unreachable { .. }) if self.is_down(record)? => Ok(()),
            other => other,
        }
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
