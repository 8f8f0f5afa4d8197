//! Sidegate: one YAML file that serves REST endpoints, SQL queries and vector search as MCP tools, resources and prompts.
//!
//! ```text
//! text --load--> Config --compile--> Plan --open--> Live --ArcSwap--> every request
//!         spans        pure, sync          I/O; keeps equal sources of the old Live
//! request:  bytes -> JSON-RPC -> Call -> Route (bind, deadline, retry, attempt, shape) -> Outcome -> bytes
//! ```
//!
//! Three suffixes carry the phase: `XConfig` (what the user wrote), `XPlan` (checked, comparable, no I/O), `X` (live).
//!
//! The rooms, from the top; a file imports only from lower layers, and `tests/it/layers.rs` holds it to that:
//!
//! | layer | rooms |
//! |---|---|
//! | 9 | [`cli`] commands, [`demo`], [`app`] wiring |
//! | 8 | [`server`]: HTTP and stdio; [`reload`]: another plan in place of the one in use |
//! | 7 | [`mcp`]: both protocol eras, bytes to bytes |
//! | 6 | [`call`]: the path of one call, in `call/run.rs`; [`online`]: what the sources say of a plan |
//! | 5 | [`live`]: a plan with its open sources; [`review`]: what a plan exposes, and what differs from another |
//! | 4 | [`plan`]: compile, and the lists as bytes |
//! | 3 | [`config`]: root types, the loader, the schema |
//! | 2 | [`source`] kinds, [`auth`] (who calls): siblings that do not know each other |
//! | 1 | [`params`], [`template`], [`output`]: pure values; [`talk`]: what passes between a running call and its client; [`policy`]: what guards a route or a source without knowing it |
//! | 0 | [`yaml`], [`diag`], [`caller`], [`cores`], [`file`](mod@file), [`memory`], [`name`], [`net`], [`outgoing`], [`pem`], [`secret`], [`tasks`], [`units`], [`telemetry`] |

// One request is one future from the socket to the database driver; the compiler's default depth ends before that.
#![recursion_limit = "256"]

pub mod app;
pub mod auth;
pub mod call;
pub mod caller;
pub mod cli;
pub mod config;
pub mod cores;
pub mod demo;
pub mod diag;
pub mod file;
pub mod live;
pub mod mcp;
pub mod memory;
pub mod name;
pub mod net;
pub mod online;
pub mod outgoing;
pub mod output;
pub mod params;
pub mod pem;
pub mod plan;
pub mod policy;
pub mod reload;
pub mod review;
pub mod secret;
pub mod server;
pub mod source;
pub mod talk;
pub mod tasks;
pub mod telemetry;
pub mod template;
pub mod units;
pub mod yaml;
