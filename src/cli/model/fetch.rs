//! Models from the hub: what would come is shown and asked about, and comes with a bar a file.

use super::hub_name;
use crate::checkpoint::hub::{Cached, Event, Hub, HubError, HubName, HubSnapshot, Plan};
use crate::checkpoint::layout::Precision;
use crate::cli::say;
use crate::nn::device::{DTypeChoice, DeviceChoice};
use crate::pipeline::memory::human;
use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// More than this is asked about.
const ASKED_FROM: u64 = 1_000_000_000;

/// Flags of `diffuscope model pull`.
#[derive(Debug, Args)]
#[command(after_help = super::EXAMPLES)]
pub struct PullArgs {
    /// OWNER/NAME[@REVISION] on the Hugging Face hub, or a short name
    name: String,

    /// What it will be computed on, for --dtype auto
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// What it will be computed in: for f16 the smaller files are fetched where there are such
    #[arg(long, default_value_t = DTypeChoice::Auto)]
    dtype: DTypeChoice,

    /// Do not ask, however large it is
    #[arg(short, long)]
    yes: bool,
}

/// Runs `diffuscope model pull`.
///
/// # Errors
/// [`HubError`], or when nobody can be asked.
pub fn run(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let name = hub_name(&args.name)?;
    let precision = Precision::of(args.dtype.on(&args.device.open()?));
    let hub = Hub::of_environment();
    let plan = hub.plan(&name, precision)?;
    let snapshot = fetch(&hub, &plan, args.yes)?;
    writeln!(io::stdout(), "{}", snapshot.folder.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Sees to it that `name` is in the cache. What is in it already is taken as it is, without a look at the hub.
///
/// # Errors
/// [`HubError`], or when nobody can be asked.
pub fn ensure(name: &HubName, precision: Precision, yes: bool) -> anyhow::Result<()> {
    let hub = Hub::of_environment();
    hub.check_readable(name)?;
    let offline = hub.settings().offline;
    match hub.cached(name, precision) {
        Cached::Whole(_) => return Ok(()),
        // Offline the error says it.
        Cached::Part(broken) if !offline => {
            broken.iter().for_each(|link| say("warning", &format!("{name}: {link}")));
        }
        _ => {}
    }
    match if offline { hub.require_cached(name).map(|_| None) } else { hub.plan(name, precision).map(Some) } {
        Ok(None) => Ok(()),
        Ok(Some(plan)) => fetch(&hub, &plan, yes).map(drop),
        // Weights of less precision are there, and whether there are others cannot be found out.
        Err(
            e @ (HubError::Unreachable { .. }
            | HubError::Stalled { .. }
            | HubError::Lost { .. }
            | HubError::Status { .. }),
        ) => {
            hub.require_cached(name).map_err(|_| e)?;
            say("warning", &format!("{name}: taken as it is in the cache, as the hub cannot be asked"));
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

pub(super) fn fetch(hub: &Hub, plan: &Plan, yes: bool) -> anyhow::Result<HubSnapshot> {
    hub.check_room(plan)?;
    if plan.missing > 0 {
        show(hub, plan)?;
        if plan.missing > ASKED_FROM && !yes {
            agree(hub, plan)?;
        }
    }
    let mut bars = Bars::default();
    let snapshot = hub.fetch(plan, &mut |event| bars.tell(event));
    bars.end();
    Ok(snapshot?)
}

/// What a pull brings, on stderr.
fn show(hub: &Hub, plan: &Plan) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "{} at {} of {}", plan.name, plan.commit, hub.settings().endpoint)?;
    for file in &plan.files {
        writeln!(err, "  {:>9}  {}", human(file.size.into()), file.path)?;
    }
    let there: u64 = plan.files.iter().map(|file| file.size).sum::<u64>().saturating_sub(plan.missing);
    let there = if there > 0 { format!(", {} is there already", human(there.into())) } else { String::new() };
    writeln!(err, "  {:>9}  to fetch{there}", human(plan.missing.into()))
}

fn agree(hub: &Hub, plan: &Plan) -> anyhow::Result<()> {
    let (name, size) = (&plan.name, human(plan.missing.into()));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        bail!(
            "{name}: {size} to fetch, which is asked about, and there is no terminal to ask on; say `diffuscope model pull {name} --yes`"
        );
    }
    if !asked(&format!("Fetch {size} into {}?", hub.settings().cache.display()))? {
        return Err(HubError::Declined { name: name.to_string() }.into());
    }
    Ok(())
}

/// Whether the answer on the terminal is yes.
pub(super) fn asked(question: &str) -> io::Result<bool> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&&*answer.trim().to_lowercase()))
}

/// A bar on stderr for the file that comes; a line for each where that is no terminal.
#[derive(Default)]
pub(super) struct Bars {
    bar: Option<ProgressBar>,
}

impl Bars {
    pub(super) fn tell(&mut self, event: Event) {
        match event {
            Event::Begins { file, bytes } => {
                let bar = ProgressBar::new(file.size).with_message(file.path.clone()).with_position(bytes);
                let template = "  {msg:48} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                // The template is ours; a wrong one leaves the default style.
                self.bar = Some(match ProgressStyle::with_template(template) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                });
                // The rate is that of what comes now.
                self.bar.iter().for_each(ProgressBar::reset_eta);
            }
            Event::At { bytes, .. } => self.bar.iter().for_each(|bar| bar.set_position(bytes)),
            Event::Again { file, why } => self.say(&format!("{}: {why}; again", file.path)),
            Event::Waits { file } => {
                self.say(&format!("{}: another program fetches it just now; waiting", file.path))
            }
            Event::Done { file } => {
                if self.bar.is_some() {
                    self.end();
                    // Where the bar was, the line stays.
                    let _ =
                        writeln!(io::stderr(), "  {:>9}  {} has come", human(file.size.into()), file.path);
                }
            }
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say("warning", line)),
            None => say("warning", line),
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
