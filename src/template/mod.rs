//! `{name}` placeholders, split at load. An argument fills its slot and nothing else: the place it stands in
//! decides how it is written (a path segment, a query value, a header, a JSON value). Longer texts are Jinja.

mod bounds;
mod jinja;
mod json;
mod text;
mod uri;
mod verbatim;

pub use bounds::{Unfilled, filled};
pub use jinja::Jinja;
pub use json::JsonTemplate;
pub use text::{Template, value_text};
pub use uri::UriTemplate;
