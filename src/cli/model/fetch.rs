//! Fetches models from the hub: shows the files, asks if they are large, and shows a progress bar for each.

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
use tr::tr;

/// Larger downloads need confirmation.
const ASKED_FROM: u64 = 1_000_000_000;

/// Flags of `diffuscope model pull`.
#[derive(Debug, Args)]
#[command(after_help = super::EXAMPLES)]
pub struct PullArgs {
    /// OWNER/NAME[@REVISION] on the Hugging Face hub, or a short name
    name: String,

    /// The device of later runs, for --dtype auto
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// The dtype of later runs: for f16, the smaller files are fetched if they exist
    #[arg(long, default_value_t = DTypeChoice::Auto)]
    dtype: DTypeChoice,

    /// Do not ask about large models
    #[arg(short, long)]
    yes: bool,
}

/// Runs `diffuscope model pull`.
///
/// # Errors
/// [`HubError`], or when there is no terminal for a question.
pub fn run(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let name = hub_name(&args.name)?;
    let precision = Precision::of(args.dtype.on(&args.device.open()?));
    let hub = Hub::of_environment();
    let plan = hub.plan(&name, precision)?;
    let snapshot = fetch(&hub, &plan, args.yes)?;
    writeln!(io::stdout(), "{}", snapshot.folder.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Fetches `name` unless it is in the cache. A complete model in the cache is used without contacting the hub.
///
/// # Errors
/// [`HubError`], or when there is no terminal for a question.
pub fn ensure(name: &HubName, precision: Precision, yes: bool) -> anyhow::Result<()> {
    let hub = Hub::of_environment();
    hub.check_readable(name)?;
    let offline = hub.settings().offline;
    match hub.cached(name, precision) {
        Cached::Whole(_) => return Ok(()),
        // Offline, the error reports this.
        Cached::Part(broken) if !offline => {
            broken.iter().for_each(|link| say("warning", &format!("{name}: {link}")));
        }
        _ => {}
    }
    match if offline { hub.require_cached(name).map(|_| None) } else { hub.plan(name, precision).map(Some) } {
        Ok(None) => Ok(()),
        Ok(Some(plan)) => fetch(&hub, &plan, yes).map(drop),
        // Weights of another precision may be in the cache.
        Err(
            e @ (HubError::Unreachable { .. }
            | HubError::Stalled { .. }
            | HubError::Lost { .. }
            | HubError::Status { .. }),
        ) => {
            hub.require_cached(name).map_err(|_| e)?;
            say("warning", &tr!("{name}: used from the cache, as the hub cannot be reached", name));
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

/// Prints the files to fetch to stderr.
fn show(hub: &Hub, plan: &Plan) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "{}", tr!("{} at {} of {}", plan.name, plan.commit, hub.settings().endpoint))?;
    for file in &plan.files {
        writeln!(err, "  {:>9}  {}", human(file.size.into()), file.path)?;
    }
    let cached: u64 = plan.files.iter().map(|file| file.size).sum::<u64>().saturating_sub(plan.missing);
    let cached =
        if cached > 0 { tr!(", {} already in the cache", human(cached.into())) } else { String::new() };
    writeln!(
        err,
        "{}",
        tr!("  {}  to fetch{cached}", format_args!("{:>9}", human(plan.missing.into())), cached)
    )
}

fn agree(hub: &Hub, plan: &Plan) -> anyhow::Result<()> {
    let (name, size) = (&plan.name, human(plan.missing.into()));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        bail!(
            "{}",
            tr!(
                "{name}: {size} to fetch, and there is no terminal for a confirmation; run `diffuscope model pull {name} --yes`",
                name,
                size
            )
        );
    }
    if !asked(&tr!("Fetch {size} into {}?", hub.settings().cache.display(), size))? {
        return Err(HubError::Declined { name: name.to_string() }.into());
    }
    Ok(())
}

/// Asks a question on the terminal; true if the answer is yes.
pub(super) fn asked(question: &str) -> io::Result<bool> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&&*answer.trim().to_lowercase()))
}

/// A progress bar on stderr for the current file; without a terminal, a line for each file.
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
                // The template is constant; an invalid one would leave the default style.
                self.bar = Some(match ProgressStyle::with_template(template) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                });
                // Excludes the bytes of an earlier download from the rate.
                self.bar.iter().for_each(ProgressBar::reset_eta);
            }
            Event::At { bytes, .. } => self.bar.iter().for_each(|bar| bar.set_position(bytes)),
            Event::Again { file, why } => self.say(&tr!("{}: {why}; trying again", file.path, why)),
            Event::Waits { file } => self.say(&tr!("{}: another program is fetching it; waiting", file.path)),
            Event::Done { file } => {
                if self.bar.is_some() {
                    self.end();
                    // The line replaces the bar.
                    let _ = writeln!(io::stderr(), "  {:>9}  {} fetched", human(file.size.into()), file.path);
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
