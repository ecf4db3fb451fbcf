//! `info`, in Docker's lines.

use cove_docker::human;
use cove_docker::info::Info;
use cove_engine::Engine;

use super::system::show;
use super::tables::system::FormatFlags;
use crate::build;
use crate::outcome::Outcome;
use crate::output;
use crate::settings::Session;

/// Shows what the machine and the installation are like.
pub(crate) fn info(session: &Session, flags: &FormatFlags, _: &[String]) -> Outcome {
    let engine = session.engine()?;
    let info = Info::of(engine, &build::this(), |name| std::env::var(name).ok())?;
    let code = show(&flags.format, &info, || plain(engine, &info))?;
    if flags.format.is_empty() {
        for warning in info.warnings.iter().flatten() {
            output::note(warning);
        }
    }
    Ok(code)
}

/// Docker's lines, with the build and the second directory.
fn plain(engine: &Engine, info: &Info) -> String {
    let mut lines = vec![
        "Client:".to_owned(),
        format!(" Version:    {}", build::VERSION),
        " Context:    default".to_owned(),
        " Debug Mode: false".to_owned(),
        String::new(),
        "Server:".to_owned(),
        format!(" Containers: {}", info.containers),
        format!("  Running: {}", info.containers_running),
        format!("  Paused: {}", info.containers_paused),
        format!("  Stopped: {}", info.containers_stopped),
        format!(" Images: {}", info.images),
        format!(" Server Version: {}", info.server_version),
        format!("  Git Commit: {}", build::short_commit()),
        format!("  Built: {}", info.client_info.build_time),
        format!(" Storage Driver: {}", info.driver),
    ];
    for [name, value] in &info.driver_status {
        lines.push(format!("  {name}: {value}"));
    }
    let plugins = &info.plugins;
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    lines.extend([
        format!(" Logging Driver: {}", info.logging_driver),
        format!(" Cgroup Driver: {}", info.cgroup_driver),
        format!(" Cgroup Version: {}", info.cgroup_version),
        " Plugins:".to_owned(),
        format!("  Volume: {}", plugins.volume.join(" "))
            .trim_end()
            .to_owned(),
        format!("  Network: {}", plugins.network.join(" ")),
        format!("  Log: {}", plugins.log.join(" ")),
        " Swarm: inactive".to_owned(),
        format!(" Runtimes: {}", runtimes.join(" ")),
        format!(" Default Runtime: {}", info.default_runtime),
        format!(" Init Binary: {}", info.init_binary),
        " Security Options:".to_owned(),
    ]);
    for option in &info.security_options {
        for part in option.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => lines.push(format!("  {name}")),
                Some(("profile", name)) => lines.push(format!("   Profile: {name}")),
                Some(_) | None => {}
            }
        }
    }
    lines.extend([
        format!(" Kernel Version: {}", info.kernel_version),
        format!(" Operating System: {}", info.operating_system),
        format!(" OSType: {}", info.os_type),
        format!(" Architecture: {}", info.architecture),
        format!(" CPUs: {}", info.processors),
        format!(" Total Memory: {}", human::binary_size(info.memory)),
        format!(" Name: {}", info.name),
        format!(" ID: {}", info.id),
        format!(" Docker Root Dir: {}", info.docker_root_dir),
        format!(" Run Root Dir: {}", engine.roots().runroot.display()),
        " Debug Mode: false".to_owned(),
    ]);
    for (title, value) in [
        ("HTTP Proxy", &info.http_proxy),
        ("HTTPS Proxy", &info.https_proxy),
        ("No Proxy", &info.no_proxy),
    ] {
        if !value.is_empty() {
            lines.push(format!(" {title}: {value}"));
        }
    }
    lines.push(" Experimental: false".to_owned());
    lines.push(" Insecure Registries:".to_owned());
    for network in &info.registry_config.insecure_registry_cidrs {
        lines.push(format!("  {network}"));
    }
    lines.push(" Live Restore Enabled: true".to_owned());
    lines.push(String::new());
    lines.iter().map(|line| format!("{line}\n")).collect()
}
