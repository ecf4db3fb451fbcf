//! Streams that break, and registries that lie about them.

use std::io::Read;
use std::time::Duration;

use cove_image::client::Timeouts;
use cove_image::{BlobError, CredentialStore, Error};
use cove_model::error::sentence;
use cove_model::image::Descriptor;

use crate::fake::{Fake, Reply, Request, Then, client, client_that_waits, digest, noise, nowhere};

const SIZE: usize = 600_000;

fn descriptor(blob: &[u8]) -> Descriptor {
    Descriptor::new(
        "application/vnd.oci.image.layer.v1.tar",
        digest(blob),
        blob.len() as u64,
    )
}

/// The first byte that a request asks for.
fn first(request: &Request) -> Option<usize> {
    request
        .header("range")?
        .strip_prefix("bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}

fn partial(blob: &[u8], from: usize) -> Reply {
    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
    Reply::new(206, &blob[from..]).header("content-range", range)
}

fn honest(blob: &[u8], request: &Request) -> Reply {
    first(request).map_or_else(|| Reply::new(200, blob), |from| partial(blob, from))
}

/// Reads a blob whose nth request is answered by `answers`, then honestly.
fn fetch(
    answers: impl Fn(usize, &[u8], &Request) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Vec<u8>, String>, Fake, Vec<Duration>) {
    fetch_with(Timeouts::default(), answers)
}

fn fetch_with(
    timeouts: Timeouts,
    answers: impl Fn(usize, &[u8], &Request) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Vec<u8>, String>, Fake, Vec<Duration>) {
    let blob = noise(SIZE);
    let served = blob.clone();
    let fake = Fake::start(move |request, earlier| {
        answers(earlier.len(), &served, request).unwrap_or_else(|| honest(&served, request))
    });
    let (client, clock) = client_that_waits(CredentialStore::new(nowhere()), timeouts);
    let mut bytes = Vec::new();
    let result = match client.fetch_blob(&fake.endpoint("a/b:1"), &descriptor(&blob)) {
        Err(error) => Err(sentence(&error)),
        Ok(mut reader) => match reader.read_to_end(&mut bytes) {
            Err(error) => Err(sentence(&error)),
            Ok(_) => {
                assert_eq!(reader.offset(), blob.len() as u64);
                Ok(bytes)
            }
        },
    };
    if let Ok(bytes) = &result {
        assert!(*bytes == blob, "the bytes differ");
    }
    (result, fake, clock.waits())
}

#[test]
fn a_stream_that_breaks_is_continued_where_it_stopped() {
    for then in [Then::Close, Then::Reset, Then::Stall] {
        let mut timeouts = Timeouts::default();
        if then == Then::Stall {
            timeouts.stall = Duration::from_millis(250);
        }
        let (result, fake, waits) = fetch_with(timeouts, move |nth, blob, request| match nth {
            0 => Some(Reply::new(200, blob).cut(100_000, then)),
            1 => Some(partial(blob, first(request)?).cut(7, then)),
            2 => Some(partial(blob, first(request)?).cut(0, then)),
            _ => None,
        });
        assert!(result.is_ok(), "{then:?}: {result:?}");
        let requests = fake.requests();
        assert_eq!(requests.len(), 4, "{then:?}");
        assert!(first(&requests[0]).is_none() && first(&requests[3]).is_some());
        if then == Then::Close {
            assert_eq!(first(&requests[1]), Some(100_000));
            assert_eq!(first(&requests[3]), Some(100_007));
        }
        assert_eq!(waits.len(), 3, "{then:?}");
    }
}

#[test]
fn busy_registries_are_waited_for_as_they_ask() {
    let (result, fake, waits) = fetch(|nth, blob, _| match nth {
        0 => Some(Reply::new(503, "").header("retry-after", 7)),
        1 => Some(Reply::new(429, "").header("retry-after", 100_000)),
        2 => Some(Reply::new(500, "")),
        3 => Some(Reply::new(200, blob).cut(400_000, Then::Close)),
        4 => Some(Reply::new(502, "")),
        _ => None,
    });
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(fake.requests().len(), 6);
    let seconds: Vec<_> = waits.iter().map(Duration::as_secs_f32).collect();
    // After 400,000 bytes the count begins anew.
    assert_eq!(seconds, [7.0, 120.0, 2.0, 0.5, 1.0]);
}

#[test]
fn ranges_that_are_ignored_or_muddled_lead_to_a_restart() {
    type Second = fn(&[u8]) -> Reply;
    let cases: &[(&str, Second)] = &[
        ("ignored", |blob| Reply::new(200, blob)),
        ("from elsewhere", |blob| partial(blob, 5)),
        ("no content-range", |blob| Reply::new(206, &blob[100_000..])),
        ("nonsense", |blob| {
            Reply::new(206, &blob[100_000..]).header("content-range", "bytes x-y/z")
        }),
        ("beyond the end", |blob| {
            Reply::new(206, &blob[100_000..]).header("content-range", "bytes 100000-600000/*")
        }),
        ("not satisfiable", |_| Reply::new(416, "")),
    ];
    for (what, second) in cases {
        let second = *second;
        let (result, fake, _) = fetch(move |nth, blob, _| match nth {
            0 => Some(Reply::new(200, blob).cut(100_000, Then::Close)),
            1 => Some(second(blob)),
            _ => None,
        });
        assert!(result.is_ok(), "{what}: {result:?}");
        let requests = fake.requests();
        assert!(requests.len() <= 3, "{what}");
        assert!(
            requests.get(2).is_none_or(|r| first(r).is_none()),
            "{what}: asked for a range again"
        );
    }
}

#[test]
fn lies_about_the_length_are_told() {
    type Lie = fn(&[u8]) -> Reply;
    let cases: &[(&str, Lie, &str)] = &[
        (
            "shorter",
            |blob| Reply::new(200, &blob[1..]),
            "the manifest says 600000 bytes, the registry 599999",
        ),
        (
            "longer",
            |blob| Reply::new(200, [blob, b"x"].concat()),
            "the registry 600001",
        ),
        (
            "longer, without saying",
            |blob| {
                let mut body = format!("{:x}\r\n", blob.len() + 1).into_bytes();
                body.extend_from_slice(blob);
                body.extend_from_slice(b"x\r\n0\r\n\r\n");
                Reply::new(200, body).header("transfer-encoding", "chunked")
            },
            "more than the 600000 bytes",
        ),
        (
            "not there",
            |_| Reply::new(404, "{}"),
            "unknown blob sha256:",
        ),
        (
            "a range unasked",
            |blob| partial(blob, 5),
            "asked for byte 0",
        ),
    ];
    for (what, lie, expected) in cases {
        let lie = *lie;
        let (result, _, _) = fetch(move |_, blob, _| Some(lie(blob)));
        let error = result.unwrap_err();
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn a_total_that_changes_midway_is_an_error() {
    let (result, _, _) = fetch(|nth, blob, _| match nth {
        0 => Some(Reply::new(200, blob).cut(100_000, Then::Close)),
        _ => Some(
            Reply::new(206, &blob[100_000..]).header("content-range", "bytes 100000-599999/700000"),
        ),
    });
    assert!(result.unwrap_err().contains("the registry 700000"));
}

#[test]
fn patience_ends() {
    let (result, fake, waits) = fetch(|nth, blob, request| match nth {
        0 => Some(Reply::new(200, blob).cut(1000, Then::Close)),
        _ => Some(partial(blob, first(request)?).cut(10, Then::Close)),
    });
    let error = result.unwrap_err();
    assert!(
        error.contains("gave up at byte 1040 of 600000 after 5 attempts"),
        "{error}"
    );
    assert_eq!((fake.requests().len(), waits.len()), (5, 4));
}

#[test]
fn nothing_listening_is_told_at_once() {
    let fake = Fake::start(|_, _| Reply::new(200, ""));
    let endpoint = fake.endpoint("a/b:1");
    drop(fake);
    let (client, clock) = client();
    let error = client.fetch_blob(&endpoint, &descriptor(b"x")).unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(clock.waits().is_empty());
}

#[test]
fn errors_keep_their_kind_through_io() {
    let blob = noise(10);
    let fake = Fake::start(|_, _| Reply::new(200, noise(11)));
    let (client, _) = client();
    let error = client
        .fetch_blob(&fake.endpoint("a/b:1"), &descriptor(&blob))
        .unwrap_err();
    let Error::Blob {
        source: BlobError::Length {
            expected: 10,
            actual: 11,
        },
        ..
    } = error
    else {
        panic!("{error:?}")
    };
}
