//! One test binary: a real server on port 0, real databases, real clients.

mod cli;
mod config;
mod config_hostile;
mod config_schema;
mod handbook_sql;
