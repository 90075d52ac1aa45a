//! `diffuscope doctor`: a report on devices, terminal and environment, for bug reports.

mod environment;
mod gpus;

use crate::nn::device;
use crate::nn::device::{DTypeChoice, DeviceChoice};
use clap::Args;
use gpus::{Gpu, Seen};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use tr::tr;

const EXAMPLES: &str = "\
Examples:
  diffuscope doctor
  diffuscope doctor --json | jq .devices";

/// Flags of `diffuscope doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A section of the report.
struct Section {
    title: &'static str,
    facts: Vec<Fact>,
}

/// A fact as text and as JSON.
struct Fact {
    name: &'static str,
    text: String,
    value: Value,
}

impl Fact {
    /// A fact whose JSON value is its text.
    fn text(name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { name, value: json!(text), text }
    }

    /// A fact with its own JSON value.
    fn new(name: &'static str, text: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name, text: text.into(), value: value.into() }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    // The terminal is queried before anything is written to it.
    let terminal = environment::terminal();
    let sections = [
        environment::versions(),
        devices(&Seen::by_driver()),
        environment::machine(),
        terminal,
        environment::hub(),
        environment::files(),
    ];
    let mut out = io::stdout().lock();
    if args.json {
        let sections = sections.into_iter().map(|section| {
            let facts = section.facts.into_iter().map(|fact| (fact.name.replace(' ', "_"), fact.value));
            (section.title.to_lowercase(), Value::Object(facts.collect()))
        });
        writeln!(out, "{}", Value::Object(sections.collect::<Map<_, _>>()))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (i, Section { title, facts }) in sections.iter().enumerate() {
        writeln!(out, "{}{title}", if i > 0 { "\n" } else { "" })?;
        for Fact { name, text, .. } in facts {
            // Environment variables may contain control characters.
            let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            writeln!(out, "  {name:<16} {text}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The GPUs, whether they can be used, and the choices of `auto`.
fn devices(seen: &Seen) -> Section {
    let built: Vec<&str> = [
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
    ]
    .into_iter()
    .filter_map(|(name, is_built)| is_built.then_some(name))
    .collect();
    let built_for =
        if built.is_empty() { tr!("the CPU only") } else { format!("the CPU, {}", built.join(", ")) };
    let mut facts = vec![Fact::new("built for", built_for, json!(built))];

    let driver = seen.driver.as_deref();
    facts.push(Fact::new("NVIDIA driver", driver.unwrap_or("none found"), json!(driver)));
    let cuda = seen.cuda.as_deref();
    if driver.is_some() {
        let text =
            cuda.map_or(tr!("not reported"), |cuda| tr!("up to {cuda}, according to the driver", cuda));
        facts.push(Fact::new("CUDA", text, json!(cuda)));
    }
    let gpus: Vec<String> = seen.gpus.iter().map(Gpu::to_string).collect();
    let gpus = if gpus.is_empty() { tr!("none found") } else { gpus.join("; ") };
    facts.push(Fact::new("GPUs", gpus, seen.gpus.iter().map(Gpu::as_json).collect::<Vec<_>>()));
    if !seen.gpus.is_empty() && !cfg!(feature = "cuda") {
        facts.push(Fact::text(
            "to use them",
            "this program was built without CUDA: build it with `--features cuda`",
        ));
    }
    if cfg!(feature = "cuda")
        && let Err(e) = DeviceChoice::Cuda(0).open()
    {
        facts.push(Fact::text("not usable", e.to_string()));
    }
    let chosen = DeviceChoice::Auto.open().unwrap_or(candle_core::Device::Cpu);
    facts.push(Fact::text("--device auto", device::name(&chosen)));
    facts.push(Fact::text("--dtype auto", DTypeChoice::Auto.on(&chosen).as_str()));
    Section { title: "Devices", facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_this_build_cannot_use_gives_advice() {
        let seen = Seen {
            driver: Some("550.54".into()),
            cuda: Some("12.4".into()),
            gpus: gpus::parse("0, NVIDIA A100-SXM4-40GB, 40960, 40445, 550.54, 8.0").gpus,
        };
        let section = devices(&seen);
        let text = |name: &str| {
            section
                .facts
                .iter()
                .find(|fact| fact.name == name)
                .map(|fact| fact.text.clone())
                .unwrap_or_default()
        };
        assert!(text("GPUs").starts_with("cuda:0 NVIDIA A100-SXM4-40GB, 42.9 GB"), "{}", text("GPUs"));
        assert_eq!(text("to use them").contains("--features cuda"), cfg!(not(feature = "cuda")));
        assert_eq!(text("CUDA"), "up to 12.4, according to the driver");
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn without_a_gpu_the_cpu_is_chosen() {
        let section = devices(&Seen::default());
        let text = |name| section.facts.iter().find(|fact| fact.name == name).unwrap().text.clone();
        assert_eq!([text("--device auto"), text("--dtype auto"), text("GPUs")], ["cpu", "f32", "none found"]);
        assert_eq!(text("built for"), "the CPU only");
    }
}
