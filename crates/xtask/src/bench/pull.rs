//! Pulling the big image from loopback: time against dockerd and podman, memory.

use testkit::cmd::Cmd;
use testkit::image::many::{self, Shape};

use super::Stage;
use super::docker::Docker;
use super::logs::Podman;
use super::table::{Limit, Row};
use super::worker::{Place, Worker};

/// All pull 500 MB in four layers and 65,000 files; images are removed and the
/// disk is synced between rounds. What it costs that our image is durable is
/// told by the same pull whose syncs do nothing.
pub(super) fn run(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let shape = Shape::FULL.scaled(scale());
    stage.registry.push("many:latest", &many::image(shape));
    let name = stage.registry.reference("many:latest");
    let (docker, podman, cove) = (Docker::start()?, Podman::bare()?, stage.bare());
    let program = stage.program.display().to_string();
    let (root, runroot) = (cove.roots().root(), cove.roots().runroot());
    let (root, runroot) = (root.display().to_string(), runroot.display().to_string());
    let ours = [
        &program,
        "--root",
        &root,
        "--runroot",
        &runroot,
        "pull",
        "-q",
        &name,
    ];
    let mut unsynced = Worker::new(Place::NoSync, &ours)?;
    let mut ours = Worker::new(Place::Here, &ours)?;
    let mut dockerd = Worker::new(Place::Here, &docker.words(&["pull", "--quiet", &name]))?;
    let mut podmans = Worker::new(
        Place::Here,
        &podman.words(&["pull", "--quiet", "--tls-verify=false", &name]),
    )?;
    let mut pair = [&mut ours, &mut unsynced];
    for _ in 0..rounds {
        // Each is first in turn: what is deleted before it keeps the disk busy.
        pair.reverse();
        for worker in &mut pair {
            sync();
            worker.round()?;
            super::succeed(&cove, &["rmi", "-f", &name])?;
        }
        sync();
        dockerd.round()?;
        docker.ok(&["rmi", "--force", &name])?;
        sync();
        podmans.round()?;
        podman.ok(&["rmi", "--force", &name])?;
    }
    let mb = ours.rss() as f64 / 1e6;
    Ok(vec![
        Row::ratio("pull", ours.median(), ("dockerd", dockerd.median()), 0.5),
        Row::ratio("pull", ours.median(), ("podman", podmans.median()), 0.5),
        Row::ratio(
            "pull, durable",
            ours.median(),
            ("without a sync", unsynced.median()),
            1.25,
        ),
        Row::limit("pull, memory", mb, "MB", Limit::AtMost(100.0)),
    ])
}

/// `$COVE_BENCH_SCALE`: an n-th of the image, for a quick look.
fn scale() -> u64 {
    std::env::var("COVE_BENCH_SCALE")
        .ok()
        .and_then(|n| n.parse().ok())
        .filter(|n| *n > 0)
        .unwrap_or(1)
}

fn sync() {
    let _status = Cmd::new("sync").run();
}
