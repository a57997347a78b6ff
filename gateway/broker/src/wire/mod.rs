//! The protocol on the wire: which requests are taken in which versions, their shapes, and the framing of answers.

pub(crate) mod answer;
pub(crate) mod apis;
pub(crate) mod outlet;
pub(crate) mod shape;
pub(crate) mod shapes;

#[cfg(test)]
pub(crate) mod samples;
