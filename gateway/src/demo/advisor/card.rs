//! The advisor's agent card: 1.0 with the members of 0.3 beside, as clients of either read it.

use serde_json::{Value, json};

/// The card of an advisor that answers at `url`.
pub(crate) fn card(url: &str) -> Value {
    json!({
        "name": "advisor",
        "description": "Advises on a holding of gold: asked for the profit, it looks up price and \
                        holdings with its tools and computes it.",
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": {"streaming": true, "pushNotifications": false, "extendedAgentCard": false},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [{
            "id": "profit",
            "name": "Profit of the holding",
            "description": "What the gold in the ledger is worth now, and what was gained on it.",
            "tags": ["gold", "profit", "finance"],
            "examples": ["What is my profit?"],
        }],
        "supportedInterfaces": [
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ],
        "url": url,
        "preferredTransport": "JSONRPC",
        "protocolVersion": "0.3.0",
        "additionalInterfaces": [{"url": url, "transport": "JSONRPC"}],
        "supportsAuthenticatedExtendedCard": false,
    })
}
