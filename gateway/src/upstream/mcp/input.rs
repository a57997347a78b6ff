//! A tool's `inputSchema`, as learned.

use std::sync::Arc;

use serde_json::Value;

use crate::config::Limits;

/// A learned schema that has passed its bounds.
#[derive(Clone, Debug)]
pub struct InputSchema(Arc<Value>);

/// Why a learned schema is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaRefused(String);

impl InputSchema {
    /// May cost up to the configured validation time: off the async threads.
    pub fn compile(schema: Value, limits: &Limits) -> Result<Self, SchemaRefused> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaRefused("its root is not of type object".into()));
        }
        if schema.to_string().len() > limits.schema_bytes {
            return Err(SchemaRefused(format!("it is larger than {} bytes", limits.schema_bytes)));
        }
        Ok(Self(Arc::new(schema)))
    }

    pub fn raw(&self) -> &Value {
        &self.0
    }
}
