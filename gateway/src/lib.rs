//! KAMF: an edge gateway for A2A and MCP that puts every exchange on Kafka before it counts.
//!
//! Modules stand in the order in which a message meets them; each may import only those above it
//! (blank lines keep the formatter from sorting them).

pub mod message;

pub mod outcome;

pub mod config;

pub mod telemetry;

pub mod edge;

pub mod protocol;

pub mod schema;

pub mod policy;

pub mod relay;

pub mod upstream;

pub mod exchange;

pub mod aggregate;

pub mod admin;

pub mod demo;

pub mod cli;

pub mod stack;

#[cfg(test)]
mod order;
