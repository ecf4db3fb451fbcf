//! Pulling the big image from loopback: time against dockerd and podman, memory.

use std::path::PathBuf;
use std::time::Duration;

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::image::many::{self, Shape};

use testkit::roots::Roots;

use super::Stage;
use super::docker::Docker;
use super::logs::Podman;
use super::table::{Limit, Row, median};
use super::worker::{Place, Worker};

/// All pull 500 MB in four layers and 65,000 files, each time into a store of
/// its own that stays until the end: an ext4 without a journal passes over every
/// inode that was freed in the last six minutes, which would be what is measured.
/// `$COVE_BENCH_DISK` names a directory on another disk than that of /tmp.
/// What it costs that our image is durable is told by the same pull whose syncs
/// do nothing.
pub(super) fn run(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let shape = Shape::FULL.scaled(scale());
    stage.registry.push("many:latest", &many::image(shape));
    let name = stage.registry.reference("many:latest");
    let base = std::env::var_os("COVE_BENCH_DISK").map_or_else(std::env::temp_dir, PathBuf::from);
    let (mut coves, mut dockers, mut podmans) = (Vec::new(), Vec::new(), Vec::new());
    let (mut durable, mut unsynced) = (Vec::new(), Vec::new());
    let (mut dockerd, mut podman) = (Vec::new(), Vec::new());
    let mut rss = 0;
    for round in 0..rounds {
        let mut pair = [(Place::Here, &mut durable), (Place::NoSync, &mut unsynced)];
        // Each is first in turn.
        if round % 2 == 1 {
            pair.reverse();
        }
        for (place, times) in pair {
            let cove = Cove::at(&stage.program, Roots::beneath(&base));
            let words = super::containers::words(stage, &cove, &["pull", "-q", &name]);
            let mut worker = Worker::new(place, &words)?;
            sync();
            times.push(worker.round()?);
            if place == Place::Here {
                rss = rss.max(worker.rss());
            }
            coves.push(cove);
        }
        let peer = Docker::start_in(&base)?;
        let mut worker = Worker::new(Place::Here, &peer.words(&["pull", "--quiet", &name]))?;
        sync();
        dockerd.push(worker.round()?);
        dockers.push(peer);
        let peer = Podman::bare_in(&base)?;
        let words = peer.words(&["pull", "--quiet", "--tls-verify=false", &name]);
        let mut worker = Worker::new(Place::Here, &words)?;
        sync();
        podman.push(worker.round()?);
        podmans.push(peer);
    }
    drop((coves, dockers, podmans));
    let median = |times: &[Duration]| median(times).unwrap_or_default();
    let ours = median(&durable);
    Ok(vec![
        Row::ratio("pull", ours, ("dockerd", median(&dockerd)), 0.5),
        Row::ratio("pull", ours, ("podman", median(&podman)), 0.5),
        Row::ratio(
            "pull, durable",
            ours,
            ("without a sync", median(&unsynced)),
            1.25,
        ),
        Row::limit("pull, memory", rss as f64 / 1e6, "MB", Limit::AtMost(100.0)),
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
