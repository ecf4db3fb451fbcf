//! HTTP as registries need it: addresses, names, TLS, proxies, and one
//! request at a time. Redirects, credentials and retries are decided above.

pub(crate) mod challenge;
pub(crate) mod names;
pub(crate) mod proxy;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod url;
