//! `sidegate call`

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigArg, complain, say, show};
use crate::app::{self, AppError};
use crate::call::Caller;
use crate::config::Environment;
use crate::mcp::{self, Answer, Context, Peers};
use crate::params::ParamsPlan;
use crate::plan::CONFIRM;

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
    /// Say yes where the tool asks for a confirmation.
    #[arg(long)]
    yes: bool,
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
        app::install_audit(&live)?;
        let peers = Peers::default();
        let cx = Context::local(live.load(), Caller::Local, &peers);
        let mut answers = None;
        // A confirmation is the only thing that is asked here, and it is asked once.
        for _ in 0..2 {
            let body = self.round(&arguments, answers.as_ref(), &cx).await;
            let result = body.get("result").unwrap_or(&Value::Null);
            if result.get("resultType").is_none_or(|kind| kind != "input_required") {
                app::flush(&live).await;
                return Ok(print(body));
            }
            answers = Some(self.confirmed(result)?);
        }
        complain("the tool asks again and again");
        Ok(1)
    }

    /// One round of the call, with the answers to what the round before has asked.
    async fn round(&self, arguments: &Value, answers: Option<&(Value, Value)>, cx: &Context<'_>) -> Value {
        let mut params = json!({ "name": self.tool, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": mcp::MODERN,
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        } });
        if let (Some((answers, state)), Some(params)) = (answers, params.as_object_mut()) {
            params.insert("inputResponses".to_owned(), answers.clone());
            params.insert("requestState".to_owned(), state.clone());
        }
        let request =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let answer = match mcp::parse(request.as_bytes()) {
            Ok(message) => mcp::answer(&message, cx).await,
            Err(refusal) => refusal,
        };
        match answer {
            Answer::Reply { body, .. } => serde_json::from_slice(&body.into_vec()).unwrap_or_default(),
            Answer::Accepted => Value::Null,
        }
    }

    /// Asks the person at the terminal, or takes `--yes` for an answer.
    fn confirmed(&self, result: &Value) -> Result<(Value, Value), AppError> {
        let asked = result.get("inputRequests").and_then(Value::as_object);
        let mut answers = serde_json::Map::new();
        for (key, request) in asked.into_iter().flatten() {
            if key != CONFIRM {
                let message = format!("`{}` asks with a form, which only an MCP client can show", self.tool);
                return Err(AppError::Usage(message));
            }
            let question = request.pointer("/params/message").and_then(Value::as_str).unwrap_or_default();
            let yes = self.yes || ask_person(question)?;
            answers.insert(key.clone(), json!({ "action": if yes { "accept" } else { "decline" } }));
        }
        Ok((Value::Object(answers), result.get("requestState").cloned().unwrap_or_default()))
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

/// Yes or no, from the terminal.
fn ask_person(question: &str) -> Result<bool, AppError> {
    use std::io::{BufRead as _, IsTerminal as _};
    let input = std::io::stdin();
    if !input.is_terminal() {
        let message = format!("the tool asks a question: {question} (say yes with `--yes`)");
        return Err(AppError::Usage(message));
    }
    complain(&format!("{question} [y/N]"));
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|e| AppError::Io(format!("cannot read the answer: {e}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn print(mut answer: Value) -> u8 {
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
