//! rmcp, the official Rust SDK, driven through the steps as python_steps.py has them. Arguments: URL STEP[,STEP…]
//! MODE names how it connects: legacy (sessions, its default) or auto (2026-07-28).

#![allow(deprecated)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::*;
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient};
use serde_json::{Value, json};

const ROOT: &str = "file:///matrix";
const COLOUR: &str = "ultramarine";
const REPLY: &str = "hello from the model";
const PATIENCE: Duration = Duration::from_secs(40);
const LEAVES: usize = 6;

type Outcome<T = String> = Result<T, String>;

#[derive(Clone, Default)]
struct Heard {
    logged: Arc<Mutex<Vec<String>>>,
    progress: Arc<Mutex<Vec<f64>>>,
}

impl ClientHandler for Heard {
    fn get_info(&self) -> ClientConfig {
        let capabilities = json!({"roots": {}, "sampling": {}, "elicitation": {}});
        let capabilities = serde_json::from_value(capabilities).unwrap();
        ClientConfig::new(capabilities, Implementation::new("matrix", "1.0.0"))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let said = SamplingMessage::new(Role::Assistant, SamplingMessageContentBlock::text(REPLY));
        Ok(CreateMessageResult::new(said, "none".into()))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new(ROOT)]))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({"colour": COLOUR})))
    }

    async fn on_progress(&self, message: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(message.progress);
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let text = message.data.as_str().map(str::to_owned).unwrap_or(message.data.to_string());
        self.logged.lock().unwrap().push(text);
    }
}

fn is_legacy() -> bool {
    std::env::var("MODE").as_deref() == Ok("legacy")
}

fn need(condition: bool, found: impl std::fmt::Debug) -> Outcome<()> {
    if condition { Ok(()) } else { Err(format!("unexpected: {found:?}")) }
}

/// What follows a name in a result's text, as long as its characters are wanted.
fn after(text: &str, name: &str, wanted: fn(char) -> bool) -> Option<String> {
    let at = text.find(&format!("\"{name}\""))? + name.len() + 2;
    let rest = text[at..].trim_start_matches(|one: char| !one.is_alphanumeric());
    let found: String = rest.chars().take_while(|one| wanted(*one)).collect();
    (!found.is_empty()).then_some(found)
}

fn number(text: &str, name: &str) -> Outcome<i64> {
    let found = after(text, name, |one| one.is_ascii_digit());
    found.and_then(|digits| digits.parse().ok()).ok_or(format!("unexpected: {text}"))
}

fn handle_in(text: &str) -> Option<String> {
    after(text, "session_id", |one| one.is_alphanumeric() || one == '-' || one == '_').filter(|one| one.len() >= 16)
}

fn token() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("rust-{}-{}", now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Peer {
    heard: Heard,
    client: RunningService<RoleClient, Heard>,
    schemas: Value,
}

impl Peer {
    async fn connect(url: &str) -> Outcome<Peer> {
        let heard = Heard::default();
        let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
        let mode = if is_legacy() {
            ClientLifecycleMode::Initialize
        } else {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
        };
        let client = heard.clone().serve_with_lifecycle(transport, mode).await.map_err(told)?;
        Ok(Peer { heard, client, schemas: Value::Null })
    }

    fn version(&self) -> String {
        self.client.peer_info().map(|info| info.protocol_version.to_string()).unwrap_or_default()
    }

    async fn offers_handle(&mut self, tool: &str) -> Outcome<bool> {
        if self.schemas.is_null() {
            let tools = self.client.list_all_tools().await.map_err(told)?;
            self.schemas = serde_json::to_value(tools).map_err(told)?;
        }
        let listed = self.schemas.as_array().into_iter().flatten();
        let found = listed.into_iter().find(|one| one["name"] == tool);
        Ok(found.is_some_and(|one| !one["inputSchema"]["properties"]["session_id"].is_null()))
    }

    fn params(tool: &str, arguments: Value) -> CallToolRequestParams {
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = arguments.as_object().cloned();
        if !is_legacy() {
            let mut meta = RequestMetaObject::default();
            meta.set_log_level(LoggingLevel::Info);
            params.meta = Some(meta);
        }
        params
    }

    async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        let result = self.client.call_tool(Self::params(tool, arguments)).await.map_err(told)?;
        let text = serde_json::to_string(&result).map_err(told)?.replace('\\', "");
        if result.is_error == Some(true) { Err(text) } else { Ok(text) }
    }

    async fn close(self) -> Outcome<()> {
        self.client.cancel().await.map(|_| ()).map_err(told)
    }
}

