//! One test binary: a real server on port 0, real databases, real clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::large_futures,
    clippy::needless_for_each,
    clippy::items_after_statements,
    clippy::match_wild_err_arm,
    reason = "in a test a panic is the report"
)]
// One request is one future from the socket to the database driver; the compiler's default depth ends before that.
#![recursion_limit = "256"]

mod access;
mod asking;
mod audit;
mod audit_who;
mod cache_hints;
mod caching;
mod callers;
mod cli;
mod client_certificates;
mod config;
mod config_hostile;
mod config_schema;
mod cores;
mod differential;
mod docs;
mod faults;
mod faults_leaving;
mod faults_memory;
mod faults_redirects;
mod frozen;
mod fuzz_seeds;
mod handbook_sql;
mod healing;
mod http;
mod http2_errors;
mod http2_floods;
mod http_door;
mod http_headers;
mod include;
mod injection;
mod issuers;
mod issuers_tls;
mod lapsing;
mod layers;
mod legacy;
mod list_news;
mod listening;
mod lists;
mod log_lines;
mod many_at_once;
mod many_keys;
mod memory;
mod metrics;
mod mysql;
mod naughty;
mod one_core;
mod online;
mod outside;
mod overload;
mod pages;
mod plan;
mod postgres;
mod postgres_at_once;
mod postgres_state;
mod powerdns;
mod rate_limits;
mod reload;
mod reload_load;
mod resilience;
mod resilience_load;
mod rest;
mod rest_encodings;
mod rest_exchange;
mod rest_faults;
mod rest_jobs;
mod rest_multipart;
mod rest_output;
mod rest_pages;
mod rest_reach;
mod rest_replies;
mod rest_requests;
mod rest_signing;
mod rest_slots;
mod rest_tokens;
mod rest_xml;
mod restart;
mod resting;
mod rmcp_client;
mod server_tls;
mod service;
mod sessions;
mod shutdown;
mod signals;
mod slow_clients;
mod slow_streams;
mod soak;
mod sql_pages;
mod sqlite;
mod sqlite_files;
mod sqlite_guard;
mod sqlite_types;
mod status;
mod stdio;
mod strangers;
mod suggestions;
mod support;
mod talking;
mod tokens;
mod traces;
mod traces_export;
mod traces_passed_on;
mod vector;
mod vector_backends;
mod vector_embedder;
mod vector_pgvector;
mod vector_qdrant;
mod vector_sqlite;
