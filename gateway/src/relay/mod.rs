//! The durable hop: the record format, the log, and what is owed to each accepted request.

pub mod record;
