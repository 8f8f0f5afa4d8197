//! `sidegate call`

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigArg, complain, say, show};
use crate::app::{self, AppError};
use crate::call::Caller;
use crate::config::Environment;
use crate::mcp::{self, Answer, Context, Peers};
use crate::params::ParamsPlan;

/// Call one tool from the shell, through the same path as a client.
///
/// Prints the result as JSON. Each value is read as the type of its parameter.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 the tool reported an error, 2 wrong configuration or command line.\n\nExample: sidegate call open_orders customer=7 limit=5 -c gateway.yaml"
)]
pub(super) struct Call {
    /// The tool's name.
    tool: String,
    /// Arguments.
    #[arg(value_name = "NAME=VALUE")]
    arguments: Vec<String>,
    #[command(flatten)]
    config: ConfigArg,
}

impl Call {
    pub(super) async fn run(self) -> Result<u8, AppError> {
        let (plan, checked) = app::plan(self.config.path(), &Environment::process())?;
        show(&checked);
        app::install_log(&plan)?;
        let arguments = match plan.tools.iter().find(|t| t.route.name == self.tool) {
            Some(tool) => self.object(&tool.route.params)?,
            None => {
                let names = plan.tools.iter().map(|t| t.route.name.as_str());
                let help = crate::name::did_you_mean(&self.tool, names, "tools");
                return Err(AppError::Usage(format!("there is no tool `{}`; {help}", self.tool)));
            }
        };
        let live = app::open(plan)?;
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": self.tool, "arguments": arguments, "_meta": {
                "io.modelcontextprotocol/protocolVersion": mcp::MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            } },
        });
        let request = request.to_string();
        let peers = Peers::default();
        let cx = Context {
            live: live.load(),
            caller: Caller::Local,
            headers: None,
            outlet: None,
            session: None,
            peers: &peers,
        };
        let answer = match mcp::parse(request.as_bytes()) {
            Ok(message) => mcp::answer(&message, &cx).await,
            Err(refusal) => refusal,
        };
        let Answer::Reply { body, .. } = answer else { return Ok(1) };
        Ok(print(&body))
    }

    fn object(&self, params: &ParamsPlan) -> Result<Value, AppError> {
        let pairs: Option<Vec<(&str, &str)>> = self.arguments.iter().map(|a| a.split_once('=')).collect();
        match pairs {
            Some(pairs) => {
                let twice =
                    pairs.iter().enumerate().find(|(i, (n, _))| pairs.iter().take(*i).any(|(m, _)| m == n));
                if let Some((_, (name, _))) = twice {
                    return Err(AppError::Usage(format!("`{name}` is given twice")));
                }
                Ok(Value::Object(params.object_from_texts(pairs)))
            }
            None => Err(AppError::Usage("arguments are written as NAME=VALUE".to_owned())),
        }
    }
}

fn print(body: &[u8]) -> u8 {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(error) = answer.get("error") {
        complain(error.get("message").and_then(Value::as_str).unwrap_or("the call failed"));
        return 1;
    }
    let mut result = answer.get_mut("result").map(Value::take).unwrap_or_default();
    if let Some(map) = result.as_object_mut() {
        map.remove("resultType");
        map.remove("_meta");
    }
    say(&format!("{result:#}"));
    u8::from(result.get("isError") == Some(&Value::Bool(true)))
}
