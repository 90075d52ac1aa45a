//! `diffuscope model`: what a checkpoint holds, and the models of the Hugging Face hub.
//!
//! - [`info`]: components, configurations, sizes.
//! - [`fetch`]: from the hub into the cache, shown and asked about before.
//! - [`cached`]: what is in the cache, whether it is still right, and out of it again.

pub mod cached;
pub mod fetch;
pub mod info;

use crate::checkpoint::hub::name::short_names;
use crate::checkpoint::hub::{HubError, HubName};
use clap::Subcommand;
use std::process::ExitCode;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope model info
  diffuscope model info ~/models/stable-diffusion-2
  diffuscope model pull sd15                  fetch it; --model sd15 does so too, and asks before
  diffuscope model pull OWNER/NAME@REVISION
  diffuscope model list                       what is in the cache, and the short names
  diffuscope model verify sd15                hash its files again
  diffuscope model remove sd15

The cache is Python's. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are heeded.";

/// `diffuscope model …`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Components, configurations, parameter counts, dtypes and bytes; nothing is loaded
    Info(info::InfoArgs),
    /// Fetch a model from the Hugging Face hub, or what is missing or newer of it
    Pull(fetch::PullArgs),
    /// The models in the cache, and those that are known by a short name
    List(cached::ListArgs),
    /// Hash the files of a model in the cache again
    Verify(cached::VerifyArgs),
    /// Take a model out of the cache, which Python uses too
    Remove(cached::RemoveArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// In a line that names the culprit.
pub fn run(command: ModelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::Info(args) => info::run(&args),
        ModelCommand::Pull(args) => fetch::run(&args),
        ModelCommand::List(args) => cached::list(&args),
        ModelCommand::Verify(args) => cached::verify(&args),
        ModelCommand::Remove(args) => cached::remove(&args),
    }
}

/// A name that can only be one on the hub.
fn hub_name(text: &str) -> Result<HubName, HubError> {
    let found = || format!("no name on the hub (short names are {})", short_names());
    HubName::parse(text).unwrap_or_else(|| Err(HubError::Name { name: text.into(), found: found() }))
}
