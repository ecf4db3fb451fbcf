//! Records of instances, shared by processes.
