//! What is asked, and of what: the words that policies are written in.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

use crate::message::{Operation, Protocol};

macro_rules! actions {
    ($($variant:ident $name:literal $protocol:ident [$($resource:ident),*] $doc:literal;)*) => {
        /// A family of protocol methods, as policies name it: `Action::"call_tool"`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $(#[doc = $doc] $variant,)* }

        impl Action {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The id of the Cedar action.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The protocol, which is also the action group that the action is in.
            pub const fn protocol(self) -> Protocol {
                match self { $(Self::$variant => Protocol::$protocol,)* }
            }

            /// The Cedar types of the resources that it may be asked of.
            pub(super) const fn resources(self) -> &'static [Kind] {
                match self { $(Self::$variant => &[$(Kind::$resource),*],)* }
            }

            /// One line for the schema file.
            #[cfg(test)]
            pub(super) const fn about(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

actions! {
    Send       "send"        A2a [Agent]           "A2A: send a message and wait for the answer.";
    Stream     "stream"      A2a [Agent]           "A2A: send a message and follow the answer as a stream.";
    GetTask    "get_task"    A2a [Agent]           "A2A: read a task.";
    CancelTask "cancel_task" A2a [Agent]           "A2A: cancel a task.";
    Subscribe  "subscribe"   A2a [Agent]           "A2A: follow a task that is under way.";
    ReadCard   "read_card"   A2a [Agent, Gateway]  "A2A: read an agent's card, or the gateway's own.";
    Connect    "connect"     Mcp [Server, Gateway] "MCP: initialize, discover, ping, cancel a request of one's own.";
    ListTools  "list_tools"  Mcp [Server, Gateway] "MCP: list tools; shows only those that may be called.";
    CallTool   "call_tool"   Mcp [Tool]            "MCP: call a tool.";
}

impl From<Operation> for Action {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Send => Self::Send,
            Operation::Stream => Self::Stream,
            Operation::GetTask => Self::GetTask,
            Operation::CancelTask => Self::CancelTask,
            Operation::Subscribe => Self::Subscribe,
            Operation::Initialize
            | Operation::Initialized
            | Operation::Discover
            | Operation::Ping
            | Operation::Cancelled => Self::Connect,
            Operation::ListTools => Self::ListTools,
            Operation::CallTool => Self::CallTool,
        }
    }
}

impl Action {
    pub(super) fn uid(self) -> EntityUid {
        Kind::Action.uid(self.as_str())
    }

    /// Whether `uid` names this action or a group that it is in.
    pub(super) fn is_in(self, uid: &EntityUid) -> bool {
        let id: &str = uid.id().as_ref();
        uid.type_name() == Kind::Action.type_name() && (id == self.as_str() || id == self.protocol().as_str())
    }
}

/// What an action is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// `Gateway::"kamf"`: all servers as one, or the gateway's own card.
    Gateway,
    /// `Agent::"<name>"`.
    Agent(&'a str),
    /// `Server::"<name>"`.
    Server(&'a str),
    /// `Tool::"<server>/<tool>"`, in `Server::"<server>"`; the bare name of the tool.
    Tool { server: &'a str, tool: &'a str },
}

impl<'a> Resource<'a> {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Gateway => Kind::Gateway,
            Self::Agent(_) => Kind::Agent,
            Self::Server(_) => Kind::Server,
            Self::Tool { .. } => Kind::Tool,
        }
    }

    pub(super) fn uid(self) -> EntityUid {
        self.kind().uid(&self.id())
    }

    fn id(self) -> Cow<'a, str> {
        match self {
            Self::Gateway => Cow::Borrowed(GATEWAY),
            Self::Agent(name) | Self::Server(name) => Cow::Borrowed(name),
            Self::Tool { server, tool } => Cow::Owned(format!("{}/{tool}", plain(server))),
        }
    }

    /// Reads `Tool::"ledger/buy"`, as it is printed and as policies write it.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, id) = text.split_once("::")?;
        let id = id.strip_prefix('"')?.strip_suffix('"')?;
        match kind {
            "Gateway" if id == GATEWAY => Some(Self::Gateway),
            "Agent" => Some(Self::Agent(id)),
            "Server" => Some(Self::Server(id)),
            "Tool" => id.split_once('/').map(|(server, tool)| Self::Tool { server, tool }),
            _ => None,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::\"{}\"", self.kind().name(), self.id().escape_debug())
    }
}

/// The id of the one `Gateway`.
const GATEWAY: &str = "kamf";

/// A server's name in a tool's id: a `/` in it is written `%2F`, so that the first `/` parts the two
/// and no server can take the id of another one's tool.
fn plain(server: &str) -> Cow<'_, str> {
    if server.contains(['/', '%']) {
        Cow::Owned(server.replace('%', "%25").replace('/', "%2F"))
    } else {
        Cow::Borrowed(server)
    }
}

/// The Cedar entity types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Action,
    Caller,
    Tenant,
    Group,
    Gateway,
    Agent,
    Server,
    Tool,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Action => "Action",
            Self::Caller => "Caller",
            Self::Tenant => "Tenant",
            Self::Group => "Group",
            Self::Gateway => "Gateway",
            Self::Agent => "Agent",
            Self::Server => "Server",
            Self::Tool => "Tool",
        }
    }

    pub(super) fn type_name(self) -> &'static EntityTypeName {
        static NAMES: LazyLock<[EntityTypeName; 8]> = LazyLock::new(|| {
            [
                Kind::Action,
                Kind::Caller,
                Kind::Tenant,
                Kind::Group,
                Kind::Gateway,
                Kind::Agent,
                Kind::Server,
                Kind::Tool,
            ]
            .map(|kind| kind.name().parse().expect("a fixed identifier is a type name"))
        });
        &NAMES[self as usize]
    }

    pub(super) fn uid(self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.type_name().clone(), EntityId::new(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_id_belongs_to_one_server_and_tool() {
        let one = Resource::Tool { server: "a/b", tool: "c" };
        let other = Resource::Tool { server: "a", tool: "b/c" };
        let escaped = Resource::Tool { server: "a%2Fb", tool: "c" };
        assert_ne!(one.uid(), other.uid());
        assert_ne!(one.uid(), escaped.uid());
        assert_eq!(other.to_string(), "Tool::\"a/b/c\"");
    }

    #[test]
    fn every_resource_reads_back_as_printed() {
        for resource in [
            Resource::Gateway,
            Resource::Agent("advisor"),
            Resource::Server("ledger"),
            Resource::Tool { server: "ledger", tool: "buy" },
        ] {
            assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
        }
        assert_eq!(Resource::parse("Tool::\"buy\""), None);
    }

    #[test]
    fn type_names_stand_at_their_place() {
        for kind in [Kind::Action, Kind::Caller, Kind::Tenant, Kind::Group, Kind::Tool] {
            assert_eq!(kind.type_name().to_string(), kind.name());
        }
    }
}
