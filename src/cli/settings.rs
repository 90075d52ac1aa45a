//! The flags of the settings: those of the table in [`crate::pipeline::settings`].

use crate::pipeline::settings::ValueError;
use crate::pipeline::{Request, Setting};
use anyhow::Context;
use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// The settings that were given as flags, each with its value as typed.
#[derive(Debug, Clone, Default)]
pub struct SettingArgs(Vec<(Setting, String)>);

/// The flag that a setting is known by; `None` where it has none.
fn flag(setting: &Setting) -> Option<&'static str> {
    setting.entry().flags.first().copied()
}

/// What a flag's value must be. A file is opened later: that it cannot be is no matter of the command line.
fn parser(setting: Setting) -> ValueParser {
    ValueParser::from(move |text: &str| -> Result<String, String> {
        if !setting.is_file() {
            setting.parse_into(text, &mut Request::default()).map_err(|e| match e {
                ValueError::Other { expected, .. } => expected,
                e => e.to_string(),
            })?;
        }
        Ok(text.to_string())
    })
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        Setting::all().fold(command, |command, setting| {
            let Some((flag, aliases)) = setting.entry().flags.split_first() else { return command };
            let (entry, hyphens) = (setting.entry(), !setting.is_file());
            let arg = Arg::new(*flag).long(*flag).visible_aliases(aliases.iter().copied());
            let arg = arg.value_name(entry.value).help(entry.help.to_string()).allow_hyphen_values(hyphens);
            command.arg(arg.value_parser(parser(setting)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: Setting| {
            let text = matches.get_one::<String>(flag(&setting)?)?.clone();
            Some((setting, text))
        };
        Ok(Self(Setting::all().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl SettingArgs {
    /// Whether the setting of that name was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(setting, _)| setting.name() == name)
    }

    /// The given settings in a request of their own; the others are not meant.
    ///
    /// # Errors
    /// When a file cannot be read; it names the flag.
    pub fn values(&self) -> anyhow::Result<Request> {
        let mut values = Request::default();
        for (setting, text) in &self.0 {
            let flag = flag(setting).unwrap_or_default();
            setting.parse_into(text, &mut values).with_context(|| format!("--{flag}"))?;
        }
        Ok(values)
    }

    /// Gives a request what was given, of [`values`](Self::values).
    ///
    /// # Errors
    /// When the checkpoint's files do not allow a value.
    pub fn apply(&self, values: &Request, request: &mut Request) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|(setting, _)| setting.copy(values, request).map_err(anyhow::Error::msg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &[&str]) -> Result<SettingArgs, clap::Error> {
        let command = SettingArgs::augment_args(Command::new("diffuscope").no_binary_name(true));
        SettingArgs::from_arg_matches(&command.try_get_matches_from(flags)?)
    }

    #[test]
    fn every_setting_has_its_flags() {
        for setting in Setting::all() {
            for flag in setting.entry().flags {
                let value = match setting.name() {
                    "scheduler" => "dpm++2m-karras",
                    "prompt_syntax" => "a1111",
                    _ if setting.is_text() => "sample:cat",
                    _ => "1",
                };
                let args = parsed(&[&format!("--{flag}"), value]).unwrap();
                assert!(args.has(setting.name()), "{flag}");
                let mut request = Request { seed: 7.into(), ..Request::default() };
                args.apply(&args.values().unwrap(), &mut request).unwrap();
                assert_eq!(setting.get(&request).to_string(), value, "{flag}");
            }
        }
        assert!(parsed(&[]).unwrap().0.is_empty());
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_is_expected() {
        let error = parsed(&["--steps", "many"]).unwrap_err().to_string();
        assert!(error.contains("'many' for '--steps <N>': expected a number of steps"), "{error}");
        let error = format!("{:#}", parsed(&["--init-image", "sample:moon"]).unwrap().values().unwrap_err());
        assert!(error.starts_with("--init-image: "), "{error}");
    }
}
