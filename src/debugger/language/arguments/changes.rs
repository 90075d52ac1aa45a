//! What changes the stages to come: `set`, `sweep`, `patch`.

use super::{ArgumentError, Arguments, found};
use crate::debugger::language::edit::Edit;
use crate::debugger::language::intervention::ModuleEdit;
use crate::debugger::language::lora;
use crate::debugger::language::preview::PreviewPolicy;
use crate::debugger::language::verb::Class;
use crate::debugger::text::{abridged, unquoted};
use crate::nn::pattern::Pattern;
use crate::pipeline::{Fault, Setting};
use tr::tr;

/// What `set` changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Set {
    /// `NAME VALUE`: a setting.
    Setting {
        /// Which.
        setting: Setting,
        /// Its new value, as typed.
        value: String,
    },
    /// `fault NAME|off`: a known mistake, made on purpose.
    Fault(Option<Fault>),
    /// `preview every N|off`: the steps that the VAE decodes.
    Preview(PreviewPolicy),
    /// `TENSOR[PARTS] = EXPR`: a tensor.
    Tensor(Edit),
    /// `t("MODULE")[PARTS] = EXPR`: what a module makes, from here on.
    Module(ModuleEdit),
}

/// A name and what follows it, with or without an equals sign between them.
fn name_and_value(rest: &str) -> (&str, &str) {
    let (name, value) = rest.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((rest, ""));
    let value = value.trim_start();
    (name, value.strip_prefix('=').unwrap_or(value).trim())
}

/// `NAME VALUE` or `NAME = VALUE`; a value may stand in quotes, and an empty one is `""`.
fn setting(rest: &str) -> Result<(Setting, String), String> {
    let (name, value) = name_and_value(rest);
    let Some(setting) = Setting::find(name) else {
        let known: Vec<String> = Setting::all().map(|setting| setting.to_string()).collect();
        return Err(tr!("unknown setting `{}`: {}, preview", abridged(name), known.join(", ")));
    };
    if value.is_empty() {
        return Err(tr!("{name} has no value (an empty one is \"\")", name));
    }
    Ok((setting, unquoted(value).into()))
}

/// A setting and its value as they are typed: texts in quotes, and what would be read otherwise.
fn written(setting: &Setting, value: &str) -> String {
    let is_plain = !value.is_empty() && value.trim() == value && !value.starts_with(['"', '=']);
    let is_off = setting.is_file() && value == "off";
    match is_plain && (is_off || !setting.is_text()) {
        true => format!("{setting} {value}"),
        false => format!("{setting} \"{value}\""),
    }
}

impl Arguments for Set {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let rest = &*lora::as_setting(rest);
        if let Some(edit) = ModuleEdit::parse(rest) {
            return Ok(Self::Module(edit?));
        }
        let (name, value) = name_and_value(rest);
        match name {
            "fault" if value == "off" => Ok(Self::Fault(None)),
            "fault" => match Fault::parse(value) {
                Ok(fault) => Ok(Self::Fault(Some(fault))),
                Err(expected) => found(tr!("`{}` is no fault: {expected}", abridged(value), expected)),
            },
            "preview" => Ok(Self::Preview(PreviewPolicy::parse(value)?)),
            _ => match Edit::parse(rest).filter(|_| Setting::find(name).is_none()) {
                Some(edit) => Ok(Self::Tensor(edit?)),
                None => {
                    let (setting, value) = setting(rest)?;
                    Ok(Self::Setting { setting, value })
                }
            },
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Setting { setting, value } => written(setting, value),
            Self::Fault(fault) => format!("fault {}", fault.map_or("off".into(), |fault| fault.to_string())),
            Self::Preview(PreviewPolicy::Off) => tr!("preview off"),
            Self::Preview(PreviewPolicy::Every(n)) => format!("preview every {n}"),
            Self::Tensor(edit) => edit.text().into(),
            Self::Module(edit) => edit.text().into(),
        }
    }

    fn class(&self) -> Option<Class> {
        matches!(self, Self::Preview(_)).then_some(Class::ReadOnly)
    }
}

/// `NAME VALUE [here-to-end]`: a setting, and its value in the forks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The setting.
    pub setting: Setting,
    /// Its value, as typed.
    pub value: String,
}

impl Arguments for Sweep {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        let rest = rest.strip_suffix("here-to-end").map_or(rest, str::trim_end);
        match Set::parse(rest)? {
            Set::Setting { setting, value } => {
                setting.check(&value)?;
                Ok(Self { setting, value })
            }
            Set::Fault(_) | Set::Preview(_) | Set::Tensor(_) | Set::Module(_) => {
                found(tr!("`{}` is not a setting of a run", abridged(rest)))
            }
        }
    }

    fn written(&self) -> String {
        written(&self.setting, &self.value)
    }
}

/// `MODULE from TIMELINE`: the next stage runs with the output that the module has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The module.
    pub module: Pattern,
    /// The timeline that its output is taken from.
    pub timeline: String,
}

impl Arguments for Patch {
    fn parse(rest: &str) -> Result<Self, ArgumentError> {
        match rest.split_whitespace().collect::<Vec<_>>()[..] {
            [module, "from", timeline] => {
                let module = Pattern::parse(module).map_err(|e| e.to_string())?;
                Ok(Self { module, timeline: timeline.into() })
            }
            [] => found("nothing named"),
            _ => found(tr!("`{}` is not MODULE from TIMELINE", abridged(rest))),
        }
    }

    fn written(&self) -> String {
        format!("{} from {}", self.module, self.timeline)
    }
}
