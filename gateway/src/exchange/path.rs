//! The public paths, read once into what they mean.

/// What a path of the public listener names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    /// `/a2a/{agent}`: JSON-RPC by POST.
    Agent(&'a str),
    /// `/a2a/{agent}/.well-known/agent-card.json`, and the name of A2A 0.2.
    Card(&'a str),
    /// `/mcp`: all servers as one.
    Servers,
    /// `/mcp/{server}`.
    Server(&'a str),
    Unknown,
}

impl<'a> Path<'a> {
    pub(super) fn parse(path: &'a str) -> Self {
        let mut segments = path.trim_start_matches('/').splitn(3, '/');
        let (first, second, rest) = (segments.next(), segments.next(), segments.next());
        match (first, second, rest.unwrap_or_default()) {
            (Some("mcp"), None | Some(""), "") => Self::Servers,
            (Some("mcp"), Some(server), "") => Self::Server(server),
            (Some("a2a"), Some(agent), "") if !agent.is_empty() => Self::Agent(agent),
            (Some("a2a"), Some(agent), ".well-known/agent-card.json" | ".well-known/agent.json") => {
                Self::Card(agent)
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_means_one_thing() {
        assert_eq!(Path::parse("/a2a/advisor"), Path::Agent("advisor"));
        assert_eq!(Path::parse("/a2a/advisor/"), Path::Agent("advisor"));
        assert_eq!(Path::parse("/a2a/advisor/.well-known/agent-card.json"), Path::Card("advisor"));
        assert_eq!(Path::parse("/mcp"), Path::Servers);
        assert_eq!(Path::parse("/mcp/"), Path::Servers);
        assert_eq!(Path::parse("/mcp/ledger"), Path::Server("ledger"));
        for unknown in ["/", "/a2a", "/a2a/", "/mcp/a/b", "/metrics", "/a2a/x/y"] {
            assert_eq!(Path::parse(unknown), Path::Unknown, "{unknown}");
        }
    }
}
