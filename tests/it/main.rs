//! One test binary: a real server on port 0, real databases, real clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    reason = "in a test a panic is the report"
)]

mod cli;
mod config;
mod config_hostile;
mod config_schema;
mod docs;
mod handbook_sql;
