//! The names that another program gives to modules, and their paths in diffusers: a TOML file. `docs/trace.md` specifies it.
//!
//! A rule replaces the beginning of a path. Of the rules that match, the longest counts; two that are equally long are an error.

use super::Trace;
use crate::pipeline::dump::read_text;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use toml::{Table, Value};
use tr::tr;

/// The table of the file.
const TABLE: &str = "names";

/// Rules that map paths of modules.
#[derive(Debug)]
pub struct Names {
    file: String,
    rules: Vec<Rule>,
}

/// Why a file of names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The file cannot be read, or is not TOML.
    #[error("{}", tr!(
        "{file}: {reason}; expected TOML such as: [names] \"unet.down.{{i}}\" = \"unet.down_blocks.{{i}}\"",
        file = .file, reason = .reason
    ))]
    Unreadable {
        /// The file.
        file: String,
        /// The system's or the parser's message.
        reason: String,
    },
    /// A key or its value is wrong.
    #[error("{}", tr!(
        "{file}: `{key}` is {found}; expected {expected}",
        file = .file, key = .key, found = .found, expected = .expected
    ))]
    Value {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What was found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Two rules match a path equally well.
    #[error("{}", tr!(
        "{file}: `{first}` and `{second}` both match {path}; expected one of them to be longer",
        file = .file, first = .first, second = .second, path = .path
    ))]
    Ambiguous {
        /// The file.
        file: String,
        /// The keys.
        first: String,
        /// The keys.
        second: String,
        /// The recorded path.
        path: String,
    },
    /// Two recorded modules would have one path.
    #[error("{}", tr!(
        "{file}: {first} and {second} both become {path}; expected a path for each module",
        file = .file, first = .first, second = .second, path = .path
    ))]
    Collision {
        /// The file.
        file: String,
        /// The recorded paths.
        first: String,
        /// The recorded paths.
        second: String,
        /// The path that both would have.
        path: String,
    },
}

#[derive(Debug)]
struct Rule {
    key: String,
    from: Vec<Part>,
    to: Vec<Part>,
}

/// A part of a pattern: text, or the name of a number.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Number(String),
}

/// The parts of `pattern`; a reason if it is not one.
fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = vec![];
    let mut rest = pattern;
    while !rest.is_empty() {
        let (text, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        let follows_number = matches!(parts.last(), Some(Part::Number(_)));
        if follows_number && (text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(tr!("a number that another one follows"));
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        if after.is_empty() {
            break;
        }
        let name = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, after)) = name else { return Err(tr!("a brace without its other one")) };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(tr!("a number without a name"));
        }
        parts.push(Part::Number(name.into()));
        rest = after;
    }
    match pattern.is_empty() || pattern.contains(['/', '#']) || pattern.split('.').any(str::is_empty) {
        true => Err(tr!("no path of a module")),
        false => Ok(parts),
    }
}

impl Rule {
    /// The path with its beginning replaced, if the rule matches whole names of it.
    fn apply(&self, path: &str) -> Option<String> {
        let mut numbers = HashMap::new();
        let mut rest = path;
        for part in &self.from {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Number(name) => {
                    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    let (number, after) = rest.split_at(end);
                    if number.is_empty() || *numbers.entry(name).or_insert(number) != number {
                        return None;
                    }
                    rest = after;
                }
            }
        }
        if !rest.is_empty() && !rest.starts_with('.') {
            return None;
        }
        let made = self.to.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            // Every number of the path is one of the key: `read` checks it.
            Part::Number(name) => numbers.get(name).copied().unwrap_or_default(),
        });
        Some(made.chain([rest]).collect())
    }

    /// The number of names, then of those that are fixed.
    fn length(&self) -> (usize, usize) {
        let numbers = self.from.iter().filter(|part| matches!(part, Part::Number(_))).count();
        (self.key.split('.').count(), usize::MAX - numbers)
    }
}

impl Names {
    /// Reads `file`.
    ///
    /// # Errors
    /// [`NamesError::Unreadable`] and [`NamesError::Value`], with the key.
    pub fn read(file: &Path) -> Result<Self, NamesError> {
        let name = file.display().to_string();
        let text = read_text(file)
            .map_err(|e| NamesError::Unreadable { file: name.clone(), reason: e.to_string() })?;
        Self::parse(&name, &text)
    }

