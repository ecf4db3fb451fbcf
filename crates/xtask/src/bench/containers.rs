//! Many containers and commands in them: exec, ps, density.

use std::path::PathBuf;

use super::docker::Docker;
use super::table::{Limit, Row};
use super::worker::{Place, Worker, interleave};
use super::{Stage, succeed};

/// How many containers `ps` and density are measured with.
const MANY: usize = 500;

/// `cove exec` against `docker exec`.
pub(super) fn exec(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let docker = Docker::start()?;
    let image = stage.busybox();
    docker.ok(&["pull", "--quiet", &image])?;
    docker.ok(&[
        "run",
        "--detach",
        "--network",
        "none",
        "--name",
        "sleeper",
        &image,
        "sleep",
        "100000",
    ])?;
    let cove = stage.cove()?;
    let sleeper = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "sleeper",
        &image,
        "sleep",
        "100000",
    ];
    succeed(&cove, &sleeper)?;
    let mut ours = Worker::new(
        Place::Here,
        &words(stage, &cove, &["exec", "sleeper", "true"]),
    )?;
    let mut peer = Worker::new(Place::Here, &docker.words(&["exec", "sleeper", "true"]))?;
    interleave(&mut [&mut ours, &mut peer], rounds)?;
    succeed(&cove, &["rm", "-f", "sleeper"])?;
    docker.ok(&["rm", "--force", "sleeper"])?;
    Ok(vec![Row::ratio(
        "exec true",
        ours.median(),
        ("docker exec", peer.median()),
        0.1,
    )])
}

/// `ps -a` with 500 containers.
pub(super) fn ps(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let cove = stage.cove()?;
    let image = stage.busybox();
    for _ in 0..MANY {
        succeed(&cove, &["create", "--network", "none", &image, "true"])?;
    }
    let mut ours = Worker::new(Place::Here, &words(stage, &cove, &["ps", "-a"]))?;
    interleave(&mut [&mut ours], rounds)?;
    let ms = ours.median().as_secs_f64() * 1e3;
    Ok(vec![Row::limit(
        "ps -a of 500",
        ms,
        "ms",
        Limit::AtMost(20.0),
    )])
}

/// 500 sleeping containers: none fails, and what a supervisor costs.
pub(super) fn density(stage: &Stage, _rounds: usize) -> Result<Vec<Row>, String> {
    let cove = stage.cove()?;
    let image = stage.busybox();
    let mut failures = 0;
    for _ in 0..MANY {
        let run = ["run", "-d", "--network", "none", &image, "sleep", "100000"];
        failures += usize::from(succeed(&cove, &run).is_err());
    }
    let running = succeed(&cove, &["ps", "-q"])?.lines().count();
    let own = stage
        .program
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut costs: Vec<u64> = cove
        .roots()
        .processes()
        .into_iter()
        .filter(|pid| {
            let comm =
                testkit::files::text(format!("/proc/{pid}/comm").as_ref()).unwrap_or_default();
            comm.trim().starts_with(&own)
        })
        .filter_map(private_bytes)
        .collect();
    costs.sort_unstable();
    let most = costs.last().copied().unwrap_or(u64::MAX);
    let ids = succeed(&cove, &["ps", "-aq"])?;
    let mut remove = vec!["rm", "-f"];
    remove.extend(ids.lines());
    succeed(&cove, &remove)?;
    let lost = MANY.saturating_sub(running).max(failures);
    Ok(vec![
        Row::limit(
            "500 sleepers, failures",
            lost as f64,
            "",
            Limit::AtMost(0.0),
        ),
        Row::limit(
            "supervisor, private memory",
            most as f64 / 1024.0,
            "KiB",
            Limit::AtMost(1024.0),
        )
        .beside(&format!("the largest of {}", costs.len())),
    ])
}

/// Clean and dirty private bytes of a process.
fn private_bytes(pid: u32) -> Option<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    let text = testkit::files::text(&path)?;
    let kib = text
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>();
    Some(kib * 1024)
}

/// A command line of the binary under measurement.
pub(super) fn words(stage: &Stage, cove: &testkit::cove::Cove, rest: &[&str]) -> Vec<String> {
    let roots = cove.roots();
    let mut words = vec![stage.program.display().to_string()];
    words.extend(["--root".to_owned(), roots.root().display().to_string()]);
    words.extend([
        "--runroot".to_owned(),
        roots.runroot().display().to_string(),
    ]);
    words.extend(rest.iter().map(|w| (*w).to_owned()));
    words
}
