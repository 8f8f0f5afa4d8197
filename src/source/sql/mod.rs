//! SQL: one statement per route, values only ever bound, read-only enforced by the engine.

mod client;
mod columns;
mod config;
mod page;
mod plan;
mod statement;

pub use client::Sql;
pub use config::{PoolConfig, RowConfig, SqlConfig, SqlOpConfig};
pub use page::{OrderConfig, PageConfig, PagePlan};
pub(in crate::source) use plan::rows_schema;
pub use plan::{SqlOp, SqlPlan};