    /// Parses the contents of the file `name`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(name: &str, text: &str) -> Result<Self, NamesError> {
        let unreadable = |reason: String| NamesError::Unreadable { file: name.into(), reason };
        let wrong = |key: &str, found: String, expected: String| NamesError::Value {
            file: name.into(),
            key: key.into(),
            found,
            expected,
        };
        let table: Table = toml::from_str(text).map_err(|e: toml::de::Error| {
            let line =
                1 + e.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
            let reason = e.message().replace('\n', ", ");
            unreadable(tr!("line {line}: {reason}", line, reason))
        })?;
        let mut rules = vec![];
        for (key, value) in &table {
            if key != TABLE {
                return Err(wrong(key, tr!("no known key"), tr!("the table `{TABLE}` alone", TABLE)));
            }
            let Value::Table(names) = value else {
                return Err(wrong(key, value.type_str().into(), tr!("a table of paths")));
            };
            for (from, to) in names {
                let key = format!("{TABLE}.\"{from}\"");
                let Value::String(to) = to else {
                    let expected = tr!("the path in diffusers, in quotes; a key with dots is in quotes too");
                    return Err(wrong(&key, to.type_str().into(), expected));
                };
                let pattern = |pattern: &str| {
                    let expected = tr!("a path such as unet.down_blocks.{{i}}.resnets.{{j}}");
                    parts(pattern).map_err(|reason| wrong(&key, reason, expected))
                };
                let rule = Rule { key: from.clone(), from: pattern(from)?, to: pattern(to)? };
                let is_unknown = |part: &&Part| matches!(part, Part::Number(_)) && !rule.from.contains(part);
                if let Some(Part::Number(number)) = rule.to.iter().find(is_unknown) {
                    let expected = tr!("numbers that the key has, not {{{number}}}", number);
                    return Err(wrong(&key, format!("\"{to}\""), expected));
                }
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            return Err(wrong(TABLE, tr!("empty"), tr!("a path and its path in diffusers")));
        }
        Ok(Self { file: name.into(), rules })
    }

    /// The rule for a path by its position, and the path in diffusers.
    fn mapped(&self, path: &str) -> Result<Option<(usize, String)>, NamesError> {
        let mut best: Option<(usize, String)> = None;
        let mut rival = None;
        for (at, rule) in self.rules.iter().enumerate() {
            let Some(to) = rule.apply(path) else { continue };
            let length = |at: usize| self.rules[at].length();
            match &best {
                Some((known, _)) if length(*known) > length(at) => {}
                Some((known, _)) if length(*known) == length(at) => rival = Some((*known, at)),
                _ => (best, rival) = (Some((at, to)), None),
            }
        }
        match rival {
            Some((first, second)) => Err(NamesError::Ambiguous {
                file: self.file.clone(),
                first: self.rules[first].key.clone(),
                second: self.rules[second].key.clone(),
                path: path.into(),
            }),
            None => Ok(best),
        }
    }

