//! How fast output goes through a supervisor into its log, in MB/s, and what
//! memory the supervisor holds. Run it with `--release`, after building the
//! example `shell_supervisor` the same way.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

use cove_model::control::WaitUntil;
use cove_supervisor::client::Client;
use cove_supervisor::config::{Config, LogConfig};
use cove_supervisor::logs::Format;
use cove_supervisor::spawn::spawn;

const BYTES: u32 = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let me = std::env::current_exe()?;
    let exe = File::open(me.with_file_name("shell_supervisor"))?;
    let formats = [Format::Cri, Format::Json];
    let widths = [20, 99, 1000, 60_000];
    for (format, width) in formats
        .into_iter()
        .flat_map(|format| widths.map(|width| (format, width)))
    {
        let dir = tempfile::tempdir()?;
        let mut config = Config::new("bench", dir.path().to_owned());
        config.log = Some(LogConfig {
            format,
            ..LogConfig::new(dir.path().join("log"))
        });
        config.start = true;
        let line = "x".repeat(width);
        let script = format!("yes {line} | head -c {BYTES}");
        let job = serde_json::json!({ "config": config, "script": script }).to_string();
        let argv = [CString::new("shell_supervisor")?];
        let env = [CString::new("PATH=/usr/bin:/bin")?];
        let begin = Instant::now();
        let handle = spawn(exe.as_fd(), &argv, &env, job.as_bytes())?;
        let smaps = format!("/proc/{}/smaps_rollup", handle.pid());
        handle.wait_ready()?;
        let memory = cove_sys::fs::read_to_string(smaps.as_ref(), 1 << 16)?;
        Client::new(dir.path()).wait(WaitUntil::Removed)?;
        let rate = f64::from(BYTES) / begin.elapsed().as_secs_f64() / 1e6;
        let private = memory
            .lines()
            .find(|line| line.starts_with("Private_Dirty:"));
        println!(
            "{format:?}, lines of {width}: {rate:.0} MB/s; {}",
            private.unwrap_or_default()
        );
    }
    Ok(())
}
