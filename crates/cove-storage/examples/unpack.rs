//! Unpacks the given layers in parallel into a new store and says how long it
//! took: `unpack STORE durable|fast LAYER.tar.gz…`.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use cove_storage::{Lease, StagedLayer, Store, Unpack, detect};

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn stage(store: &Store, path: &str) -> Fallible<StagedLayer> {
    let (compression, reader) = detect(File::open(path)?)?;
    Ok(store.unpack(reader, &Unpack::new(compression))?)
}

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, durable, layers @ ..] = arguments.as_slice() else {
        return Err("usage: unpack STORE durable|fast LAYER…".into());
    };
    let start = Instant::now();
    let store = Store::open_with(Path::new(root), durable == "durable")?;
    let lease = Lease::new(&store)?;
    let staged: Fallible<Vec<StagedLayer>> = std::thread::scope(|scope| {
        let threads: Vec<_> = layers
            .iter()
            .map(|path| scope.spawn(|| stage(&store, path)))
            .collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, Fallible<StagedLayer>>| {
            t.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let unpacked = start.elapsed();
    let layers = store.publish(&lease, staged?)?;
    let entries: u64 = layers.iter().map(|layer| layer.entries).sum();
    let bytes: u64 = layers.iter().map(|layer| layer.tar_size).sum();
    println!(
        "{entries} members, {bytes} bytes: {unpacked:?}, published {:?}",
        start.elapsed()
    );
    Ok(())
}
