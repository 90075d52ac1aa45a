//! The user's settings of the interface: `$XDG_CONFIG_HOME/diffuscope/config.toml`.

use super::depth::Depth;
use super::keymap::{Keymap, KeymapError};
use super::pictures::Choice;
use super::theme::Scheme;
use crate::pipeline::dump::read_text;
use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tr::tr;

/// The settings. A setting that the file does not have keeps its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The theme: `auto`, `dark`, `light`, `high-contrast`, `terminal`.
    pub theme: Scheme,
    /// The number of colours: `24-bit`, `256`, `16`, `none`; detected when it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colours: Option<Depth>,
    /// How pictures are drawn.
    pub graphics: Choice,
    /// Whether the program captures the mouse.
    pub mouse: bool,
    /// Keys and their actions: a line of the command language, or one of the interface's actions.
    pub keys: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            theme: Scheme::default(),
            colours: None,
            graphics: Choice::default(),
            mouse: true,
            keys: BTreeMap::new(),
        }
    }
}

/// Why the settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists and cannot be read.
    #[error("{}", tr!("{}: cannot be read: {error}", file.display(), error = .error))]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file is not TOML, or has an unknown setting or value.
    #[error("{}: {error}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Place and reason, with the line itself.
        error: Box<toml::de::Error>,
    },
    /// A key or its action does not exist.
    #[error("{}: [keys]: {error}", file.display())]
    Keys {
        /// The file.
        file: PathBuf,
        /// The key, and what would be right.
        error: KeymapError,
    },
}

impl Config {
    /// The settings file; `None` on a system without a home directory.
    pub fn path() -> Option<PathBuf> {
        let xdg = Xdg::new().ok()?;
        Some(xdg.config_dir().join("diffuscope").join("config.toml"))
    }

    /// The user's settings; the defaults when there is no file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and what would be right.
    pub fn load() -> Result<Self, ConfigError> {
        Self::path().map_or(Ok(Self::default()), |path| Self::read(&path))
    }

    /// The settings in `file`; the defaults when it is not there.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ConfigError::Read { file: file.into(), error }),
        };
        Self::parse(file, &text)
    }

    /// The settings that `text` says, which is or becomes that of `file`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { file: file.into(), error: error.into() })?;
        config.keymap().map_err(|error| ConfigError::Keys { file: file.into(), error })?;
        Ok(config)
    }

    /// The keymap, with the user's own keys.
    ///
    /// # Errors
    /// When a key or its action does not exist.
    pub fn keymap(&self) -> Result<Keymap, KeymapError> {
        Keymap::with(&self.keys)
    }

    /// The number of colours: the setting, or what was detected.
    pub fn depth(&self) -> Depth {
        self.colours.unwrap_or_else(Depth::detect)
    }

    /// The settings as TOML.
    pub fn text(&self) -> String {
        // Five plain fields, all of which TOML can hold.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file).map_err(|e| e.to_string())
    }

    #[test]
    fn missing_settings_have_their_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
        let config = read("theme = \"light\"\ncolours = \"256\"\n[keys]\nctrl-n = \"next 5\"").unwrap();
        assert_eq!((config.theme, config.colours, config.mouse), (Scheme::Light, Some(Depth::Indexed), true));
        assert_eq!(Config::read(Path::new("no/such/file")).unwrap(), Config::default());
    }

    #[test]
    fn printed_settings_can_be_read_again() {
        let config = read("mouse = false\ngraphics = \"sixel\"\n[keys]\nf5 = \"continue\"").unwrap();
        assert_eq!(read(&config.text()).unwrap(), config);
    }

    #[test]
    fn errors_name_the_line_and_what_would_be_right() {
        let error = read("mouse = true\ntheme = \"pink\"").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("pink") && error.contains("high-contrast"),
            "{error}"
        );
        let error = read("them = \"dark\"").unwrap_err();
        assert!(error.contains("them") && error.contains("expected one of `theme`"), "{error}");
        let error = read("[keys]\nhyper-n = \"next\"").unwrap_err();
        assert!(error.contains("hyper-n") && error.contains("ctrl-"), "{error}");
        let error = read("[keys]\nx = \"fly\"").unwrap_err();
        assert!(error.contains("`fly`") && error.contains("zoom"), "{error}");
    }
}
