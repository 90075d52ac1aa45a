//! `diffuscope model`: the contents of a checkpoint; models from the Hugging Face hub.
//!
//! - [`info`]: components, configurations, sizes.
//! - [`fetch`]: fetches models from the hub into the cache.
//! - [`cached`]: lists, verifies and removes models in the cache.

pub mod cached;
pub mod fetch;
pub mod info;

use crate::checkpoint::hub::name::short_names;
use crate::checkpoint::hub::{HubError, HubName};
use clap::Subcommand;
use std::process::ExitCode;
use tr::tr;

pub(super) const EXAMPLES: &str = "\
Examples:
  diffuscope model info
  diffuscope model info ~/models/stable-diffusion-2
  diffuscope model pull sd15                  fetch it, as --model sd15 does
  diffuscope model pull OWNER/NAME@REVISION
  diffuscope model list                       what is in the cache, and the short names
  diffuscope model verify sd15                hash its files again
  diffuscope model remove sd15

The cache is shared with Python. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE apply.";

/// `diffuscope model …`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Print components, configurations, parameter counts, dtypes and sizes, without loading the model
    Info(info::InfoArgs),
    /// Fetch a model from the Hugging Face hub, or its missing and newer files
    Pull(fetch::PullArgs),
    /// List the models in the cache, and the short names
    List(cached::ListArgs),
    /// Hash the files of a model in the cache again
    Verify(cached::VerifyArgs),
    /// Remove a model from the cache, which Python uses too
    Remove(cached::RemoveArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line.
pub fn run(command: ModelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::Info(args) => info::run(&args),
        ModelCommand::Pull(args) => fetch::run(&args),
        ModelCommand::List(args) => cached::list(&args),
        ModelCommand::Verify(args) => cached::verify(&args),
        ModelCommand::Remove(args) => cached::remove(&args),
    }
}

/// Parses a name on the hub.
fn hub_name(text: &str) -> Result<HubName, HubError> {
    let found = || tr!("not a name on the hub (short names are {})", short_names());
    HubName::parse(text).unwrap_or_else(|| Err(HubError::Name { name: text.into(), found: found() }))
}
