//! What the init waits for: its creator, which works for it meanwhile.

use cove_sys::clone::exit_now;
use cove_sys::ns;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::fail::{During, Step, refuse};
use super::process;
use crate::cgroup::{Entrance, GroupRecord, Record};
use crate::error::InitFault;
use crate::protocol::{Channel, Command};

/// The cgroup of the init.
#[derive(Debug)]
pub(crate) enum Cgroup<'a> {
    /// It is born in it, or has none.
    Own(&'a Record),
    /// It is made, in some of these directories, while the init works at its mounts.
    ToCome(&'a [GroupRecord]),
}

impl Cgroup<'_> {
    /// Whether this process is in none of the container's yet.
    fn is_all_to_come(&self) -> bool {
        matches!(self, Self::ToCome(places) if places.iter().all(|place| !place.is_unified()))
    }

    /// Until it is in a cgroup nobody who cleans up finds it, and a mount that hangs keeps it from
    /// noticing that its creator is gone: then it ends with the creator.
    pub(super) fn bind_to_creator(&self) -> Step {
        if !self.is_all_to_come() {
            return Ok(());
        }
        set_parent_process_death_signal(Some(Signal::KILL)).during(|| "end with the creator")
    }
}

/// The other side of the channel.
pub(crate) struct Creator<'a> {
    channel: &'a Channel,
    cgroup: &'a Cgroup<'a>,
    /// Whether a cgroup namespace is to be made.
    own_cgroups: bool,
    /// Whether its part (ids, devices) is done, or there is none.
    ready: bool,
    entered: Option<Record>,
}

impl<'a> Creator<'a> {
    pub(super) fn new(
        channel: &'a Channel,
        cgroup: &'a Cgroup<'a>,
        own_cgroups: bool,
        ready: bool,
    ) -> Self {
        Self {
            channel,
            cgroup,
            own_cgroups,
            ready,
            entered: None,
        }
    }

    /// Waits for its part, at most once.
    pub(super) fn part(&mut self) -> Step {
        if !self.ready {
            wait_for(self.channel, Command::Continue)?;
            self.ready = true;
        }
        Ok(())
    }

    /// Waits for the cgroups and enters them, at most once; tells which they are. As late as may
    /// be: what comes before is done while they are made.
    pub(super) fn cgroups(&mut self) -> Step<&Record> {
        if self.entered.is_none() {
            // It is told of before them.
            self.part()?;
            let record = match self.cgroup {
                Cgroup::Own(record) => (*record).clone(),
                Cgroup::ToCome(places) => self.enter(places)?,
            };
            if let Err(error) = cove_sys::sched::reset_affinity() {
                let text = format!("CPU affinity of the caller stays: {error}");
                process::warn(self.channel, text);
            }
            if self.own_cgroups {
                // A namespace made by clone3 would have the creator's group as its root.
                ns::unshare(ns::CGROUP).during(|| "make a cgroup namespace")?;
            }
            self.entered = Some(record);
        }
        Ok(self.entered.get_or_insert_default())
    }

    fn enter(&self, places: &[GroupRecord]) -> Step<Record> {
        // The creator is gone or failed, and has told its user already.
        let Ok(Some((made, files))) = self.channel.entrances() else {
            exit_now(1);
        };
        let made = made.iter().filter_map(|at| places.get(usize::from(*at)));
        let groups: Vec<GroupRecord> = made.cloned().collect();
        let named = || groups.iter().filter(|group| !group.is_unified());
        // The kernel hands over as many descriptors as this process may still open.
        if named().count() != files.len() {
            let text = "not every entrance of the cgroups arrived: too many open files";
            return refuse(InitFault::Setup, text);
        }
        let entrances: Vec<Entrance> = named()
            .zip(files)
            .map(|(group, file)| Entrance::opened(file, &group.mount.join(&group.path)))
            .collect();
        enter(&entrances)?;
        if self.cgroup.is_all_to_come() {
            set_parent_process_death_signal(None).during(|| "outlive the creator")?;
        }
        // All descriptors are closed at once before the program runs.
        std::mem::forget(entrances);
        Ok(Record { groups })
    }
}

/// Waits for a command.
pub(super) fn wait_for(channel: &Channel, wanted: Command) -> Step {
    match channel.next_command() {
        Ok(Some(command)) if command == wanted => Ok(()),
        // The creator is gone or failed, and has told its user already.
        _ => exit_now(1),
    }
}

/// Moves this process into its cgroups; nothing of the container runs before.
pub(crate) fn enter(entrances: &[Entrance]) -> Step {
    entrances.iter().try_for_each(|entrance| {
        let text = || format!("enter the cgroup by {}", entrance.path().display());
        entrance.enter().during(text)
    })
}
