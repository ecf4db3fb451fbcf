//! Values that several processes claim at once, and that nobody keeps who was killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use cove_state::{Collection, Error};

use crate::network::{Network, id};

/// Tells the claimer below where to work; without it that is no test of its own.
const ROOT: &str = "COVE_STATE_CLAIMER";
const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"];

/// Makes networks of which each claims an address, and removes them again,
/// until it is killed. At every moment each address is one's.
#[test]
fn claimer() {
    let Ok(root) = std::env::var(ROOT) else {
        return;
    };
    let networks = Collection::<Network>::open(Path::new(&root)).unwrap();
    let addresses = networks.values(Path::new(&root).join("addresses")).unwrap();
    let first = u64::from(std::process::id()) << 32;
    for number in first.. {
        let own = id(number);
        let reservation = networks.reserve(own.clone(), None).unwrap();
        let free = |address: &&&str| match addresses.claim(address, &own) {
            Ok(()) => true,
            Err(Error::Claimed { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        let Some(address) = ADDRESSES.iter().find(free) else {
            continue;
        };
        let network = Network {
            id: own.clone(),
            name: reservation.name().to_owned(),
            gateway: (*address).to_owned(),
        };
        reservation.commit(&network).unwrap();
        assert_eq!(addresses.owner(address).unwrap(), Some(own.clone()));
        println!("{address}");
        let trash = Path::new(&root).join(format!("trash-{number}"));
        networks.remove(&own, &trash).unwrap();
        std::fs::remove_dir_all(&trash).unwrap();
        networks.sweep().unwrap();
        addresses.sweep().unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, to be killed"
)]
fn spawn(root: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "claims::claimer", "--nocapture"])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Removes what a process made that was killed; what it claimed is nobody's then.
fn remove_all_of(process: u32, networks: &Collection<Network>, root: &Path) {
    let theirs = format!("{process:08x}");
    let ids = networks.ids().unwrap();
    for id in ids.iter().filter(|id| id.as_str().starts_with(&theirs)) {
        match networks.remove(id, &root.join(format!("removed-{id}"))) {
            // Others sweep what was not finished.
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn killed_claimers_leave_each_address_to_one_at_most() {
    let root = tempfile::tempdir().unwrap();
    let networks = Collection::<Network>::open(root.path()).unwrap();
    let mut claimers: Vec<_> = (0..3).map(|_| spawn(root.path())).collect();
    let mut line = String::new();
    for round in 0..30 {
        let (mut child, mut output) = claimers.remove(0);
        for _ in 0..=round {
            line.clear();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "it ended by itself"
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
        remove_all_of(child.id(), &networks, root.path());
        claimers.push(spawn(root.path()));
    }
    for (mut child, _) in claimers {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    networks.sweep().unwrap();
    let addresses = networks.values(root.path().join("addresses")).unwrap();
    addresses.sweep().unwrap();
    let mut owners = BTreeMap::new();
    for network in networks.list().unwrap().all().unwrap() {
        let owner = addresses.owner(&network.gateway).unwrap();
        assert_eq!(owner, Some(network.id.clone()));
        assert_eq!(owners.insert(network.gateway, network.id), None);
    }
    let links = std::fs::read_dir(root.path().join("addresses")).unwrap();
    assert_eq!(
        links.count(),
        owners.len(),
        "a link was left of one that is gone"
    );
}

#[test]
fn of_many_who_want_a_value_one_gets_it_and_can_give_it_back() {
    let root = tempfile::tempdir().unwrap();
    let networks = Collection::<Network>::open(root.path()).unwrap();
    let ports = networks.values(root.path().join("ports")).unwrap();
    let reservations: Vec<_> = (0..8)
        .map(|number| networks.reserve(id(number), None).unwrap())
        .collect();
    let winner = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (ports, winner) = (&ports, &winner);
            scope.spawn(move || match ports.claim("tcp.0.0.0.0.80", &id(number)) {
                Ok(()) => assert_eq!(winner.swap(number, Ordering::Relaxed), u64::MAX),
                Err(Error::Claimed { .. }) => {}
                Err(other) => panic!("{other}"),
            });
        }
    });
    let winner = winner.into_inner();
    let loser = (winner + 1) % 8;
    // Who has it may say so again; who has it not gives nothing back.
    ports.claim("tcp.0.0.0.0.80", &id(winner)).unwrap();
    ports.release("tcp.0.0.0.0.80", &id(loser)).unwrap();
    assert_eq!(ports.owner("tcp.0.0.0.0.80").unwrap(), Some(id(winner)));
    ports.release("tcp.0.0.0.0.80", &id(winner)).unwrap();
    ports.claim("tcp.0.0.0.0.80", &id(loser)).unwrap();
    // Once its owner is gone it is free, before any sweep.
    drop(reservations);
    let next = networks.reserve(id(9), None).unwrap();
    ports.claim("tcp.0.0.0.0.80", next.id()).unwrap();
    for value in ["", ".", "..", "a/b", "a\0b"] {
        let refused = ports.claim(value, next.id());
        assert!(
            matches!(refused, Err(Error::InvalidValue { .. })),
            "{value:?}"
        );
    }
}
