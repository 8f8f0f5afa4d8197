//! One test binary: a real server on port 0, real databases, real clients.

mod handbook_sql;
mod http;
mod http_door;
mod http_headers;
mod layers;
mod legacy;
mod naughty;
mod rest;
mod rest_faults;
mod rmcp_client;
mod shutdown;
mod sqlite;
mod sqlite_files;
mod stdio;
mod support;
mod vector;
