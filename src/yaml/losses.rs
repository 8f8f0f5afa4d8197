//! What of a text is not in the value that was read from it, because it was set aside or its key is unknown. Later checks
//! ask here before they say that something is missing: one mistake is told once.

use std::collections::{HashMap, HashSet};

use super::{Node, NodeKind};

/// The paths (key by key; list items have the path of their list) of everything that was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    paths: Vec<Vec<String>>,
}

impl Losses {
    /// Finds the paths of the nodes set aside and of the unknown keys, which count as the key that was meant.
    pub(super) fn find(root: &Node, aside: &HashSet<u32>, unknown: &HashMap<u32, Option<String>>) -> Self {
        let mut losses = Self::default();
        if !aside.is_empty() || !unknown.is_empty() {
            losses.walk(root, aside, unknown, &mut Vec::new());
        }
        losses
    }

    fn walk(
        &mut self,
        node: &Node,
        aside: &HashSet<u32>,
        unknown: &HashMap<u32, Option<String>>,
        path: &mut Vec<String>,
    ) {
        if aside.contains(&node.id) {
            self.paths.push(path.clone());
            return;
        }
        match &node.kind {
            NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter().for_each(|i| self.walk(i, aside, unknown, path)),
            NodeKind::Map(entries) => {
                for (key, value) in entries {
                    let NodeKind::Scalar(name) = &key.kind else { continue };
                    let meant = unknown.get(&key.id);
                    path.push(meant.cloned().flatten().unwrap_or_else(|| name.text.clone()));
                    match meant {
                        Some(_) => self.paths.push(path.clone()),
                        None => self.walk(value, aside, unknown, path),
                    }
                    path.pop();
                }
            }
        }
    }

    /// Notes that what stands at `path` was lost.
    pub fn lose(&mut self, path: &[&str]) {
        self.paths.push(path.iter().map(|key| (*key).to_owned()).collect());
    }

    /// Takes in what was lost of another text that counts as part of this one.
    pub fn join(&mut self, other: Self) {
        self.paths.extend(other.paths);
    }

    /// Whether anything at, inside or around `path` was lost. Losses inside the children named in `but` do not count.
    #[must_use]
    pub fn touch(&self, path: &[&str], but: &[&str]) -> bool {
        self.paths.iter().any(|lost| {
            let child = lost.get(path.len());
            lost.iter().zip(path).all(|(a, b)| a == b) && child.is_none_or(|c| !but.contains(&c.as_str()))
        })
    }

    /// Whether `path` itself, or something around it, was lost.
    #[must_use]
    pub fn lost(&self, path: &[&str]) -> bool {
        self.paths.iter().any(|lost| lost.len() <= path.len() && lost.iter().zip(path).all(|(a, b)| a == b))
    }

    /// The names of the children of `path` that were lost whole.
    pub fn children<'a>(&'a self, path: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        let of_path = self
            .paths
            .iter()
            .filter(move |lost| lost.len() == path.len() + 1 && lost.iter().zip(path).all(|(a, b)| a == b));
        of_path.filter_map(|lost| lost.last()).map(String::as_str)
    }
}
