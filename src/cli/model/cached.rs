//! Models in the cache: `diffuscope model list`, `verify` and `remove`.

use super::fetch::{Bars, asked, fetch};
use super::hub_name;
use crate::checkpoint::hub::HubSnapshot;
use crate::checkpoint::hub::Repaired;
use crate::checkpoint::hub::Swept;
use crate::checkpoint::hub::name::SHORT_NAMES;
use crate::checkpoint::hub::{CachedModel, Hub, State, Verified};
use crate::checkpoint::hub::{HubName, RemoteFile};
use crate::checkpoint::layout::Precision;
use crate::checkpoint::source::POCKET;
use crate::cli::say;
use crate::pipeline::memory::human;
use anyhow::{bail, ensure};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use tr::tr;

/// Flags of `diffuscope model list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const VERIFY_HELP: &str = "\
Each file is hashed and compared with the hash in its name; in a cache without links, with the hub's listing. `unknown` is a
file that could not be compared.

Exit code: 0 if every file is right, 1 if any is wrong, gone or unknown, or if files are missing.";

/// Flags of `diffuscope model verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// OWNER/NAME[@REVISION], or a short name
    name: String,

    /// Fetch files again that are wrong or gone; each is complete before it replaces the old one
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
/// When the cache cannot be read or stdout cannot be written.
pub fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let hub = Hub::of_environment();
    let (scan, cache) = (hub.scan()?, &hub.settings().cache);
    scan.unreadable.iter().for_each(|error| say("warning", &error.to_string()));
    let models = &scan.models;
    let mut out = io::stdout().lock();
    if args.json {
        let models: Vec<_> = models.iter().map(as_json).collect();
        let short: Vec<_> = SHORT_NAMES
            .iter()
            .map(|short| json!({ "name": short.name, "repository": short.repository, "what": short.what }))
            .collect();
        let listed = json!({
            "cache": cache,
            "models": models,
            "bytes": scan.bytes,
            "unreferenced": scan.unreferenced,
            "unreadable": scan.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "short_names": short,
        });
        writeln!(out, "{listed}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(feature = "bundled") {
        writeln!(out, "{}", tr!("In the program:\n  {POCKET}", POCKET))?;
    }
    writeln!(out, "In {}:", cache.display())?;
    if models.is_empty() {
        writeln!(out, "{}", tr!("  no models in the diffusers layout"))?;
    }
    for model in models {
        let shared = if model.removable == model.bytes {
            String::new()
        } else {
            tr!(", of which `model remove` frees {}", human(model.removable.into()))
        };
        writeln!(out, "  {:>9}  {}{shared}", human(model.bytes.into()), model.repository)?;
        for commit in &model.commits {
            let names = if commit.revisions.is_empty() {
                String::new()
            } else {
                format!("  {}", commit.revisions.join(", "))
            };
            let part =
                if commit.is_whole { "" } else { "  incomplete: `diffuscope model pull` fetches the rest" };
            writeln!(out, "             {}{names}{part}", commit.commit)?;
            for link in &commit.broken {
                writeln!(out, "             {link}")?;
            }
        }
    }
    let used = scan.bytes.saturating_sub(scan.unreferenced);
    if models.iter().map(|model| model.bytes).sum::<u64>() != used {
        writeln!(
            out,
            "{}",
            tr!("  {}  in total, as they share files", format_args!("{:>9}", human(used.into())))
        )?;
    }
    if scan.unreferenced > 0 {
        let bytes = human(scan.unreferenced.into());
        let next = match (scan.unremovable.is_empty(), scan.prunable) {
            (true, _) => tr!(": `hf cache prune` removes it"),
            (false, 0) => tr!("; `hf cache prune` leaves these files, which can be deleted by hand:"),
            (false, bytes) => tr!(
                ": `hf cache prune` removes {}, and leaves these files, which can be deleted by hand:",
                human(bytes.into())
            ),
        };
        writeln!(
            out,
            "{}",
            tr!(
                "  {bytes}  in the shared store, used by no repository{next}",
                bytes = format_args!("{:>9}", bytes),
                next
            )
        )?;
        for (path, why) in &scan.unremovable {
            writeln!(out, "             {}: {why}", path.display())?;
        }
    }
    writeln!(out, "{}", tr!("Short names on the hub:"))?;
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
            "broken": commit.broken.iter().map(|link| &link.path).collect::<Vec<_>>(),
        })
    });
    json!({
        "repository": model.repository,
        "bytes": model.bytes,
        "removable": model.removable,
        "commits": commits.collect::<Vec<_>>(),
    })
}

