//! `diffuscope compare`: variants of a run side by side, as a contact sheet.

use super::args::GenerateArgs;
use super::say;
use crate::debugger::Session;
use crate::debugger::comparison::{Comparison, Figures, Plan, figures};
use crate::debugger::session::Host;
use crate::debugger::timelines::Branch;
use crate::nn::{Error, Path, Probe, Unwatched};
use crate::picture::sheet::{Row, Sheet};
use crate::picture::{decoded, png};
use crate::pipeline::{self, Stage, StageRecord, dump, stages};
use crate::tensor::PlainTensor;
use anyhow::{Context, anyhow, bail, ensure};
use candle_core::Tensor;
use clap::Args;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  diffuscope compare guidance_scale 1,3,7.5,15 -o scales.png
  diffuscope compare guidance_scale 1,3,7.5,15 by seed 1-3 -o sheet.png
  diffuscope compare prompt \"a cat\" \"a dog\" --steps 30 -o pets.png
  diffuscope compare word apple: pear orange -o fruit.png
  diffuscope compare num_inference_steps 5,10,20,50 --json > figures.json
  diffuscope compare guidance_scale 1,7.5 --every 5 -o steps.png --gif steps.gif";

/// Pictures in a row of a sheet of one axis.
const ACROSS: usize = 8;
/// How long a frame of an animation is shown, and the last one, in milliseconds.
const FRAME: [u32; 2] = [150, 1500];
/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Flags of `diffuscope compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// What varies, with its values: a setting, or `word WORD: OTHER …`; `by` and a second one
    #[arg(value_name = "NAME VALUES", required = true, allow_negative_numbers = true)]
    axes: Vec<String>,

    #[command(flatten)]
    generate: GenerateArgs,

    /// Write the contact sheet here
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,

    /// On the sheet a row for every N-th step: what the step takes for the picture
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,

    /// Write an animation of the steps here
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,

    /// Print the figures of every step
    #[arg(long)]
    json: bool,

    /// Rows that go through the UNet at once [default: by device and size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch_rows: Option<u32>,
}

/// Runs the subcommand.
///
/// # Errors
/// In a line that names the culprit. Whether the files can be written is found out before the run.
pub fn run(args: CompareArgs) -> anyhow::Result<ExitCode> {
    for (file, ending) in [(&args.output, "png"), (&args.gif, "gif")] {
        if let Some(file) = file {
            let fits = file.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
            ensure!(fits, "{}: expected a file that ends in .{ending}", file.display());
            dump::check_writable(file)?;
        }
    }
    let plan = Plan::of_words(&args.axes).map_err(|e| anyhow!("compare: {e}"))?;
    let mut session = args.generate.session(Box::new(|_, _| ()))?;
    session.models().notes.iter().for_each(|note| say("warning", note));
    session.begin_comparison(&plan, args.batch_rows.map(|rows| rows as usize))?;

    let mut host = Interruptible::new()?;
    let stopped = advance(&mut session, &mut host)?;
    let comparison = session.comparison().context("nothing is compared")?;
    let pictures = Pictures { session: &session, comparison };
    let every = args.every.map(|every| every as usize);
    let sheet = pictures.sheet(&plan, every, stopped)?;
    if let Some(file) = &args.output {
        dump::write_beside(file, &png::encode(&sheet, None)?)?;
    }
    if let Some(file) = &args.gif {
        let bytes = pictures.animation(&plan, every.unwrap_or(1))?;
        dump::write_beside(file, &bytes)?;
    }
    let rows = comparison.rows();
    if args.json {
        println!("{}", pictures.json(&plan)?);
    } else {
        let apart = rows.apart;
        eprintln!("{} rows of the UNet computed; {apart} in runs apart", rows.computed);
    }
    if io::stdout().is_terminal() && !args.json {
        let shown = image::DynamicImage::ImageRgb8(sheet);
        viuer::print(&shown, &viuer::Config { absolute_offset: false, ..Default::default() })?;
    } else if args.output.is_none() && args.gif.is_none() && !args.json {
        say("warning", "the sheet was not kept: `-o FILE.png` writes it");
    }
    Ok(if stopped.is_some() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Runs all variants to their ends, or to where Ctrl-C stops them: after how many ticks that was.
fn advance(session: &mut Session, host: &mut Interruptible) -> anyhow::Result<Option<usize>> {
    let ticks = session.comparison().map_or(0, Comparison::ticks);
    let bar = progress_bar(ticks as u64);
    while session.timeline().position().is_some() {
        bar.set_message(session.position_name());
        let outcome = session.run_line("next", host)?;
        for warning in outcome.iter().flat_map(|outcome| &outcome.warnings) {
            bar.suspend(|| say("warning", warning));
        }
        if host.is_stopped() {
            bar.finish_and_clear();
            let tick = session.comparison().map_or(0, Comparison::tick);
            say(
                "warning",
                &format!("interrupted before {}: the sheet has what is there", session.position_name()),
            );
            return Ok(Some(tick));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(None)
}

/// A bar on stderr with the time that is left, hidden where that is no terminal.
fn progress_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg:14} {wide_bar} {pos}/{len} {elapsed}<{eta}");
    // The template is ours; a wrong one leaves the default style.
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Ends a run when Ctrl-C is pressed; pressed again, the program.
struct Interruptible {
    stop: Arc<AtomicBool>,
}

impl Interruptible {
    fn new() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        {
            use signal_hook::consts::SIGINT;
            // In this order: the first press finds the flag down, and raises it.
            signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&stop))?;
            signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
        }
        Ok(Self { stop })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Probe for Interruptible {
    fn wants(&self, _: &Path) -> bool {
        self.is_stopped()
    }

    fn enter(&mut self, path: &Path, _: &[&Tensor]) -> crate::nn::Result<()> {
        Err(Error::Interrupted(path.clone()))
    }
}

impl Host for Interruptible {}

/// What the variants are seen as.
struct Pictures<'a> {
    session: &'a Session,
    comparison: &'a Comparison,
}

impl Pictures<'_> {
    fn branches(&self) -> impl Iterator<Item = &Branch> {
        let of = |id| self.session.timelines().get(id);
        self.comparison.members.iter().filter_map(move |member| of(member.branch))
    }

    /// The record of each variant after so many ticks, where it has one with a picture.
    fn records(&self, tick: usize) -> Vec<Option<Arc<StageRecord>>> {
        let all = crate::debugger::comparison::reference(&self.comparison.members);
        let done = self.comparison.members.iter().map(|member| member.done(tick, all));
        let record = |(branch, done): (&Branch, usize)| {
            let records = branch.timeline.records();
            records.get(..done.min(records.len()))?.last().cloned()
        };
        self.branches().zip(done).map(record).collect()
    }

    /// What a stage takes for the picture: that of `vae_decode`, or `pred_original_sample` decoded.
    fn picture(&self, record: &StageRecord) -> anyhow::Result<Option<RgbImage>> {
        let image = match (record.tensor("image"), record.tensor("pred_original_sample"), record.stage) {
            (Some(image), ..) => image.clone(),
            (_, Some(latents), _) => self.decode(latents)?,
            (_, _, Stage::GetLatent) => match record.tensor("latents") {
                Some(latents) => self.decode(latents)?,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(decoded::picture(&PlainTensor::of(&image)?).map(|picture| (*picture.image).clone()))
    }

    /// Those of an interrupted run as well: that is what the first Ctrl-C asks for, and the second ends the program.
    fn decode(&self, latents: &Tensor) -> Result<Tensor, pipeline::Error> {
        stages::vae_decode(self.session.models(), latents, &mut Unwatched)
    }

    fn pictures(&self, tick: usize) -> anyhow::Result<Vec<Option<RgbImage>>> {
        let mut pictures = vec![];
        for record in self.records(tick) {
            pictures.push(match record {
                Some(record) => self.picture(&record)?,
                None => None,
            });
        }
        Ok(pictures)
    }

    /// The ticks that a sheet or an animation shows: after every `every`-th step, and the end.
    fn shown(&self, every: usize) -> Vec<usize> {
        let last = self.comparison.tick();
        let steps =
            (2 + every..).step_by(every).take_while(|tick| *tick < last.min(self.comparison.ticks() - 1));
        steps.chain([last]).collect()
    }

    fn sheet(&self, plan: &Plan, every: Option<usize>, stopped: Option<usize>) -> anyhow::Result<RgbImage> {
        let captions = self.captions(plan);
        let mut sheet = Sheet { title: self.title(plan, stopped), legend: legend(plan), ..Sheet::default() };
        let axis = |place: usize| plan.axes.get(place).map_or("", |axis| axis.name()).to_string();
        if let Some(every) = every {
            (sheet.across, sheet.down) = (plan.to_string(), "step".into());
            for tick in self.shown(every) {
                let tiles = captions.iter().cloned().zip(self.pictures(tick)?).collect();
                sheet.rows.push(Row { heading: self.step_name(tick), tiles });
            }
            return Ok(sheet.draw());
        }
        let pictures = self.pictures(self.comparison.tick())?;
        (sheet.across, sheet.down) = (axis(0), axis(1));
        let columns = plan.axes[0].values.len();
        match plan.axes.get(1) {
            Some(second) => {
                let headings = numbered(second);
                for (heading, tiles) in headings.into_iter().zip(pictures.chunks(columns)) {
                    let across = numbered(&plan.axes[0]);
                    let tiles = across.into_iter().zip(tiles.iter().cloned()).collect();
                    sheet.rows.push(Row { heading, tiles });
                }
            }
            None => {
                let tiles: Vec<_> = captions.into_iter().zip(pictures).collect();
                let rows = tiles.chunks(ACROSS);
                sheet.rows =
                    rows.map(|tiles| Row { heading: String::new(), tiles: tiles.to_vec() }).collect();
            }
        }
        Ok(sheet.draw())
    }

    /// One caption a variant: its value, or of a text its number in the legend.
    fn captions(&self, plan: &Plan) -> Vec<String> {
        let numbers: Vec<Vec<String>> = plan.axes.iter().map(numbered).collect();
        let caption = |values: &Vec<String>| {
            let of = |(place, value): (usize, &String)| {
                let known = plan.axes[place].values.iter().position(|known| known == value);
                known.map_or_else(|| value.clone(), |index| numbers[place][index].clone())
            };
            values.iter().enumerate().map(of).collect::<Vec<_>>().join(" · ")
        };
        self.comparison.members.iter().map(|member| caption(&member.values)).collect()
    }

    /// What all variants have in common.
    fn title(&self, plan: &Plan, stopped: Option<usize>) -> Vec<String> {
        // Of a prompt in which a word is swapped, the first variant is the prompt as it is.
        let varied = |name: &str| plan.axes.iter().any(|axis| axis.name() == name);
        let Some(request) = self.branches().next().map(|b| b.timeline.here().request().clone()) else {
            return vec![];
        };
        let mut title = vec![];
        if !varied("prompt") {
            title.push(request.prompt.clone());
        }
        if !varied("negative_prompt") && !request.negative_prompt.is_empty() {
            title.push(format!("not: {}", request.negative_prompt));
        }
        let settings = [
            ("num_inference_steps", request.num_inference_steps.to_string()),
            ("guidance_scale", request.guidance_scale.to_string()),
            ("seed", request.seed.to_string()),
            ("eta", request.eta.to_string()),
        ];
        let common =
            settings.into_iter().filter(|(name, value)| !varied(name) && (*name != "eta" || value != "0"));
        title.push(common.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("  "));
        if let Some(tick) = stopped {
            title.push(format!("interrupted: {}", self.step_name(tick)));
        }
        title
    }

    fn step_name(&self, tick: usize) -> String {
        let steps = self.comparison.ticks() - 3;
        match Stage::at(tick.saturating_sub(1), steps) {
            Some(Stage::Denoise { step }) => format!("after denoise {step}"),
            Some(stage) if tick > 0 => format!("after {stage}"),
            _ => "at the start".into(),
        }
    }

    fn animation(&self, plan: &Plan, every: usize) -> anyhow::Result<Vec<u8>> {
        let ticks = self.shown(every);
        let captions = self.captions(plan);
        let bar = progress_bar(ticks.len() as u64);
        bar.set_message("animation");
        let mut bytes = vec![];
        {
            let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
            encoder.set_repeat(Repeat::Infinite)?;
            for (index, tick) in ticks.iter().enumerate() {
                let tiles: Vec<_> = captions.iter().cloned().zip(self.pictures(*tick)?).collect();
                let rows = tiles.chunks(plan.axes[0].values.len().min(ACROSS));
                let rows = rows.map(|tiles| Row { heading: String::new(), tiles: tiles.to_vec() });
                let sheet = Sheet {
                    title: vec![format!("{plan}: {}", self.step_name(*tick))],
                    rows: rows.collect(),
                    legend: legend(plan),
                    ..Sheet::default()
                };
                let frame = image::DynamicImage::ImageRgb8(sheet.draw()).into_rgba8();
                let time = FRAME[usize::from(index + 1 == ticks.len())];
                let delay = Delay::from_numer_denom_ms(time, 1);
                encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay))?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        if bytes.is_empty() {
            bail!("the animation has no frames");
        }
        Ok(bytes)
    }

    /// The figures of every step of every variant, with those of the base to tell them from.
    fn json(&self, plan: &Plan) -> anyhow::Result<String> {
        let all = crate::debugger::comparison::reference(&self.comparison.members);
        let base: Vec<_> = self.branches().nth(self.comparison.base).map_or(vec![], |b| b.timeline.records());
        let base_member = self.comparison.members.get(self.comparison.base).context("no base")?;
        let mut variants = vec![];
        for (member, branch) in self.comparison.members.iter().zip(self.branches()) {
            let mut steps = vec![];
            for (done, record) in branch.timeline.records().iter().enumerate() {
                if record.tensor("latents").or_else(|| record.tensor("image")).is_none() {
                    continue;
                }
                // What the base had done when this one had done so much.
                let tick = (0..=self.comparison.ticks()).find(|tick| member.done(*tick, all) == done + 1);
                let beside = tick.and_then(|tick| base.get(base_member.done(tick, all).checked_sub(1)?));
                let difference = beside.map(|base| figures::difference(record, base)).transpose()?.flatten();
                let mut step = serde_json::to_value(Figures::of_record(record)?)?;
                step["stage"] = record.stage.key().into();
                step["timestep"] = record.coefficients.map(|c| c.timestep).into();
                step["difference"] = difference.into();
                steps.push(step);
            }
            variants.push(json!({
                "timeline": branch.name,
                "values": member.values,
                "request": branch.timeline.tip().request(),
                "steps": steps,
            }));
        }
        let rows = self.comparison.rows();
        Ok(serde_json::to_string_pretty(&json!({
            "axes": plan.axes.iter().map(|axis| axis.name()).collect::<Vec<_>>(),
            "variants": variants,
            "rows": { "computed": rows.computed, "apart": rows.apart, "at_once": self.comparison.rows_at_once() },
        }))?)
    }
}

/// What stands above the values of an axis: themselves, or of texts their numbers.
fn numbered(axis: &crate::debugger::comparison::Axis) -> Vec<String> {
    let value = |(index, value): (usize, &String)| {
        if axis.is_text() { format!("{}", index + 1) } else { value.clone() }
    };
    axis.values.iter().enumerate().map(value).collect()
}

/// Every number with the text that it stands for.
fn legend(plan: &Plan) -> Vec<String> {
    let texts = plan.axes.iter().filter(|axis| axis.is_text());
    let lines = texts.flat_map(|axis| {
        let named = |(index, value): (usize, &String)| {
            let value = if value.is_empty() { "(empty)" } else { value };
            format!("{} {}  {value}", axis.name(), index + 1)
        };
        axis.values.iter().enumerate().map(named).collect::<Vec<_>>()
    });
    lines.collect()
}
