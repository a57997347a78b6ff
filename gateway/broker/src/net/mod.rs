//! Sockets: who may connect, and how requests of one connection become answers in the same order.

mod connection;
mod listener;

pub(crate) use listener::serve;