/// Runs `diffuscope model verify`.
///
/// # Errors
/// When the model is not in the cache or cannot be read, or when not every file is right.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let (hub, name) = (Hub::of_environment(), hub_name(&args.name)?);
    let snapshot = hub.any_cached(&name)?;
    let files = hub.verify(&snapshot)?;
    let reasons: Vec<_> = files
        .iter()
        .filter_map(|file| match &file.state {
            State::Unknown(why) => Some(why),
            _ => None,
        })
        .collect();
    // A reason common to all files, such as an unreachable hub, is printed once.
    let shared_reason =
        reasons.first().copied().filter(|first| reasons.len() > 1 && reasons.iter().all(|why| why == first));
    let why = shared_reason.map(|why| format!(" ({why})")).unwrap_or_default();
    let mut out = io::stdout().lock();
    for Verified { path, state, .. } in &files {
        match state {
            State::Right => writeln!(out, "right    {path}")?,
            State::Wrong(found) => {
                writeln!(out, "{}", tr!("wrong    {path}: its hash is {found}", path, found))?
            }
            State::Gone(target) => {
                writeln!(
                    out,
                    "{}",
                    tr!("gone     {path}: a link to {}, where there is no file", target.display(), path)
                )?;
            }
            State::Unknown(why) if shared_reason == Some(why) => writeln!(out, "unknown  {path}")?,
            State::Unknown(why) => writeln!(out, "unknown  {path}: {why}")?,
        }
    }
    for path in hub.missing(&snapshot) {
        writeln!(out, "missing  {path}")?;
    }
    drop(out);
    let bad = files.iter().filter(|file| file.state.is_bad()).count();
    let unknown = files.iter().filter(|file| matches!(file.state, State::Unknown(_))).count();
    ensure!(
        bad == 0 || args.repair,
        "{name}: {} wrong or gone; `diffuscope model verify {name} --repair` fetches {} again",
        if bad == 1 { tr!("1 file is") } else { tr!("{bad} files are", bad) },
        if bad == 1 { "it" } else { "them" }
    );
    if bad > 0 {
        repair(&hub, &snapshot, &files)?;
    }
    if args.repair && !hub.settings().offline && !hub.missing(&snapshot).is_empty() {
        complete(&hub, &snapshot)?;
    }
    ensure!(
        unknown == 0,
        "{name}: {} could not be compared with a hash{why}; with a network connection, run `diffuscope model verify {name}`",
        count(unknown)
    );
    if !hub.missing(&snapshot).is_empty() {
        hub.require_cached(&name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches the files that are missing from the snapshot, at its commit.
fn complete(hub: &Hub, snapshot: &HubSnapshot) -> anyhow::Result<()> {
    let name =
        HubName { repository: snapshot.name.repository.clone(), revision: Some(snapshot.commit.clone()) };
    // The precision of which more files are present.
    let (full, half) = (hub.plan(&name, Precision::Full)?, hub.plan(&name, Precision::Half)?);
    let plan = if half.missing < full.missing { half } else { full };
    let is_missing = |file: &&RemoteFile| !snapshot.folder.join(&file.path).exists();
    let missing: Vec<_> = plan.files.iter().filter(is_missing).map(|file| file.path.clone()).collect();
    fetch(hub, &plan, true)?;
    let mut out = io::stdout().lock();
    Ok(missing.iter().try_for_each(|path| writeln!(out, "repaired {path}"))?)
}

/// Fetches wrong and missing files again, and reports other repositories that share them.
fn repair(hub: &Hub, snapshot: &HubSnapshot, files: &[Verified]) -> anyhow::Result<()> {
    let (mut bars, mut lines) = (Bars::default(), vec![]);
    let done = hub.repair(snapshot, files, &mut |step| match step {
        Repaired::Fetch(event) => bars.tell(event),
        Repaired::Done(file, swept) => {
            lines.push(format!("repaired {}", file.path));
            match swept {
                None => {}
                Some(Swept::Removed { bytes: 0 }) => {}
                Some(Swept::Removed { bytes }) => {
                    let freed = human(bytes.into());
                    lines.push(tr!(
                        "         {freed} of the shared store freed, used by no other repository",
                        freed
                    ));
                }
                Some(Swept::Shared { with, .. }) => {
                    for other in with {
                        let next = match HubName::parse(&other) {
                            Some(Ok(_)) => format!(": `diffuscope model verify {other} --repair`"),
                            _ => String::new(),
                        };
                        say(
                            "warning",
                            &tr!("{}: {other} has the same bad file{next}", file.path, other, next),
                        );
                    }
                }
                Some(Swept::Left { path, why, .. }) => {
                    let path = path.display();
                    say(
                        "warning",
                        &tr!("{}: the bad shared file {path} was left: {why}", file.path, path, why),
                    );
                }
            }
        }
    });
    bars.end();
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(done?)
}

fn count(files: usize) -> String {
    if files == 1 { "1 file".into() } else { format!("{files} files") }
}

/// Runs `diffuscope model remove`.
///
/// # Errors
/// When it is not in the cache, cannot be removed, or there is no terminal for a question.
pub fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let (hub, name) = (Hub::of_environment(), hub_name(&args.name)?);
    ensure!(
        name.revision.is_none(),
        "{name}: all revisions of a model are removed together; run `diffuscope model remove {}`",
        name.repository
    );
    hub.check_readable(&name)?;
    let models = hub.scan()?.models;
    let Some(model) = models.iter().find(|model| model.repository == name.repository) else {
        bail!(
            "{}",
            tr!(
                "{name}: it is not in {}; `diffuscope model list` lists the models",
                hub.settings().cache.display(),
                name
            )
        );
    };
    let (size, free) = (human(model.bytes.into()), human(model.removable.into()));
    let shared =
        if model.removable == model.bytes { String::new() } else { tr!(" (which frees {free})", free) };
    if !args.yes {
        ensure!(
            io::stdin().is_terminal() && io::stderr().is_terminal(),
            "{name}: {size} to remove{shared}, and there is no terminal for a confirmation; run `diffuscope model remove {name} --yes`"
        );
        if !asked(&tr!("Remove {name}, {size}{shared}, for Python too?", name, size, shared))? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let removed = hub.remove(&name)?;
    let mut shared = BTreeMap::<String, (usize, u64)>::new();
    for kept in &removed.kept {
        match kept {
            Swept::Removed { .. } => {}
            Swept::Shared { bytes, with } => {
                let (files, sum) = shared.entry(with.join(", ")).or_insert((0, 0));
                *files += 1;
                *sum += bytes;
            }
            Swept::Left { path, bytes, why } => {
                let (path, bytes) = (path.display(), human((*bytes).into()));
                say(
                    "warning",
                    &tr!("{path} ({bytes}) was left in the shared store: {why}", path, bytes, why),
                );
            }
        }
    }
    for (with, (files, bytes)) in shared {
        let verb = if files == 1 { "stays" } else { "stay" };
        let (files, bytes) = (count(files), human(bytes.into()));
        say(
            "note",
            &tr!(
                "{files} ({bytes}) {verb} in the shared store, used by {with} too",
                files,
                bytes,
                verb,
                with
            ),
        );
    }
    for place in &removed.outside {
        say("warning", &tr!("{} was left: only the link to it was removed", place.display()));
    }
    let prunable = hub.scan().map_or(0, |scan| scan.prunable);
    if prunable > 0 {
        let bytes = human(prunable.into());
        say(
            "note",
            &tr!(
                "{bytes} in the shared store are used by no repository: `hf cache prune` removes them",
                bytes
            ),
        );
    }
    writeln!(io::stdout(), "{}", tr!("{name}: removed, {} freed", human(removed.freed.into()), name))?;
    Ok(ExitCode::SUCCESS)
}
