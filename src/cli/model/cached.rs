//! What is in the cache: `diffuscope model list`, `verify` and `remove`.

use super::fetch::asked;
use super::hub_name;
use crate::cli::say;
use crate::model::hub::name::SHORT_NAMES;
use crate::model::hub::{CachedModel, Hub, State, Verified};
use crate::model::source::POCKET;
use crate::pipeline::memory::said;
use anyhow::{bail, ensure};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Flags of `diffuscope model list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Flags of `diffuscope model verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// OWNER/NAME[@REVISION], or a short name
    name: String,

    /// Take out what is wrong, so that `model pull` fetches it again
    #[arg(long)]
    repair: bool,
}

/// Flags of `diffuscope model remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// OWNER/NAME, or a short name: all of its revisions
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `diffuscope model list`.
///
/// # Errors
/// When stdout cannot be written.
pub fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let hub = Hub::of_environment();
    let (models, cache) = (hub.models(), &hub.settings().cache);
    let mut out = io::stdout().lock();
    if args.json {
        let models: Vec<_> = models.iter().map(as_json).collect();
        let short: Vec<_> = SHORT_NAMES
            .iter()
            .map(|short| json!({ "name": short.name, "repository": short.repository, "what": short.what }))
            .collect();
        writeln!(out, "{}", json!({ "cache": cache, "models": models, "short_names": short }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(feature = "bundled") {
        writeln!(out, "In the program:\n  {POCKET}")?;
    }
    writeln!(out, "In {}:", cache.display())?;
    if models.is_empty() {
        writeln!(out, "  nothing in the diffusers layout")?;
    }
    for model in &models {
        writeln!(out, "  {:>9}  {}", said(model.bytes.into()), model.repository)?;
        for commit in &model.commits {
            let names = if commit.revisions.is_empty() {
                String::new()
            } else {
                format!("  {}", commit.revisions.join(", "))
            };
            let part = if commit.is_whole { "" } else { "  not all of it: `diffuscope model pull` goes on" };
            writeln!(out, "             {}{names}{part}", commit.commit)?;
        }
    }
    writeln!(out, "By a short name on the hub:")?;
    for short in SHORT_NAMES {
        writeln!(out, "  {:11}  {}: {}", short.name, short.repository, short.what)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(model: &CachedModel) -> serde_json::Value {
    let commits = model.commits.iter().map(|commit| {
        json!({
            "commit": commit.commit,
            "revisions": commit.revisions,
            "folder": commit.folder,
            "whole": commit.is_whole,
        })
    });
    json!({ "repository": model.repository, "bytes": model.bytes, "commits": commits.collect::<Vec<_>>() })
}

/// Runs `diffuscope model verify`: exit code 1 where something is wrong.
///
/// # Errors
/// When the model is not in the cache, or cannot be read.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let (hub, name) = (Hub::of_environment(), hub_name(&args.name)?);
    let snapshot = hub.require_cached(&name)?;
    let files = hub.verify(&snapshot, &mut |_| ())?;
    let mut out = io::stdout().lock();
    for Verified { path, state, .. } in &files {
        match state {
            State::Right => writeln!(out, "right    {path}")?,
            State::Wrong(found) => writeln!(out, "wrong    {path}: its hash is {found}")?,
            State::Unnamed => writeln!(out, "unknown  {path}: no link to a file that is named by its hash")?,
        }
    }
    let wrong: Vec<_> = files.iter().filter(|file| matches!(file.state, State::Wrong(_))).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if args.repair {
        wrong.iter().try_for_each(|file| std::fs::remove_file(&file.blob))?;
        say(
            "warning",
            &format!("{} taken out; `diffuscope model pull {name}` fetches it again", count(wrong.len())),
        );
        return Ok(ExitCode::FAILURE);
    }
    bail!(
        "{name}: {} not what the hub announced; `diffuscope model verify {name} --repair` takes it out, `diffuscope model pull {name}` fetches it again",
        count(wrong.len())
    );
}

fn count(files: usize) -> String {
    if files == 1 { "1 file".into() } else { format!("{files} files") }
}

/// Runs `diffuscope model remove`.
///
/// # Errors
/// When it is not there, cannot be removed, or nobody can be asked.
pub fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let (hub, name) = (Hub::of_environment(), hub_name(&args.name)?);
    ensure!(
        name.revision.is_none(),
        "{name}: all revisions of a model are removed together; say `diffuscope model remove {}`",
        name.repository
    );
    let models = hub.models();
    let Some(model) = models.iter().find(|model| model.repository == name.repository) else {
        bail!(
            "{name}: it is not in {}; `diffuscope model list` tells what is",
            hub.settings().cache.display()
        );
    };
    let size = said(model.bytes.into());
    if !args.yes {
        ensure!(
            io::stdin().is_terminal() && io::stderr().is_terminal(),
            "{name}: {size} to remove, and there is no terminal to ask on; say `diffuscope model remove {name} --yes`"
        );
        if !asked(&format!("Remove {name}, {size}, for Python too?"))? {
            return Ok(ExitCode::FAILURE);
        }
    }
    hub.remove(&name)?;
    writeln!(io::stdout(), "{name}: {size} removed")?;
    Ok(ExitCode::SUCCESS)
}
