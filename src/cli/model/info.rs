//! `diffuscope model info`: the contents of a checkpoint.

use crate::checkpoint::LoadError;
use crate::checkpoint::ModelSource;
use crate::checkpoint::hub::Cached;
use crate::checkpoint::hub::Hub;
use crate::checkpoint::hub::Plan;
use crate::checkpoint::inventory::ComponentWeights;
use crate::checkpoint::inventory::inventory;
use crate::checkpoint::layout::COMPONENTS;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::source::POCKET;
use crate::cli::args::ChangeArgs;
use crate::cli::say;
use crate::model::ClipTokenizer;
use crate::pipeline::memory;
use crate::pipeline::models::Configs;
use clap::Args;
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use tr::tr;

/// Flags of `diffuscope model info`.
#[derive(Debug, Args)]
#[command(after_help = super::EXAMPLES)]
pub struct InfoArgs {
    /// `pocket`, the bundled model; a folder in the diffusers layout; a .safetensors file in the original layout; OWNER/NAME[@REVISION] on the Hugging Face hub, or a short name
    #[arg(default_value = POCKET, conflicts_with = "named")]
    model: String,

    /// The same as MODEL, for consistency with other subcommands
    #[arg(long = "model", value_name = "MODEL")]
    named: Option<String>,

    #[command(flatten)]
    changes: ChangeArgs,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Every error is a message of one line.
pub fn run(args: &InfoArgs) -> anyhow::Result<ExitCode> {
    let named = args.named.as_deref().unwrap_or(&args.model);
    if let Some(name) = ModelSource::on_hub(named)? {
        let hub = Hub::of_environment();
        let cached = hub.cached(&name, Precision::Half);
        if !matches!(cached, Cached::Whole(_)) {
            if hub.settings().offline {
                hub.require_cached(&name).map_err(LoadError::from)?;
            }
            print_plan(&hub.plan(&name, Precision::Full)?, args.json)?;
            if let Cached::Part(broken) = cached {
                broken.iter().for_each(|link| say("warning", &format!("{name}: {link}")));
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    let source = args.changes.source(named)?;
    let mut configs = Configs::load(&source)?;
    let weights = inventory(&source, Precision::Full)?;
    let opened = COMPONENTS.iter().map(|component| source.weights(component.name, Precision::Full));
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    configs.notes.extend(source.weight_notes(Precision::Full, &opened));
    let mut out = io::stdout().lock();
    if args.json {
        let components = json!({ "model": source.to_string(), "conclusions": source.conclusions(), "components": weights, "config": summary(&configs) });
        writeln!(out, "{components}")?;
    } else {
        write_text(&mut out, &source, &configs, &weights)?;
    }
    let tokenizer = ClipTokenizer::load(&source, configs.text_encoder.vocab_size);
    let of_tokenizer = match &tokenizer {
        Ok(tokenizer) => tokenizer.notes.clone(),
        Err(e) => vec![e.to_string()],
    };
    configs.notes.iter().chain(&of_tokenizer).for_each(|note| say("warning", note));
    Ok(ExitCode::SUCCESS)
}

/// Prints the files to fetch of a model that is not in the cache.
fn print_plan(plan: &Plan, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let files: Vec<_> =
            plan.files.iter().map(|file| json!({ "path": file.path, "bytes": file.size })).collect();
        let object = json!({ "model": plan.name.to_string(), "commit": plan.commit, "missing": plan.missing, "files": files });
        return writeln!(out, "{object}");
    }
    writeln!(out, "{}", tr!("{} at {}, not completely in the cache", plan.name, plan.commit))?;
    for file in &plan.files {
        writeln!(out, "  {:>9}  {}", memory::human(file.size.into()), file.path)?;
    }
    writeln!(
        out,
        "{}",
        tr!("`diffuscope model pull {}` fetches {}", plan.name, memory::human(plan.missing.into()))
    )
}

fn write_text(
    out: &mut impl Write,
    source: &ModelSource,
    configs: &Configs,
    weights: &[ComponentWeights],
) -> io::Result<()> {
    writeln!(out, "{source}")?;
    for line in source.conclusions() {
        writeln!(out, "  {line}")?;
    }
    let file = |w: &ComponentWeights| match w.files {
        1 => w.file.clone(),
        files => format!("{} ({files} files)", w.file),
    };
    let file_width = weights.iter().map(|w| file(w).len()).max().unwrap_or(0);
    writeln!(
        out,
        "  {:12}  {:file_width$}  {:>7}  {:>13}  {:>9}  dtype",
        "component", "file", "tensors", "parameters", "size"
    )?;
    for w in weights {
        let (parameters, size) = (thousands(w.parameters), memory::human(w.bytes.into()));
        let dtypes = w.dtypes.join(", ");
        writeln!(
            out,
            "  {:12}  {:file_width$}  {:>7}  {parameters:>13}  {size:>9}  {dtypes}",
            w.name,
            file(w),
            w.tensors
        )?;
    }
    let (parameters, bytes) = weights.iter().fold((0, 0), |(p, b), w| (p + w.parameters, b + w.bytes));
    let (parameters, size) = (thousands(parameters), memory::human(bytes.into()));
    writeln!(out, "  {:12}  {:file_width$}  {:>7}  {parameters:>13}  {size:>9}", "together", "", "")?;
    for w in weights.iter().filter(|w| !w.unread.is_empty()) {
        writeln!(out, "{}", tr!("  {}: not read: {}", w.name, w.unread.join(", ")))?;
    }
    for (component, keys) in summary(configs).as_object().into_iter().flatten() {
        let keys = keys.as_object().into_iter().flatten().map(|(key, value)| format!("{key} {value}"));
        writeln!(out, "  {component}: {}", keys.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

/// The main parameters of a checkpoint, under the configurations' keys.
fn summary(configs: &Configs) -> serde_json::Value {
    let Configs { text_encoder: text, unet, vae, scheduler, stands_in_for, .. } = configs;
    let per_level = |f: fn(&crate::model::unet::config::LevelConfig) -> usize| -> Vec<usize> {
        unet.blocks.iter().map(f).collect()
    };
    json!({
        "text_encoder": {
            "hidden_size": text.hidden_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "hidden_act": format!("{:?}", text.hidden_act),
        },
        "unet": {
            "block_out_channels": per_level(|b| b.channels),
            "layers_per_block": per_level(|b| b.layers),
            "heads": per_level(|b| b.heads),
            "cross_attention_dim": unet.innermost().cross_attention_dim,
            "mid_block": unet.has_mid_block,
            "sample_size": [unet.sample_size.0, unet.sample_size.1],
        },
        "vae": {
            "block_out_channels": vae.block_out_channels,
            "latent_channels": vae.latent_channels,
            "scaling_factor": vae.scaling_factor,
        },
        "scheduler": {
            "class": scheduler.config().class.name(),
            "stands_in_for": stands_in_for,
            "arguments": scheduler,
        },
    })
}

/// A count with thousands separators: `8,807,044`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1000, 8_807_044].map(thousands), ["0", "999", "1,000", "8,807,044"]);
    }
}
