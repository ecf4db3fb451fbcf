//! Hermetic fixtures and the lab.
