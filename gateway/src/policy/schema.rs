//! The Cedar schema: `policies/kamf.cedarschema`, built in, and widened for each policy by the
//! arguments that it looks at.
//!
//! What a tool takes is known only to its server, so the schema cannot list all arguments. It leaves the
//! type `Arguments` empty, and each policy is checked, strictly, against a schema in which that type
//! has just the members which the policy itself names, of the types in which it uses them.

use cedar_policy::{Schema, SchemaFragment};

use super::analysis::Shape;

/// The file as it ships. A test holds it against the types of this module.
pub(super) const TEXT: &str = include_str!("../../../policies/kamf.cedarschema");

/// The declaration that is widened.
const ARGUMENTS: &str = "type Arguments = {};";

/// The schema for policies that look at `arguments`.
///
/// # Errors
/// The text of the schema's reader: a name that no schema can declare.
pub(super) fn with_arguments(arguments: &Shape) -> Result<Schema, String> {
    let text = TEXT.replace(ARGUMENTS, &format!("type Arguments = {arguments};"));
    let (fragment, _) = SchemaFragment::from_cedarschema_str(&text).map_err(|error| error.to_string())?;
    fragment.try_into().map_err(|error: cedar_policy::SchemaError| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::policy::action::{Action, Kind};

    /// What the file must say, written out from the types.
    fn generated() -> String {
        let mut text = String::from(HEAD);
        for action in Action::ALL {
            let resources: Vec<_> = action.resources().iter().map(|kind| kind.name()).collect();
            let context = if action.resources() == [Kind::Tool] {
                "{ dialect: String, arguments: Arguments }"
            } else {
                "{ dialect: String }"
            };
            write!(
                text,
                "\n// {}\naction \"{}\" in [\"{}\"] appliesTo {{\n    principal: [Caller],\n    resource: [{}],\n    context: {context},\n}};\n",
                action.about(),
                action.as_str(),
                action.protocol().as_str(),
                resources.join(", "),
            )
            .unwrap();
        }
        text
    }

    const HEAD: &str = r#"// The words that policies are written in. Generated from the gateway's types; a test holds it to them.
// For editors and the Cedar command line: the gateway has its own copy built in.

// `Caller::"<tenant>/<name>"`. Groups are those of the API key, or of the token's groups claim.
entity Caller in [Tenant, Group] { name: String, tenant: String };
entity Tenant;
entity Group;

// `Gateway::"kamf"`: all MCP servers as one (`/mcp`), and the gateway's own card.
entity Gateway;
// `Agent::"<name>"`, `Server::"<name>"`: as the configuration names them.
entity Agent { name: String };
entity Server { name: String };
// `Tool::"<server>/<tool>"`: the tool's bare name, without the prefix under `/mcp`.
entity Tool in [Server] { name: String, server: String };

// Arguments of a tool call. Each policy is checked as if this type had the members that it names, of the
// types in which it uses them; an argument that may be absent is asked for first: `arguments has x && …`.
type Arguments = {};

// `dialect`: the protocol version spoken by the caller: "0.3", "1.0", "2025-11-25" or "2026-07-28".
action "a2a";
action "mcp";
"#;

    #[test]
    fn the_file_says_what_the_types_say() {
        let generated = generated();
        assert_eq!(TEXT, generated, "policies/kamf.cedarschema should read:\n{generated}");
        assert_eq!(TEXT.matches(ARGUMENTS).count(), 1);
    }

    #[test]
    fn every_action_of_the_schema_is_one_of_ours() {
        let schema = with_arguments(&Shape::default()).unwrap();
        assert_eq!(schema.actions().count(), Action::ALL.len() + 2);
        for action in Action::ALL {
            let kinds: Vec<_> = schema.resources_for_action(&action.uid()).unwrap().cloned().collect();
            assert_eq!(kinds.len(), action.resources().len());
            for kind in action.resources() {
                assert!(kinds.contains(kind.type_name()), "{action:?} on {kind:?}");
            }
        }
    }
}
