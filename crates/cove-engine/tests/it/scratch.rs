//! Programs in a root of layers, without an instance.

use std::io::Read;
use std::os::fd::OwnedFd;

use cove_engine::{Scratch, ScratchRun};
use cove_model::instance::InstanceSpec;

use crate::support::{Fixture, IMAGE};

pub(crate) fn what_a_program_writes_becomes_a_layer() {
    let it = Fixture::new();
    let before = it.snapshot();
    let base = it.engine.images().get(IMAGE).unwrap().layers;
    let scratch = it.engine.scratch(&base).unwrap();
    assert_eq!(
        run(&scratch, "echo one > /made; exit 3"),
        (String::new(), 3)
    );
    // Another command comes by meanwhile.
    let (mut out, running) = start(&scratch, "cat /made; sleep 1000");
    it.engine.recover().unwrap();
    let mut read = [0; 4];
    out.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"one\n");
    drop(running);
    let layer = scratch.commit(&[]).unwrap();
    let layers: Vec<_> = base.iter().copied().chain([layer]).collect();
    let next = it.engine.scratch(&layers).unwrap();
    assert_eq!(run(&next, "cat /made; rm /made"), ("one\n".to_owned(), 0));
    drop(next);
    // What was dropped is written nowhere.
    let next = it.engine.scratch(&layers).unwrap();
    assert_eq!(run(&next, "cat /made"), ("one\n".to_owned(), 0));
    drop((next, scratch));
    it.engine.collect().unwrap();
    testkit::leak::assert_no_leaks(&before, &it.roots);
}

fn run(scratch: &Scratch<'_>, script: &str) -> (String, i32) {
    let (mut out, run) = start(scratch, script);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    (text, run.wait().unwrap())
}

fn start<'a>(scratch: &'a Scratch<'a>, script: &str) -> (std::io::PipeReader, ScratchRun<'a>) {
    let spec = InstanceSpec {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        hostname: "scratch".to_owned(),
        ..InstanceSpec::default()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let run = scratch.run(&spec, [null(), writer.into(), null()]).unwrap();
    (reader, run)
}
