//! YAML text to typed values without losing the place of anything: a tree with byte spans, `${…}` resolved on
//! parsed scalars, and a serde deserializer that goes on after a mistake, so that one run shows all of them.

mod de;
mod entries;
mod interpolate;
mod json;
mod losses;
mod one_or_many;
mod outside;
mod text_or;
mod tree;

pub use de::{GUARDS, Reading, from_tree};
pub use entries::Entries;
pub use interpolate::{Environment, Slot, interpolate};
pub use json::JsonNode;
pub use losses::Losses;
pub use one_or_many::OneOrMany;
pub use outside::{MASK, Outside, masked};
pub use text_or::{TextOr, ValueOr};
pub use tree::{Node, NodeKind, Scalar, parse};
