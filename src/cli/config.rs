//! `diffuscope config`: the user's settings of the interface.

use super::exit::Exit;
use super::say;
use crate::pipeline::dump::{read_text, write_beside};
use crate::tui::config::Config;
use anyhow::{Context, anyhow, bail, ensure};
use clap::Subcommand;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use toml_edit::{DocumentMut, Item, Table, TableLike, value};
use tr::tr;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope config show                     the current settings in TOML
  diffuscope config init                     writes the settings file, with every setting and what it can be
  diffuscope config set theme dark
  diffuscope config set keys.ctrl-n \"next 5\"
  diffuscope config edit                     opens $VISUAL or $EDITOR

An example of a file:
  theme = \"dark\"             auto, dark, light, high-contrast or terminal
  colours = \"256\"            24-bit, 256, 16 or none [default: detected]
  graphics = \"sixel\"         auto, kitty, sixel, iterm2 or halfblocks
  mouse = false              leaves the mouse to the terminal
  [keys]
  ctrl-n = \"next 5\"          a key and a command, or an action of the interface: zoom, charts, none";

/// What `config init` writes: the defaults, explained.
const INITIAL: &str = "\
# Settings of diffuscope's interface. `diffuscope config --help` lists their values.

# auto, dark, light, high-contrast or terminal
theme = \"auto\"

# 24-bit, 256, 16 or none; without it, the terminal decides
# colours = \"256\"

# auto, kitty, sixel, iterm2 or halfblocks
graphics = \"auto\"

# false leaves the mouse to the terminal
mouse = true

# A key and a command, or an action of the interface: zoom, charts, none
[keys]
# ctrl-n = \"next 5\"
";

/// The subcommands of `diffuscope config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the current settings in the format of the file
    Show,
    /// Print the path of the file
    Path,
    /// Write the file, if there is none yet
    Init,
    /// Open the file in $VISUAL or $EDITOR; what cannot be read is not kept
    Edit,
    /// Set one setting; the old file stays beside the new one, as config.toml.bak
    Set {
        /// theme, colours, graphics, mouse, or keys.KEY
        key: String,
        /// Its value
        value: String,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When the file or a value is invalid, or there is no home folder.
pub fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show => {
            if let Some(path) = Config::path().filter(|path| is_stdout(path)) {
                return Ok(refuse_itself(&path));
            }
            write!(io::stdout(), "{}", Config::load()?.text())?;
        }
        ConfigCommand::Path => writeln!(io::stdout(), "{}", path()?.display())?,
        ConfigCommand::Init => init(&path()?)?,
        ConfigCommand::Edit => edit(&path()?)?,
        ConfigCommand::Set { key, value } => set(&path()?, key, value)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path() -> anyhow::Result<PathBuf> {
    Config::path().context("there is no home folder; expected HOME or XDG_CONFIG_HOME")
}

/// Whether stdout goes to the file at `path`.
#[cfg(unix)]
fn is_stdout(path: &Path) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let out = io::stdout().as_fd().try_clone_to_owned().and_then(|fd| fs::File::from(fd).metadata());
    match (out, fs::metadata(path)) {
        (Ok(out), Ok(file)) => (out.dev(), out.ino()) == (file.dev(), file.ino()),
        _ => false,
    }
}

/// Whether stdout goes to the file at `path`.
#[cfg(not(unix))]
fn is_stdout(_: &Path) -> bool {
    false
}

/// The shell has emptied the settings file by now, so that printing the settings into it would make that last.
fn refuse_itself(path: &Path) -> ExitCode {
    let backup = backup(path);
    let advice = if backup.exists() {
        tr!("the last version is {}", backup.display())
    } else {
        tr!("`diffuscope config init` writes a new one")
    };
    say(
        "error",
        &tr!(
            "{}: the output of `config show` goes to the settings file itself, which the shell has emptied; {advice}",
            path.display(),
            advice
        ),
    );
    Exit::Usage.into()
}

