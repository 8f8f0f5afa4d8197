//! Names: which ones we accept for tools, sources and parameters, and the nearest one to a misspelt one.

/// Whether `name` can be the name of a tool, source, prompt or parameter: a letter or `_`, then letters,
/// digits, `_`, `-` or `.`, 128 characters at the most (the tool-name limit of MCP 2026-07-28).
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 128
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The longest name, in bytes, that is compared with others.
const MAX_SLIP: usize = 128;

/// The candidate nearest to `wrong`, if one is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing costs the product of the lengths, and what is this long was no slip of a finger.
    if wrong.len() > MAX_SLIP {
        return None;
    }
    let lower = wrong.to_lowercase();
    candidates
        .into_iter()
        .map(|c| {
            let score = strsim::jaro_winkler(&lower, &c.to_lowercase());
            let edits = strsim::damerau_levenshtein(&lower, &c.to_lowercase());
            (c, score, edits)
        })
        .filter(|(c, score, edits)| {
            let swapped = *edits == 1 && c.len() >= 3;
            swapped || (*edits <= 2.max(c.len() / 4) && *score > 0.6)
        })
        .min_by(|a, b| a.2.cmp(&b.2).then(b.1.total_cmp(&a.1)))
        .map(|(c, ..)| c)
}

/// A help line: "did you mean `x`?", else the list of what there is.
#[must_use]
pub fn did_you_mean<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    let all: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(wrong, all.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    if all.is_empty() {
        return format!("there are no {what}");
    }
    let shown: Vec<String> = all.iter().take(12).map(|c| format!("`{c}`")).collect();
    let more = if all.len() > 12 { ", …" } else { "" };
    format!("{what}: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("sorce", ["source", "query"]), Some("source"));
        assert_eq!(nearest("gte", ["post", "get"]), Some("get"));
        assert_eq!(nearest("zzz", ["source", "query"]), None);
        assert_eq!(nearest("orders_ap", ["orders_api", "shop_db"]), Some("orders_api"));
    }

    #[test]
    fn a_name_of_megabytes_is_not_compared() {
        assert_eq!(nearest(&"get_order".repeat(500_000), ["get_order"]), None);
    }

    #[test]
    fn names_are_ascii_words() {
        assert!(is_valid("get_order-2.a"));
        assert!(!is_valid(""));
        assert!(!is_valid("2get"));
        assert!(!is_valid("gét"));
        assert!(!is_valid(&"a".repeat(129)));
    }
}
