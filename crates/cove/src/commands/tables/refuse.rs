//! Docker's flags that Cove has nothing behind yet. Each is refused with what
//! to do instead: a flag that is read and ignored would be a lie.

macro_rules! refuse {
    ($($name:ident: $reason:expr;)+) => {$(
        pub(crate) fn $name(_: &str) -> Result<(), String> {
            Err($reason.to_owned())
        }
    )+};
}

refuse! {
    no_bridge: "not supported yet: containers have no bridge network in this release; with --network host their ports are the host's";
    no_links: "links are not supported; with --network container:NAME two containers share one network";
    no_volumes: "named volumes are not supported yet; bind mount a directory of the host instead";
    no_gpus: "GPU requests are not supported; pass device nodes with --device";
    no_storage_opt: "storage options are not supported";
    no_kernel_memory: "the kernel no longer supports a limit of kernel memory";
    no_real_time: "real-time scheduling limits are not supported";
    no_device_limits: "limits per block device are not supported yet";
    no_health: "health checks are not supported yet";
    no_all_tags: "not supported yet; pull the tags one by one";
    no_variants: "an image here is for one platform";
    no_socket: "there is no API socket to mount yet";
    no_checkpoints: "checkpoints are not supported";
    no_windows: "only containers of Windows have it";
}

/// `--disable-content-trust`, which is on unless somebody says otherwise.
pub(crate) fn no_trust(text: &str) -> Result<(), String> {
    match cove_model::go::parse_bool(text) {
        Some(true) => Ok(()),
        Some(false) => Err("signatures of content trust are not verified".to_owned()),
        None => Err("expected true or false".to_owned()),
    }
}

/// `--isolation`, which Linux has one kind of.
pub(crate) fn no_isolation(text: &str) -> Result<(), String> {
    match text {
        "" | "default" => Ok(()),
        _ => Err("there is no isolation but the default".to_owned()),
    }
}
