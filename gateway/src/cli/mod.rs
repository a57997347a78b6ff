//! (see the architecture)
