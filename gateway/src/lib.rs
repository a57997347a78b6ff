//! KAMF: an edge gateway for A2A and MCP that puts every exchange on Kafka before it counts.
//!
//! Modules stand in the order in which a message meets them; each may import only those above it.

pub mod message;
pub mod outcome;

pub mod config;
pub mod telemetry;

pub mod edge;
pub mod exchange;
pub mod policy;
pub mod protocol;
pub mod relay;
pub mod schema;
pub mod upstream;

pub mod admin;
pub mod aggregate;

pub mod demo;

pub mod cli;
pub mod stack;
