//! The handle of a setting.

use super::{Entry, Field, Of, SETTINGS, Value, ValueError};
use crate::nn::error::abridged;
use crate::phrase::{Phrase, phrase};
use crate::pipeline::seed::SeedError;
use crate::pipeline::{Fault, InitImage, Request};
use crate::scheduler::class::SHORT_NAMES;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use tr::tr;

/// A setting: an entry of the table, or a member of a family in it.
#[derive(Debug, Clone)]
pub struct Setting {
    pub(super) entry: &'static Entry,
    pub(super) name: Cow<'static, str>,
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl Setting {
    /// The settings that every run has.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::all_in(SETTINGS)
    }

    /// The settings of a run: those of every run, and the members of its families.
    pub fn of(request: &Request) -> Vec<Self> {
        Self::of_in(SETTINGS, request)
    }

    /// The setting of that name. Whether a run has a member of a family is known where the run is.
    pub fn find(name: &str) -> Option<Self> {
        Self::find_in(SETTINGS, name)
    }

    pub(super) fn all_in(table: &'static [Entry]) -> impl Iterator<Item = Self> {
        let fixed = table.iter().filter(|entry| entry.family().is_none());
        fixed.map(|entry| Self { entry, name: entry.name.into() })
    }

    pub(super) fn of_in(table: &'static [Entry], request: &Request) -> Vec<Self> {
        let of = |entry: &'static Entry| match entry.family() {
            None => vec![Self { entry, name: entry.name.into() }],
            Some(family) => {
                let members = (entry.members)(request).into_iter();
                members.map(|member| Self { entry, name: format!("{family}{member}").into() }).collect()
            }
        };
        table.iter().flat_map(of).collect()
    }

    pub(super) fn find_in(table: &'static [Entry], name: &str) -> Option<Self> {
        let fixed = Self::all_in(table).find(|setting| setting.name == name);
        let is_member = |entry: &&Entry| {
            entry
                .family()
                .and_then(|family| name.strip_prefix(family))
                .is_some_and(|member| !member.is_empty())
        };
        let member =
            || table.iter().find(is_member).map(|entry| Self { entry, name: name.to_string().into() });
        fixed.or_else(member)
    }

    /// diffusers' name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The entry that the setting has in the table.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    fn member(&self) -> &str {
        self.entry.family().and_then(|family| self.name.strip_prefix(family)).unwrap_or_default()
    }

    /// Its value in a request.
    pub fn get(&self, request: &Request) -> Value {
        let member = self.member();
        match &self.entry.field {
            Field::Text(access) => Value::Text((access.get)(request, member)),
            Field::Count(access, _) => Value::Count((access.get)(request, member)),
            Field::Number(access, _) => Value::Number((access.get)(request, member)),
            Field::Seed(access) => Value::Seed((access.get)(request, member)),
            Field::Picture(access) => Value::Picture((access.get)(request, member)),
            Field::Fault(access) => Value::Fault((access.get)(request, member)),
            Field::Chosen(chosen) => Value::Chosen((chosen.get)(request, member)),
        }
    }

    /// Parses a value and puts it into a request. Whether models can run that is not checked.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn parse_into(&self, text: &str, request: &mut Request) -> Result<(), ValueError> {
        let member = self.member();
        let is_open = matches!(self.entry.field, Field::Chosen(_));
        if self.entry.family().is_some() && !is_open {
            let members = (self.entry.members)(request);
            if !members.iter().any(|known| known == member) {
                return Err(ValueError::Member(members.join(", ")));
            }
        }
        match &self.entry.field {
            Field::Text(access) => (access.set)(request, member, text.into()),
            Field::Count(access, unit) => {
                (access.set)(request, member, parsed(text, &tr!("a number of {unit}", unit))?);
            }
            Field::Number(access, expected) => (access.set)(request, member, parsed(text, expected)?),
            Field::Seed(access) => {
                let seed = text.parse().map_err(|e: SeedError| other(text, e.to_string()))?;
                (access.set)(request, member, seed);
            }
            Field::Picture(access) => {
                let picture = (text != "off").then(|| InitImage::open(text)).transpose()?;
                (access.set)(request, member, picture);
            }
            Field::Fault(access) => {
                let fault = (text != "off").then(|| Fault::parse(text)).transpose();
                (access.set)(request, member, fault.map_err(|expected| other(text, expected))?);
            }
            Field::Chosen(chosen) => (chosen.set)(request, member, text).map_err(ValueError::Chosen)?,
        }
        Ok(())
    }

    /// As [`parse_into`](Self::parse_into), with an error that names the setting.
    ///
    /// # Errors
    /// What was found and what would be right, in a line.
    pub fn set(&self, text: &str, request: &mut Request) -> Result<(), String> {
        self.parse_into(text, request).map_err(|e| match e {
            ValueError::Picture(e) => format!("{}: {e}", self.name),
            ValueError::Chosen(e) => e,
            e => format!("{} {e}", self.name),
        })
    }

    /// Whether it can have that value at all. Of a member of a family that is known where the run is.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn check(&self, text: &str) -> Result<(), String> {
        match self.entry.family() {
            Some(_) => Ok(()),
            None => self.set(text, &mut Request::default()),
        }
    }

    /// Gives `to` the value that `from` has.
    ///
    /// # Errors
    /// When the value is not one of `to`'s: another checkpoint's scheduler may not have it.
    pub fn copy(&self, from: &Request, to: &mut Request) -> Result<(), String> {
        let member = self.member();
        match &self.entry.field {
            Field::Text(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Count(access, _) => (access.set)(to, member, (access.get)(from, member)),
            Field::Number(access, _) => (access.set)(to, member, (access.get)(from, member)),
            Field::Seed(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Picture(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Fault(access) => (access.set)(to, member, (access.get)(from, member)),
            Field::Chosen(chosen) => return (chosen.set)(to, member, &(chosen.get)(from, member)),
        }
        Ok(())
    }

    /// Whether its value is a text, which may hold spaces and commas.
    pub fn is_text(&self) -> bool {
        matches!(self.entry.field, Field::Text(_) | Field::Picture(_))
    }

    /// Whether its value is a whole number.
    pub fn is_whole(&self) -> bool {
        matches!(self.entry.field, Field::Count(..) | Field::Seed(_))
    }

    /// Whether its value names a file.
    pub fn is_file(&self) -> bool {
        matches!(self.entry.field, Field::Picture(_))
    }

    /// Whether runs can be compared by it. A fault's place in a run decides whether it can be made at all.
    pub fn is_compared(&self) -> bool {
        !matches!(self.entry.field, Field::Fault(_))
    }

    /// Whether expressions know it by its name.
    pub fn is_in_expressions(&self) -> bool {
        !matches!(self.entry.field, Field::Picture(_) | Field::Fault(_))
    }

    /// Whether it fixes the initial latents, so that it cannot change once `get_latent` has run.
    pub fn fixes_initial_latents(&self) -> bool {
        self.entry.of == Of::Run
    }

    /// Whether the value in a request means something: it is not off, and what it depends on is there.
    pub fn applies(&self, request: &Request) -> bool {
        (self.entry.applies)(request) && !self.get(request).is_off()
    }

    /// Whether a short text about a run has it.
    pub fn is_in_short_texts(&self, request: &Request) -> bool {
        let is_default = || self.get(request) == self.get(&Request::default());
        self.applies(request) && !(self.entry.quiet && is_default())
    }

    /// Values that can be typed, each with its meaning; nothing where there is no end of them.
    pub fn values(&self) -> Vec<(String, Phrase)> {
        let off = || ("off".to_string(), Phrase::NONE);
        match self.entry.field {
            Field::Picture(_) => {
                let samples =
                    InitImage::samples().map(|name| (format!("sample:{name}"), phrase("a drawing")));
                samples.into_iter().chain([off()]).collect()
            }
            Field::Fault(_) => {
                let faults = Fault::ALL.iter().map(|(name, _, help)| (name.to_string(), *help));
                let nan_in = ("nan_in".to_string(), phrase("a value of a tensor is not a number"));
                faults.chain([nan_in, off()]).collect()
            }
            Field::Chosen(_) if self.name == "scheduler" => {
                SHORT_NAMES.iter().flat_map(|short| short.typed().map(|name| (name, short.summary))).collect()
            }
            Field::Text(_) | Field::Count(..) | Field::Number(..) | Field::Seed(_) | Field::Chosen(_) => {
                vec![]
            }
        }
    }
}

fn parsed<T: std::str::FromStr>(text: &str, expected: &str) -> Result<T, ValueError> {
    text.parse().map_err(|_| other(text, format!("expected {expected}")))
}

fn other(found: &str, expected: String) -> ValueError {
    ValueError::Other { found: abridged(found), expected }
}
