//! One test binary: a real server on port 0, real databases, real clients.

mod docs;
mod handbook_sql;
