//! A client of the official Rust SDK that keeps what it was asked and told, and answers as a test wants it.
#![allow(
    deprecated,
    reason = "sampling, roots and log levels are deprecated in the newer era, and still served"
)]

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData, Implementation, ListRootsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ResourceUpdatedNotificationParam, Role, Root,
    SamplingMessage, SamplingMessageContentBlock,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient, RunningService, ServiceError};
use serde_json::{Value, json};

use crate::support::{structured, text};

/// What a client was asked and told, in order.
#[derive(Default)]
pub struct Heard {
    pub answers: VecDeque<Result<ElicitResult, ErrorData>>,
    pub asked: Vec<Value>,
    pub news: Vec<String>,
    pub logs: Vec<Value>,
    pub progress: Vec<Value>,
}

/// Somebody who can be asked, or not.
#[derive(Clone)]
pub struct Person {
    able: bool,
    heard: Arc<Mutex<Heard>>,
}

impl Person {
    pub fn new(able: bool) -> Self {
        Self { able, heard: Arc::default() }
    }
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let able = json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} });
        let capabilities = if self.able { able } else { json!({}) };
        let capabilities = serde_json::from_value(capabilities).unwrap();
        ClientConfig::new(capabilities, Implementation::new("sidegate-tests", "1.0.0"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let mut heard = self.heard.lock().unwrap();
        heard.asked.push(serde_json::to_value(request).unwrap());
        heard.answers.pop_front().unwrap_or_else(|| Ok(ElicitResult::new(ElicitationAction::Cancel)))
    }

    async fn create_message(
        &self,
        request: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let request = serde_json::to_value(request).unwrap();
        let about = format!("About {}", request["messages"][0]["content"]["text"].as_str().unwrap());
        self.heard.lock().unwrap().asked.push(request);
        let message = SamplingMessage::new(Role::Assistant, SamplingMessageContentBlock::text(about));
        Ok(CreateMessageResult::new(message, "parrot".to_owned()))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        self.heard.lock().unwrap().asked.push(json!("roots"));
        let roots = [("file:///home/ada", "home"), ("file:///srv", "srv")];
        Ok(ListRootsResult::new(roots.map(|(uri, name)| Root::new(uri).with_name(name)).to_vec()))
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let said = json!([said.progress, said.total, said.message]);
        self.heard.lock().unwrap().progress.push(said);
    }

    async fn on_logging_message(
        &self,
        said: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let said = json!([said.level, said.logger, said.data]);
        self.heard.lock().unwrap().logs.push(said);
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.heard.lock().unwrap().news.push(params.uri);
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.heard.lock().unwrap().news.push("resources".to_owned());
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.heard.lock().unwrap().news.push("tools".to_owned());
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.heard.lock().unwrap().news.push("prompts".to_owned());
    }
}

/// A connected person.
pub struct Peer(pub RunningService<RoleClient, Person>);

impl Deref for Peer {
    type Target = RunningService<RoleClient, Person>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Peer {
    /// What was heard so far; the next call begins with nothing.
    pub fn take(&self) -> Heard {
        std::mem::take(&mut *self.service().heard.lock().unwrap())
    }

    pub fn news(&self) -> Vec<String> {
        self.service().heard.lock().unwrap().news.clone()
    }

    pub fn progress(&self) -> Vec<Value> {
        self.service().heard.lock().unwrap().progress.clone()
    }

    pub fn logs(&self) -> Vec<Value> {
        self.service().heard.lock().unwrap().logs.clone()
    }

    /// What it says to the next questions.
    pub fn says(&self, answers: impl IntoIterator<Item = ElicitResult>) {
        self.service().heard.lock().unwrap().answers = answers.into_iter().map(Ok).collect();
    }

    /// It fails to ask the next question.
    pub fn fails(&self, error: ErrorData) {
        self.service().heard.lock().unwrap().answers = [Err(error)].into();
    }

    pub async fn try_call(&self, tool: &'static str, arguments: Value) -> Result<Value, ServiceError> {
        let arguments = arguments.as_object().unwrap().clone();
        let result = self.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
        Ok(serde_json::to_value(result).unwrap())
    }

    pub async fn call(&self, tool: &'static str, arguments: Value) -> Value {
        self.try_call(tool, arguments).await.unwrap()
    }

    /// What a tool says that must not fail.
    pub async fn said(&self, tool: &'static str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_ne!(result["isError"], true, "{result}");
        text(&result).to_owned()
    }

    /// How often a note was written.
    pub async fn written(&self, note: &str) -> i64 {
        structured(&self.call("count_notes", json!({ "text": note })).await)["written"].as_i64().unwrap()
    }
}
