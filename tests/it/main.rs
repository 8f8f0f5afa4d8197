//! One test binary: a real server on port 0, real databases, real clients.

mod handbook_sql;
