//! A registry in this process, over plain HTTP on loopback, that does what it
//! is told: answer, break off, reset, stall.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cove_image::client::Timeouts;
use cove_image::retry::Clock;
use cove_image::{
    Candidate, Client, CredentialStore, Endpoint, Environment, Options, Registries, ResolvedImage,
    SchemePolicy, Verified,
};
use cove_model::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::Digest as _;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What happens after the bytes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
    Reset,
    Stall,
}

/// A reply: a status line's rest, headers, and a body that may be cut.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How much of the body is really sent.
    pub(crate) sent: usize,
    pub(crate) then: Then,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: Vec::new(),
            sent: body.len(),
            body,
            then: Then::KeepAlive,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn cut(mut self, sent: usize, then: Then) -> Self {
        self.sent = sent.min(self.body.len());
        self.then = then;
        self
    }
}

type Handler = dyn Fn(&Request, &[Request]) -> Reply + Send + Sync;

/// The registry; gone when dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// The handler sees the request and all earlier ones.
    pub(crate) fn start(
        handler: impl Fn(&Request, &[Request]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(None, handler)
    }

    /// The same over TLS, as `registry.test`, `localhost` and 127.0.0.1.
    pub(crate) fn start_tls(
        handler: impl Fn(&Request, &[Request]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let chain = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        Self::start_on(Some(Arc::new(config)), handler)
    }

    fn start_on(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request, &[Request]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = std::thread::spawn({
            let (log, ended) = (Arc::clone(&log), Arc::clone(&ended));
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                    let tls = tls.clone();
                    std::thread::spawn(move || match tls {
                        None => serve(&stream, &stream, &log, &*handler),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            let wrapped = rustls::StreamOwned::new(session, &stream);
                            serve(wrapped, &stream, &log, &*handler);
                        }
                    });
                }
            }
        });
        Self {
            address,
            log,
            ended,
            thread: Some(thread),
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The candidates of an image of this registry.
    pub(crate) fn image(&self, rest: &str) -> Vec<Candidate> {
        Registries::default()
            .resolve(&format!("{}/{rest}", self.host()))
            .unwrap()
    }

    pub(crate) fn endpoint(&self, rest: &str) -> Endpoint {
        let endpoint = self.image(rest).remove(0).endpoint;
        assert_eq!(endpoint.policy, SchemePolicy::HttpsThenHttp);
        endpoint
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve<S: Read + Write>(
    stream: S,
    socket: &TcpStream,
    log: &Mutex<Vec<Request>>,
    handler: &Handler,
) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let reply = {
            let mut log = log.lock().unwrap();
            let reply = handler(&request, &log);
            log.push(request);
            reply
        };
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        let own_length = reply.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !own_length {
            head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
        }
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let out = reader.get_mut();
        let written = out.write_all(head.as_bytes());
        if written
            .and_then(|()| out.write_all(&reply.body[..reply.sent]))
            .is_err()
        {
            return;
        }
        match reply.then {
            Then::KeepAlive => {}
            Then::Close => return,
            Then::Reset => {
                // A linger of zero makes close send RST.
                let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
                return;
            }
            // Until the client has had enough.
            Then::Stall => {
                drop(reader.read(&mut [0]));
                return;
            }
        }
    }
}

fn read_request<S: Read>(reader: &mut BufReader<S>) -> Option<Request> {
    // A TLS handshake: this is plain HTTP, go away.
    if reader.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: String::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    reader.take(length).read_to_string(&mut request.body).ok()?;
    Some(request)
}

/// A clock on which waiting takes no time, and which remembers the waits.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    now: Mutex<Duration>,
    pub(crate) waits: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub(crate) fn advance(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
        self.waits.lock().unwrap().push(time);
    }

    fn chance(&self) -> f64 {
        1.0
    }
}

/// A client without credentials and files, and its clock.
pub(crate) fn client() -> (Client, Arc<TestClock>) {
    client_with(CredentialStore::new(nowhere()))
}

pub(crate) fn nowhere() -> Environment {
    Environment::beneath(std::path::Path::new("/nonexistent"))
}

pub(crate) fn client_with(credentials: CredentialStore) -> (Client, Arc<TestClock>) {
    client_that_waits(credentials, Timeouts::default())
}

pub(crate) fn client_that_waits(
    credentials: CredentialStore,
    timeouts: Timeouts,
) -> (Client, Arc<TestClock>) {
    client_of(nowhere(), credentials, timeouts)
}

pub(crate) fn client_of(
    environment: Environment,
    credentials: CredentialStore,
    timeouts: Timeouts,
) -> (Client, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let options = Options {
        timeouts,
        clock: Arc::clone(&clock) as _,
        ..Options::default()
    };
    (Client::new(environment, credentials, options), clock)
}

/// The bytes of an image's first layer.
pub(crate) fn first_layer(client: &Client, image: &ResolvedImage) -> Vec<u8> {
    let layer = &image.layers[0].descriptor;
    let blob = client.fetch_blob(&image.endpoint, layer).unwrap();
    let mut bytes = Vec::new();
    Verified::new(blob, layer.digest)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Bytes without a pattern, so that misplaced ones show.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    (0..length).map(step).collect()
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A tiny image, whose parts a test may bend.
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) manifest: Value,
}

impl Image {
    pub(crate) fn new() -> Self {
        Self::of("amd64")
    }

    pub(crate) fn of(architecture: &str) -> Self {
        let layer = noise(2000);
        let config = json!({"os": "linux", "architecture": architecture, "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(b"tar").to_string()]}});
        let mut image = Self {
            config: Vec::new(),
            layer,
            manifest: Value::Null,
        };
        image.set_config(&config);
        image
    }

    /// Replaces the configuration and makes the manifest say so.
    pub(crate) fn set_config(&mut self, config: &Value) {
        self.config = config.to_string().into_bytes();
        self.manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "size": self.config.len(), "digest": digest(&self.config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "size": self.layer.len(), "digest": digest(&self.layer)}]});
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    /// Answers as an honest registry does, for any repository and tag.
    pub(crate) fn reply(&self, request: &Request) -> Reply {
        let manifest = self.bytes();
        let (_, last) = request.path.rsplit_once('/').unwrap();
        if request.path.contains("/manifests/") {
            return Reply::new(200, manifest).header("content-type", MANIFEST);
        }
        for blob in [&self.config, &self.layer] {
            if last == digest(blob).to_string() {
                return Reply::new(200, blob.clone());
            }
        }
        Reply::new(404, "{}")
    }
}
