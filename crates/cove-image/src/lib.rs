//! Talks to registries: reference resolution, credentials, the distribution protocol.
