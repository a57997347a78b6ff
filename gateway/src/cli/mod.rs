//! The commands beside `run`.

pub mod check;
