//! Registry, names and log setup.
