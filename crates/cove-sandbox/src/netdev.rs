//! `linux.netDevices`: interfaces of the host that move into the container's network namespace,
//! with their addresses.

use std::os::fd::AsFd;

use cove_sys::rtlink::{self, Address};
use oci_spec::runtime::Linux;

use crate::error::{Error, Result};
use crate::init::{During, Step};

/// An interface with what it loses on the way.
#[derive(Debug)]
pub(crate) struct NetDevice {
    index: u32,
    /// Its name in the container.
    name: String,
    addresses: Vec<Address>,
}

/// Looks the interfaces up, before anything is made.
pub(crate) fn find(linux: Option<&Linux>) -> Result<Vec<NetDevice>> {
    let listed = linux.and_then(|linux| linux.net_devices().as_ref());
    let one = |(host, device): (&String, &oci_spec::runtime::LinuxNetDevice)| {
        let failed = |e| Error::path("find network device", host, e);
        let index = rtlink::index(host).map_err(failed)?;
        let addresses = rtlink::addresses(index).map_err(failed)?;
        let name = device.name().clone().unwrap_or_else(|| host.clone());
        Ok(NetDevice {
            index,
            name,
            addresses,
        })
    };
    listed.into_iter().flatten().map(one).collect()
}

/// Moves them; called by the creator, who has the right to the host's namespace.
pub(crate) fn hand_over(devices: &[NetDevice], namespace: impl AsFd) -> Result<()> {
    for device in devices {
        rtlink::move_to(device.index, namespace.as_fd(), &device.name)
            .map_err(|e| Error::path("move network device", &device.name, e))?;
    }
    Ok(())
}

/// Sets them up again; called by the init.
pub(crate) fn restore(devices: &[NetDevice]) -> Step {
    for device in devices {
        let text = || format!("set up network device {}", device.name);
        // The number may have changed if it was taken in the container.
        let index = rtlink::index(&device.name).during(text)?;
        rtlink::add_addresses(index, &device.addresses).during(text)?;
        rtlink::set_up(index).during(text)?;
    }
    Ok(())
}
