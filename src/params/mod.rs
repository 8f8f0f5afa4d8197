//! Declared parameters: their JSON Schema, and a call's arguments checked against it, completed and put in order.

mod bind;
mod branching;
mod checks;
mod config;
mod form;
mod plain;
mod plan;
mod secrets;
mod shared;

pub use bind::{Arguments, BadArguments};
pub use checks::{Checks, Misfit};
pub use config::{ParamConfig, PromptParamConfig};
pub use form::compile_form;
pub use plan::{
    CallerParam, InputSchema, Param, ParamsPlan, Scope, compile, compile_prompt, compile_verbatim, place,
    sound_schema,
};