    /// Gives the modules of `trace` their paths in diffusers. Returns a note if there are rules that match none of them.
    ///
    /// # Errors
    /// [`NamesError::Ambiguous`] and [`NamesError::Collision`].
    pub fn apply(&self, trace: &mut Trace) -> Result<Option<String>, NamesError> {
        let mut is_used = vec![false; self.rules.len()];
        let mut known: HashMap<String, String> = HashMap::new();
        for stage in &mut trace.stages {
            // The recorded path of each path, and whether a rule gave it.
            let mut sources: HashMap<String, (String, bool)> = HashMap::new();
            for at in 0..stage.calls.len() {
                let written = stage.written_path(&stage.calls[at]).to_string();
                let path = match known.get(&written) {
                    Some(path) => path.clone(),
                    None => match self.mapped(&written)? {
                        Some((rule, to)) => {
                            is_used[rule] = true;
                            super::reader::without_text_model(&to)
                        }
                        None => stage.calls[at].path.clone(),
                    },
                };
                let is_mapped = path != stage.calls[at].path;
                let (first, was_mapped) =
                    sources.entry(path.clone()).or_insert_with(|| (written.clone(), is_mapped));
                if *first != written && (is_mapped || *was_mapped) {
                    return Err(NamesError::Collision {
                        file: self.file.clone(),
                        first: first.clone(),
                        second: written,
                        path,
                    });
                }
                stage.calls[at].path.clone_from(&path);
                known.insert(written, path);
            }
        }
        let modules = std::mem::take(&mut trace.manifest.modules);
        trace.manifest.modules = BTreeMap::new();
        for (written, evidence) in modules {
            let path = match known.get(&written) {
                Some(path) => path.clone(),
                None => self.mapped(&written)?.map_or(written, |(_, to)| to),
            };
            trace.manifest.modules.insert(path, evidence);
        }
        let unused: Vec<String> = self
            .rules
            .iter()
            .zip(is_used)
            .filter(|(_, is_used)| !is_used)
            .map(|(rule, _)| format!("`{}`", rule.key))
            .collect();
        let note = || tr!("{}: no recorded module matches {unused}", self.file, unused = unused.join(", "));
        Ok((!unused.is_empty()).then(note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        Names::parse("names.toml", text).unwrap()
    }

    fn path(names: &Names, path: &str) -> Option<String> {
        names.mapped(path).unwrap().map(|(_, to)| to)
    }

    #[test]
    fn the_longest_rule_replaces_the_beginning_of_a_path() {
        let names = names(concat!(
            "[names]\n",
            "\"down.{i}.res.{j}\" = \"unet.down_blocks.{i}.resnets.{j}\"\n",
            "\"down.{i}.res.{j}.norm\" = \"unet.down_blocks.{i}.resnets.{j}.norm1\"\n",
            "\"down.0.res.0\" = \"unet.first\"\n",
            "\"block_{b}_{b}\" = \"unet.same.{b}\"\n",
        ));
        for (from, to) in [
            ("down.1.res.2", Some("unet.down_blocks.1.resnets.2")),
            ("down.10.res.2.conv1", Some("unet.down_blocks.10.resnets.2.conv1")),
            ("down.1.res.2.norm", Some("unet.down_blocks.1.resnets.2.norm1")),
            ("down.1.res.2.normal", Some("unet.down_blocks.1.resnets.2.normal")),
            ("down.0.res.0.conv1", Some("unet.first.conv1")),
            ("block_3_3.x", Some("unet.same.3.x")),
            ("block_3_4.x", None),
            ("down.x.res.2", None),
            ("down.1.res.2b", None),
            ("unet.down.1.res.2", None),
        ] {
            assert_eq!(path(&names, from).as_deref(), to, "{from}");
        }
    }

    #[test]
    fn rules_that_match_equally_well_are_refused() {
        let names = names("[names]\n\"a.{i}.b.0\" = \"x\"\n\"a.1.b.{j}\" = \"y\"\n");
        assert_eq!(path(&names, "a.2.b.0").as_deref(), Some("x"));
        let error = names.mapped("a.1.b.0").unwrap_err().to_string();
        assert_eq!(
            error,
            "names.toml: `a.1.b.{j}` and `a.{i}.b.0` both match a.1.b.0; expected one of them to be longer"
        );
    }

    #[test]
    fn a_bad_file_is_refused_with_its_key() {
        for (text, parts) in [
            ("", &["`names`", "empty"][..]),
            ("[names]\n", &["`names`", "empty"]),
            ("[names]\n\"a\" = 1\n", &["`names.\"a\"`", "integer", "in quotes"]),
            ("[names]\nunet.down = \"x\"\n", &["`names.\"unet\"`", "table", "in quotes"]),
            ("[paths]\n\"a\" = \"b\"\n", &["`paths`", "no known key"]),
            ("names = 3\n", &["`names`", "integer"]),
            ("[names]\n\"a\" = \"b\"\n\"a\" = \"c\"\n", &["line 3", "duplicate"]),
            ("[names]\n\"a\" = \n", &["line 2"]),
            ("[names\n", &["line 1"]),
            ("[names]\n\"a.{i}\" = \"b.{j}\"\n", &["`names.\"a.{i}\"`", "{j}"]),
            ("[names]\n\"a.{i\" = \"b\"\n", &["a brace"]),
            ("[names]\n\"a.}\" = \"b\"\n", &["a brace"]),
            ("[names]\n\"a.{}\" = \"b\"\n", &["without a name"]),
            ("[names]\n\"a.{i}{j}\" = \"b\"\n", &["another one follows"]),
            ("[names]\n\"a.{i}1\" = \"b\"\n", &["another one follows"]),
            ("[names]\n\"a\" = \"\"\n", &["no path"]),
            ("[names]\n\"a\" = \"b#0\"\n", &["no path"]),
            ("[names]\n\"a..b\" = \"b\"\n", &["no path"]),
        ] {
            let error = Names::parse("names.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("names.toml: ") && !error.contains('\n'), "{text}: {error}");
            for part in parts {
                assert!(error.contains(part), "{text}: `{part}` is not in: {error}");
            }
        }
    }
}
