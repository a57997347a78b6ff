//! Compiled schemas: [`Parsed`](crate::protocol::Parsed) to [`Checked`], or the violations. Pure.
