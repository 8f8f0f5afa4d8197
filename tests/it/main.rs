//! One test binary: a real server on port 0, real databases, real clients.

mod cli;
mod config;
mod handbook_sql;