struct Steps {
    url: String,
    peer: Peer,
    handle: Option<String>,
    session: Option<String>,
    counts: i64,
}

impl Steps {
    async fn with_handle(&mut self, tool: &str, mut arguments: Value) -> Outcome<Value> {
        if let Some(handle) = self.handle.clone()
            && !is_legacy()
            && self.peer.offers_handle(tool).await?
        {
            arguments["session_id"] = json!(handle);
        }
        Ok(arguments)
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Outcome {
        let arguments = self.with_handle(tool, arguments).await?;
        let text = self.peer.call(tool, arguments).await?;
        self.handle = handle_in(&text).or(self.handle.take());
        Ok(text)
    }

    async fn expect(&mut self, tool: &str, arguments: Value, expected: &str) -> Outcome {
        let text = self.call(tool, arguments).await?;
        need(text.contains(expected), &text)?;
        Ok(text)
    }

    async fn run(&mut self, step: &str) -> Outcome {
        match step {
            "tools" => self.tools().await,
            "counters" => self.counters().await,
            "progress" => self.progress().await,
            "logging" => self.logging().await,
            "elicitation" => self.expect("ask", json!({}), COLOUR).await.map(|_| String::new()),
            "sampling" => self.expect("sample", json!({}), REPLY).await.map(|_| String::new()),
            "roots" => self.expect("roots", json!({}), ROOT).await.map(|_| String::new()),
            "cancellation" => self.cancellation().await,
            "silence" => {
                let arguments = json!({"seconds": 3.5, "token": token(), "announced": true});
                self.expect("wait", arguments, "waited to the end").await.map(|_| String::new())
            }
            "restart" => self.restart().await,
            "delete_in_flight" => self.delete_in_flight().await,
            _ => Err(format!("no such step: {step}")),
        }
    }

    async fn tools(&mut self) -> Outcome {
        let stored = json!({"key": "colour", "data": {"deep": [COLOUR]}});
        let stored = self.expect("store_app_state", stored, COLOUR).await?;
        self.expect("get_app_state", json!({"key": "colour"}), COLOUR).await?;
        let ran = json!({"operation": "matrix", "input": {"batch": 1}});
        let ran = self.call("lambda_operation", ran).await?;
        need(number(&ran, "execution_count")? == 1, &ran)?;
        self.expect("global_state", json!({"region": "eu-west-1", "data": {"warm": true}}), "warm").await?;
        self.expect("dynamodb_info", json!({}), "tables").await?;
        if is_legacy() {
            self.session = handle_in(&stored);
        }
        Ok(String::new())
    }

    async fn one_more(&mut self) -> Outcome<()> {
        let text = self.call("count", json!({})).await?;
        self.counts += 1;
        need(number(&text, "count")? == self.counts, &text)
    }

    async fn counters(&mut self) -> Outcome {
        for _ in 0..5 {
            self.one_more().await?;
        }
        let arguments = self.with_handle("count", json!({})).await?;
        let mut numbers = Vec::new();
        let texts = (0..8).map(|_| self.peer.call("count", arguments.clone()));
        for text in futures::future::join_all(texts).await {
            numbers.push(number(&text?, "count")?);
        }
        numbers.sort();
        let expected: Vec<i64> = (self.counts + 1..=self.counts + 8).collect();
        need(numbers == expected, &numbers)?;
        self.counts += 8;
        Ok(format!("counted to {}", self.counts))
    }

    async fn progress(&mut self) -> Outcome {
        self.peer.heard.progress.lock().unwrap().clear();
        self.peer.call("report", json!({})).await?;
        let heard = self.peer.heard.clone();
        until(|| heard.progress.lock().unwrap().len() >= 3).await;
        let values = heard.progress.lock().unwrap().clone();
        need(values == [1.0, 2.0, 3.0], &values)?;
        Ok(String::new())
    }

    async fn logging(&mut self) -> Outcome {
        if is_legacy() {
            let level = SetLevelRequestParams::new(LoggingLevel::Info);
            self.peer.client.set_level(level).await.map_err(told)?;
        }
        self.peer.call("log", json!({})).await?;
        let heard = self.peer.heard.clone();
        until(|| heard.logged.lock().unwrap().len() >= 3).await;
        let texts = heard.logged.lock().unwrap().clone();
        need(texts == ["entry 1", "entry 2", "entry 3"], &texts)?;
        Ok(String::new())
    }

    async fn cancellation(&mut self) -> Outcome {
        let token = token();
        let params = Peer::params("wait", json!({"seconds": 25, "token": token}));
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::no_options();
        let sent = self.peer.client.send_cancellable_request(request, options).await.map_err(told)?;
        became(&self.peer, &token, "begun").await?;
        sent.cancel(Some("changed my mind".into())).await.map_err(told)?;
        became(&self.peer, &token, "cancelled").await?;
        Ok(String::new())
    }

    async fn restart(&mut self) -> Outcome {
        if self.counts == 0 {
            self.one_more().await?;
        }
        println!("{}", json!({"ask": "restart"}));
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
            .await
            .map_err(told)?
            .map_err(told)?;
        self.one_more().await?;
        self.one_more().await?;
        Ok(format!("counted on to {}", self.counts))
    }

    async fn delete_in_flight(&mut self) -> Outcome {
        for _ in 0..LEAVES {
            let other = Peer::connect(&self.url).await?;
            let token = token();
            let params = Peer::params("wait", json!({"seconds": 4, "token": token}));
            let calling = other.client.peer().clone();
            let call = tokio::spawn(async move { calling.call_tool_once(params).await.map(|_| ()) });
            became(&other, &token, "begun").await?;
            other.close().await?;
            call.abort();
        }
        Ok(String::new())
    }

    async fn leave(mut self) -> Outcome<Option<String>> {
        if self.session.is_none() {
            let text = self.call("lambda_operation", json!({"operation": "leave", "input": null})).await?;
            self.session = handle_in(&text);
        }
        self.peer.close().await?;
        Ok(self.session)
    }
}

async fn became(peer: &Peer, token: &str, expected: &str) -> Outcome<()> {
    let mut seen = String::new();
    for _ in 0..80 {
        seen = peer.call("outcome", json!({"token": token})).await?;
        if seen.contains(expected) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("the call is {seen}, not {expected}"))
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::time::timeout(limit, step).await.unwrap_or(Err(format!("no answer for {limit:?}")))
}

fn say(step: &str, outcome: Outcome) {
    match outcome {
        Ok(detail) => println!("{}", json!({"step": step, "ok": true, "detail": detail})),
        Err(why) => println!("{}", json!({"step": step, "ok": false, "detail": why})),
    }
}

// rmcp runs the handler of each notification in a task of its own: on one thread they begin in the order that they came.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (url, wanted) = (arguments[1].clone(), arguments[2].split(',').collect::<Vec<_>>());
    let peer = match within(PATIENCE, Peer::connect(&url)).await {
        Ok(peer) => peer,
        Err(why) => return say("connect", Err(why)),
    };
    say("connect", Ok(peer.version()));
    let mut steps = Steps { url, peer, handle: None, session: None, counts: 0 };
    for step in wanted.iter().filter(|one| !["connect", "delete"].contains(one)) {
        // Of which the processes' own start is most, when three are restarted.
        let limit = if *step == "restart" { PATIENCE * 4 } else { PATIENCE };
        let outcome = within(limit, steps.run(step)).await;
        say(step, outcome);
    }
    if wanted.contains(&"delete") {
        match within(PATIENCE, steps.leave()).await {
            Ok(session) => println!("{}", json!({"step": "delete", "ok": true, "detail": "", "session": session})),
            Err(why) => say("delete", Err(why)),
        }
    }
}
