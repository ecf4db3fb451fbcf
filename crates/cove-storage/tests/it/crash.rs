//! Processes that work on one store at once, and processes that are killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use cove_model::Reference;
use cove_model::image::{Compression, ImageConfig};
use cove_storage::{Lease, Store, Unpack, digest_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::{Fixture, archive, assert_exact, member, nothing_used};

const ROOT: &str = "COVE_STORAGE_CRASH_ROOT";

fn layer(number: usize) -> Vec<u8> {
    let file = |i: usize| {
        let content = format!("{number} {i} ").repeat(i * 40);
        member(&format!("d{}/f{i}", i % 5), b'0', "", content.as_bytes())
    };
    archive(&(0..60).map(file).collect::<Vec<_>>())
}

#[test]
fn one_layer_unpacked_by_many_at_once_is_whole() {
    let fixture = Fixture::new();
    let tar = layer(1);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let lease = Lease::new(&fixture.store).unwrap();
                let staged = fixture.stage(&tar).unwrap();
                fixture.store.publish(&lease, vec![staged]).unwrap();
            });
        }
    });
    assert_exact(&fixture.store.layer(&digest_of(&tar)).unwrap(), &tar);
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

#[test]
fn a_claim_lets_one_work_and_the_others_find_the_result() {
    let fixture = Fixture::new();
    let tar = layer(2);
    let unpacked = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let lease = Lease::new(&fixture.store).unwrap();
                let digest = digest_of(&tar);
                let _claim = fixture.store.claim(&digest).unwrap();
                lease.protect(&[digest]).unwrap();
                if fixture.store.layer_of_blob(&digest).is_none() {
                    unpacked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let staged = fixture.stage(&tar).unwrap();
                    fixture.store.publish(&lease, vec![staged]).unwrap();
                }
            });
        }
    });
    assert_eq!(unpacked.into_inner(), 1);
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

/// Runs in a process of its own: pulls, tags, removes and collects until it
/// is killed, telling what it has been promised.
#[test]
#[ignore = "the process that the next test kills"]
fn worker() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let store = Store::open_with(root.as_ref(), false).unwrap();
    for number in 0.. {
        let lease = Lease::new(&store).unwrap();
        let base = zstd::encode_all(layer(0).as_slice(), 1).unwrap();
        let stages = [
            store
                .unpack(base.as_slice(), &Unpack::new(Compression::Zstd))
                .unwrap(),
            store
                .import(layer(number + std::process::id() as usize * 1000).as_slice())
                .unwrap(),
        ];
        let layers = store.publish(&lease, stages.into()).unwrap();
        let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = ImageConfig {
            created: Some(format!("{number}")),
            ..ImageConfig::default()
        };
        let name = Reference::parse_docker(&format!("app:{}", number % 3)).unwrap();
        let record = store
            .create_image(&lease, config, &ids, &[name], None)
            .unwrap();
        drop(lease);
        let mut out = std::io::stdout();
        writeln!(out, "\npromised {}", record.id).unwrap();
        out.flush().unwrap();
        if number % 4 == 3 {
            store.collect(nothing_used).unwrap();
        }
        store.sweep().unwrap();
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a process is needed to be killed"
)]
fn a_kill_at_any_moment_leaves_nothing_but_what_can_be_swept() {
    let fixture = Fixture::new();
    let mut delay = 20_i64;
    let mut kept = 0;
    for round in 0..25 {
        let start = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["crash::worker", "--exact", "--ignored", "--nocapture"])
                .env(ROOT, fixture.store.root())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut workers = [start(), start()];
        let mut promised = Vec::new();
        for worker in &mut workers {
            // Some time, another each round; its end would be a failure.
            delay = (delay * 7919) % 97;
            let pidfd = rustix::process::pidfd_open(
                rustix::process::Pid::from_child(worker),
                rustix::process::PidfdFlags::empty(),
            )
            .unwrap();
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: delay * 9_000_000,
            };
            let ended = poll(
                &mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)],
                Some(&timeout),
            )
            .unwrap();
            assert_eq!(ended, 0, "round {round}: the worker failed");
            worker.kill().unwrap();
        }
        for mut worker in workers {
            worker.wait().unwrap();
            let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
            promised.extend(
                lines.filter_map(|line| line.unwrap().strip_prefix("promised ").map(str::to_owned)),
            );
        }
        let store = Store::open_with(fixture.store.root(), false).unwrap();
        store.sweep().unwrap();
        assert_eq!(fixture.staged(), Vec::<String>::new());
        kept += promised.len();
        for id in promised {
            store.find_image(&id).unwrap();
        }
        assert_eq!(
            store.fsck(false, nothing_used).unwrap(),
            [],
            "round {round}"
        );
        store.collect(nothing_used).unwrap();
        assert_eq!(
            crate::support::names(&store.root().join("leases")),
            Vec::<String>::new()
        );
        let used: BTreeSet<_> = store
            .images()
            .unwrap()
            .into_iter()
            .flat_map(|image| image.record.layers.into_iter().map(|layer| layer.diff_id))
            .collect();
        assert_eq!(
            store.layers().unwrap().into_iter().collect::<BTreeSet<_>>(),
            used
        );
    }
    assert!(
        kept > 0,
        "every worker was killed before it promised anything"
    );
}
