//! Modules named by a pattern: `unet.mid_block`, `unet.*.attn2`.

use super::error::abridged;
use std::fmt;
use std::sync::Arc;
use tr::tr;

/// A pattern of modules' paths. A `*` stands for one or more characters, dots too: `unet.*.attn2` is every
/// second attention of the UNet, however deep. Without a `*` it is one path. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{}", tr!(
        "`{found}` is no path of a module; expected names with dots between them, `*` for any, such as `unet.mid_block` or \
     `unet.*.attn2`",
        found = .found
    ))]
pub struct PatternError {
    found: String,
}

impl Pattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// [`PatternError`] where a name is empty, or has other characters than letters, digits, `_` and `*`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '*');
        let is_name = |name: &str| !name.is_empty() && name.chars().all(is_part);
        match text.split('.').all(is_name) {
            true => Ok(Self(text.into())),
            false => Err(PatternError { found: abridged(text) }),
        }
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one path alone.
    pub fn is_one(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The first occurrence leaves most for the parts that follow.
            let Some(found) = after_one(rest).and_then(|after| after.find(part).map(|at| &after[at..]))
            else {
                return false;
            };
            rest = &found[part.len()..];
        }
        after_one(rest).is_some_and(|after| after.ends_with(last))
    }
}

/// What follows the first character.
fn after_one(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    Some(&text[first.len_utf8()..])
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(path)
    }

    /// What a pattern means, tried out character by character.
    fn means(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((b'*', after)), Some((_, rest))) => means(after, rest) || means(pattern, rest),
            (Some((p, after)), Some((c, rest))) => p == c && means(after, rest),
            _ => false,
        }
    }

    #[test]
    fn a_star_crosses_dots_and_stands_for_something() {
        let attn2 = "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn2";
        assert!(matches("unet.*.attn2", attn2) && matches("*attn2", attn2) && matches("*", attn2));
        assert!(matches("unet.*.attentions.*.attn2", attn2) && matches("unet.down*.0.*", attn2));
        assert!(!matches("unet.*.attn2", "unet.attn2") && !matches("unet.*.attn2", "unet.x.attn2.to_q"));
        assert!(matches("unet.mid_block", "unet.mid_block"));
        assert!(!matches("unet.mid_block", "unet.mid_block.resnets.0"));
        assert!(!matches("unet.*.x", "unet.x.x.y") && matches("unet.*.x", "unet.x.x.y.x"));
    }

    #[test]
    fn what_is_no_path_is_said() {
        for text in ["", "unet..attn2", ".unet", "unet mid_block", "unet.mid-block", "unet.ä"] {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no path of a module; expected")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_it_says(pattern in "[ab*]{1,6}(\\.[ab*]{1,4}){0,3}", path in "[ab]{1,3}(\\.[ab]{1,3}){0,5}") {
            prop_assert_eq!(matches(&pattern, &path), means(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn a_pattern_is_written_and_parsed_again(text in "[a-zA-Z0-9_*]{1,6}(\\.[a-zA-Z0-9_*]{1,6}){0,5}") {
            let pattern = Pattern::parse(&text).unwrap();
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }

        #[test]
        fn a_path_is_its_own_pattern(path in "[a-z_0-9]{1,6}(\\.[a-z_0-9]{1,6}){0,5}", other in "[a-z_0-9]{1,6}(\\.[a-z_0-9]{1,6}){0,5}") {
            let pattern = Pattern::parse(&path).unwrap();
            prop_assert!(pattern.is_one() && pattern.matches(&path));
            prop_assert_eq!(pattern.matches(&other), path == other);
        }

        #[test]
        fn what_is_left_out_is_a_star(path in "[a-z]{1,6}(\\.[a-z]{1,6}){1,5}", from in 0usize..30, count in 1usize..30) {
            let from = from.min(path.len() - 1);
            let to = (from + count).min(path.len());
            let starred = format!("{}*{}", &path[..from], &path[to..]);
            prop_assert!(Pattern(starred.into()).matches(&path));
        }

        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC{0,20}", path in "\\PC{0,30}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&path);
            }
        }
    }
}
