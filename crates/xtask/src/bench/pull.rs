//! Pulling the big image from loopback: time against dockerd and podman, memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::image::many::{self, Shape};
use testkit::power::Disk;
use testkit::roots::Roots;

use super::Stage;
use super::docker::Docker;
use super::logs::Podman;
use super::table::{Limit, Row, median};
use super::worker::{Place, Worker};

/// Room for the six stores of one round, in MiB.
const DISK: u64 = 16 << 10;

/// All pull 500 MB in four layers and 65,000 files, each time into a store of
/// its own. In each round the disk is a new ext4, with a journal as users have
/// it: how long making a file takes depends on what was removed before (without
/// a journal, every inode that was freed in the last minutes is passed over).
/// `$COVE_BENCH_DISK` names a directory on another disk than that of /tmp.
/// What it costs that our image is durable is told by the same pull that does
/// nothing for it; they follow each other as A B B A, so that what drifts meets
/// both.
pub(super) fn run(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let shape = Shape::FULL.scaled(scale());
    stage.registry.push("many:latest", &many::image(shape));
    let name = stage.registry.reference("many:latest");
    let base = std::env::var_os("COVE_BENCH_DISK").map_or_else(std::env::temp_dir, PathBuf::from);
    let mut disk = Disk::steady(&base, DISK / scale());
    let (mut durable, mut unsynced) = (Vec::new(), Vec::new());
    let mut settled = Vec::new();
    let (mut dockerd, mut podman) = (Vec::new(), Vec::new());
    let mut rss = 0;
    for round in 0..rounds {
        if round > 0 {
            disk.renew();
        }
        let mut order = [Place::Here, Place::NoSync, Place::NoSync, Place::Here];
        order.rotate_left(2 * (round % 2));
        // Nothing is removed before the round's end.
        let mut coves = Vec::new();
        for place in order {
            let cove = Cove::at(&stage.program, Roots::beneath(&disk.path()));
            let words = super::containers::words(stage, &cove, &["pull", "-q", &name]);
            let mut worker = Worker::new(place, &words)?;
            sync();
            let began = Instant::now();
            let time = worker.round()?;
            // Nobody waits for this but the next measurement.
            cove.roots().wait_settled();
            if place == Place::Here {
                durable.push(time);
                settled.push(began.elapsed());
                rss = rss.max(worker.rss());
            } else {
                unsynced.push(time);
            }
            coves.push(cove);
        }
        let docker = Docker::start_in(&disk.path())?;
        let mut worker = Worker::new(Place::Here, &docker.words(&["pull", "--quiet", &name]))?;
        sync();
        dockerd.push(worker.round()?);
        let bare = Podman::bare_in(&disk.path())?;
        let words = bare.words(&["pull", "--quiet", "--tls-verify=false", &name]);
        let mut worker = Worker::new(Place::Here, &words)?;
        sync();
        podman.push(worker.round()?);
    }
    let median = |times: &[Duration]| median(times).unwrap_or_default();
    let ours = median(&durable);
    Ok(vec![
        Row::ratio("pull", ours, ("dockerd", median(&dockerd)), 0.5),
        Row::ratio("pull", ours, ("podman", median(&podman)), 0.5),
        Row::ratio(
            "pull, durable",
            ours,
            ("not durable", median(&unsynced)),
            1.25,
        ),
        Row::ratio(
            "pull, until settled",
            median(&settled),
            ("dockerd", median(&dockerd)),
            0.5,
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