fn backup(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    name.into()
}

fn init(path: &Path) -> anyhow::Result<()> {
    ensure!(
        !path.exists(),
        tr!(
            "{}: there is one already; expected none: `config edit` or `config set` changes it",
            path.display()
        )
    );
    keep(path, INITIAL)?;
    writeln!(io::stdout(), "{}", tr!("{} written", path.display()))?;
    Ok(())
}

/// Writes the settings file beside and renames it; the old one becomes the backup. `text` must be readable as settings.
fn keep(path: &Path, text: &str) -> anyhow::Result<()> {
    Config::parse(path, text)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    if path.exists() {
        let old = fs::read(path).with_context(|| path.display().to_string())?;
        write_beside(&backup(path), &old)?;
    }
    Ok(write_beside(path, text.as_bytes())?)
}

/// The text of the settings file, or of a new one.
fn text_of(path: &Path) -> anyhow::Result<String> {
    match read_text(path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(INITIAL.into()),
        Err(e) => Err(anyhow!("{}: {e}", path.display())),
    }
}

fn set(path: &Path, key: &str, text: &str) -> anyhow::Result<()> {
    let old = text_of(path)?;
    let mut document: DocumentMut =
        old.parse().map_err(|e: toml_edit::TomlError| anyhow!("{}: {e}", path.display()))?;
    let new = match text {
        "true" => value(true),
        "false" => value(false),
        text => value(text),
    };
    match key.split_once('.') {
        Some(("keys", key)) if !key.is_empty() => {
            let keys = document.entry("keys").or_insert(Item::Table(Table::new()));
            let Some(keys) = keys.as_table_like_mut() else {
                bail!(tr!("{}: `keys` is no table", path.display()))
            };
            put(keys, key, new);
        }
        _ => put(document.as_table_mut(), key, new),
    }
    keep(path, &document.to_string())?;
    writeln!(io::stdout(), "{}", tr!("{key} = {text}, in {}", path.display(), key, text))?;
    Ok(())
}

/// Puts a value into a table. The comments around the old one stay.
fn put(table: &mut dyn TableLike, key: &str, mut new: Item) {
    match table.get_mut(key) {
        Some(item) => {
            if let (Some(old), Some(new)) = (item.as_value(), new.as_value_mut()) {
                *new.decor_mut() = old.decor().clone();
            }
            *item = new;
        }
        None => {
            table.insert(key, new);
        }
    }
}

/// Opens a copy in the reader's editor, and keeps it if it can be read.
fn edit(path: &Path) -> anyhow::Result<()> {
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let Some(editor) = editor else {
        bail!(tr!("neither VISUAL nor EDITOR is set; expected the command of an editor, such as EDITOR=vi"));
    };
    let old = text_of(path)?;
    let copy = std::env::temp_dir().join(format!("diffuscope-{}.toml", std::process::id()));
    write_beside(&copy, old.as_bytes())?;
    // EDITOR may have arguments.
    let mut words = editor.split_whitespace();
    let status = Command::new(words.next().unwrap_or(&editor)).args(words).arg(&copy).status();
    let status = status.with_context(|| tr!("the editor `{editor}` does not start", editor))?;
    let new = read_text(&copy).with_context(|| copy.display().to_string())?;
    ensure!(status.success(), tr!("the editor `{editor}` failed; {} is unchanged", path.display(), editor));
    if new == old && path.exists() {
        fs::remove_file(&copy)?;
        writeln!(io::stdout(), "{}", tr!("{} is unchanged", path.display()))?;
        return Ok(());
    }
    keep(path, &new)
        .with_context(|| tr!("{} is unchanged, your text is {}", path.display(), copy.display()))?;
    fs::remove_file(&copy)?;
    writeln!(io::stdout(), "{}", tr!("{} written", path.display()))?;
    Ok(())
}
