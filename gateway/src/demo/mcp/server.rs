//! Which method does what. No I/O: calls of tools are handed back to be run.

use serde_json::{Map, Value, json};

use super::era::{Era, LEGACY, MODERN};
use super::message::{INVALID_PARAMS, RpcError};
use super::tool::Tools;

/// A tool server with what it says of itself made up once.
pub(crate) struct Server<T> {
    pub(crate) tools: T,
    names: Vec<&'static str>,
    list: Value,
    info: Value,
    instructions: &'static str,
}

/// What a request leads to.
pub(crate) enum Step {
    /// An answer at once.
    Answer(Result<Value, RpcError>),
    /// A call to run.
    Call(Call),
}

/// A call of a tool that exists, with arguments that are an object.
pub(crate) struct Call {
    pub(crate) era: Era,
    pub(crate) tool: &'static str,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) progress_token: Option<Value>,
}

impl<T: Tools> Server<T> {
    pub(crate) fn new(tools: T) -> Self {
        let identity = tools.identity();
        let listed = tools.list();
        Self {
            names: listed.iter().map(|tool| tool.name).collect(),
            list: listed.iter().map(super::Tool::to_json).collect(),
            info: json!({
                "name": identity.name,
                "title": identity.title,
                "version": env!("CARGO_PKG_VERSION"),
            }),
            instructions: identity.instructions,
            tools,
        }
    }

    /// The name by which log lines call the server.
    pub(crate) fn name(&self) -> &'static str {
        self.tools.identity().name
    }

    /// Decides on one request. `session` turns true when `initialize` succeeds.
    pub(crate) fn step(&self, method: &str, params: Map<String, Value>, session: &mut bool) -> Step {
        if method == "initialize" {
            let outcome = self.initialize(&params);
            *session |= outcome.is_ok();
            return Step::Answer(outcome);
        }
        let era = match Era::of(method, &params, *session) {
            Ok(era) => era,
            Err(error) => return Step::Answer(Err(error)),
        };
        Step::Answer(match (era, method) {
            (Era::Legacy, "ping") => Ok(json!({})),
            (Era::Modern, "server/discover") => Ok(self.discover()),
            (_, "tools/list") => self.list_tools(era, &params),
            (_, "tools/call") => match self.prepare(era, params) {
                Ok(call) => return Step::Call(call),
                Err(error) => Err(error),
            },
            _ => Err(era.no_such_method(method)),
        })
    }

    /// The result of a call, as its era wants it.
    pub(crate) fn finish(&self, era: Era, result: Value) -> Value {
        era.dress(result, &self.info)
    }

    fn initialize(&self, params: &Map<String, Value>) -> Result<Value, RpcError> {
        let Some(Value::String(wanted)) = params.get("protocolVersion") else {
            let text = "`params.protocolVersion` must be a string";
            return Err(RpcError::new(INVALID_PARAMS, text));
        };
        let version = LEGACY.into_iter().find(|v| v == wanted).unwrap_or(LEGACY[0]);
        Ok(json!({
            "protocolVersion": version,
            "capabilities": {"tools": {"listChanged": false}},
            "serverInfo": self.info,
            "instructions": self.instructions,
        }))
    }

    fn discover(&self) -> Value {
        let result = json!({
            "supportedVersions": [MODERN],
            "capabilities": {"tools": {}},
            "instructions": self.instructions,
        });
        Era::Modern.dress_list(result, &self.info)
    }

    fn list_tools(&self, era: Era, params: &Map<String, Value>) -> Result<Value, RpcError> {
        if params.get("cursor").is_some_and(|cursor| !cursor.is_null()) {
            let text = "`params.cursor` is unknown: all tools are on the first page";
            return Err(RpcError::new(INVALID_PARAMS, text));
        }
        Ok(era.dress_list(json!({"tools": self.list}), &self.info))
    }

    fn prepare(&self, era: Era, mut params: Map<String, Value>) -> Result<Call, RpcError> {
        let invalid = |text: String| RpcError::new(INVALID_PARAMS, text);
        let name = params.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| invalid("`params.name` must be a string".to_owned()))?;
        let tool = self.names.iter().copied().find(|known| *known == name);
        let tool = tool.ok_or_else(|| {
            let known = self.names.join(", ");
            invalid(format!("there is no tool `{name}`; there are: {known}"))
        })?;
        let arguments = match params.remove("arguments") {
            None => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(invalid("`params.arguments` must be an object".to_owned())),
        };
        let progress_token = params.get("_meta").and_then(|meta| meta.get("progressToken"));
        if progress_token.is_some_and(|t| !(t.is_string() || t.is_i64() || t.is_u64())) {
            let text = "`params._meta.progressToken` must be a string or an integer";
            return Err(invalid(text.to_owned()));
        }
        Ok(Call { era, tool, arguments, progress_token: progress_token.cloned() })
    }
}
