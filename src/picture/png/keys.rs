//! The keys of the chunk `parameters` and what they are here: one table, by which the chunk is written and read.
//!
//! A setting whose entry in [`crate::pipeline::settings`] names a key needs no row, unless its value is another one there. The keys and
//! their meaning: <https://github.com/AUTOMATIC1111/stable-diffusion-webui>, `modules/processing.py` and `modules/infotext_utils.py`,
//! version 1.10.

use super::found::{FoundError, NamedModel, Reading, Source};
use super::record::RunRecord;
use crate::pipeline::Setting;
use crate::scheduler::ShortName;
use crate::scheduler::schedule_type::{AUTOMATIC, Sampler, ScheduleType};
use std::collections::HashMap;
use tr::tr;

/// A key of the chunk.
struct Key {
    name: &'static str,
    write: Write,
    read: Read,
}

/// How a key's value is written.
enum Write {
    /// As the setting whose entry names the key is typed.
    Setting,
    /// By a function; `None` where the run has no such value.
    By(fn(&RunRecord) -> Option<String>),
    /// Not at all.
    Never,
}

/// How a key's value is read.
enum Read {
    /// As the setting whose entry names the key is typed.
    Setting,
    /// By a function, which gets all pairs and the value.
    By(fn(&mut Reading<'_>, Pairs<'_>, &str) -> Result<(), FoundError>),
    /// With another key, or not at all, as it changes no picture.
    Silently,
}

/// All pairs of a chunk.
type Pairs<'p> = &'p [(String, String)];

/// Written for seed −1, which there means a random seed. torch takes both for the same seed.
const MINUS_ONE: &str = "18446744073709551615";

/// The keys in the web interface's order.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    Key { name: "Steps",              write: Write::Setting,           read: Read::Setting },
    Key { name: "Sampler",            write: Write::By(sampler),       read: Read::By(read_sampler) },
    Key { name: "Schedule type",      write: Write::By(schedule_type), read: Read::Silently },
    Key { name: "CFG scale",          write: Write::Setting,           read: Read::Setting },
    Key { name: "Seed",               write: Write::By(seed),          read: Read::By(read_seed) },
    Key { name: "Size",               write: Write::By(size),          read: Read::By(read_size) },
    Key { name: "Model hash",         write: Write::Never,             read: Read::By(read_model) },
    Key { name: "Model",              write: Write::By(model),         read: Read::By(read_model) },
    Key { name: "VAE hash",           write: Write::Never,             read: Read::Silently },
    Key { name: "VAE",                write: Write::Never,             read: Read::By(read_vae) },
    Key { name: "Eta DDIM",           write: Write::Setting,           read: Read::Setting },
    Key { name: "Eta",                write: Write::Never,             read: Read::By(read_eta) },
    Key { name: "Denoising strength", write: Write::By(strength),      read: Read::By(read_strength) },
    Key { name: "Clip skip",          write: Write::By(clip_skip),     read: Read::By(read_clip_skip) },
    Key { name: "Init image",         write: Write::By(init_image),    read: Read::By(read_init_image) },
    Key { name: "Init image hash",    write: Write::Never,             read: Read::Silently },
    Key { name: "RNG",                write: Write::Never,             read: Read::Silently },
    Key { name: "Lora hashes",        write: Write::Never,             read: Read::By(read_loras) },
    Key { name: "TI hashes",          write: Write::Never,             read: Read::By(read_embeddings) },
    Key { name: "Hashes",             write: Write::Never,             read: Read::Silently },
    Key { name: "Batch size",         write: Write::Never,             read: Read::Silently },
    Key { name: "Batch pos",          write: Write::Never,             read: Read::Silently },
    Key { name: "User",               write: Write::Never,             read: Read::Silently },
    // What other programs do not know comes last; a setting without a row comes before it.
    Key { name: EDITS,                write: Write::By(edits),         read: Read::By(read_edits) },
    Key { name: "Picture",            write: Write::By(picture),       read: Read::By(read_picture) },
    Key { name: "Version",            write: Write::By(version),       read: Read::Silently },
];

const EDITS: &str = "Edits";
/// How the keys of the second pass over a larger picture begin.
const HIRES: &str = "Hires";

/// The setting whose entry names a key.
fn setting_of(key: &str) -> Option<Setting> {
    Setting::all().find(|setting| setting.entry().parameter == key)
}

/// The settings of a run, as pairs.
pub(super) fn written(record: &RunRecord) -> Vec<(&'static str, String)> {
    let request = record.settings();
    let row = |name: &str| KEYS.iter().position(|key| key.name == name);
    let mut pairs = vec![];
    for setting in Setting::of(request) {
        let key = setting.entry().parameter;
        let is_plain = match row(key).map(|row| &KEYS[row].write) {
            None => !key.is_empty(),
            Some(write) => matches!(write, Write::Setting),
        };
        if is_plain && setting.is_in_short_texts(request) {
            pairs.push((key, setting.get(request).to_string()));
        }
    }
    for key in KEYS {
        if let Write::By(write) = key.write {
            pairs.extend(write(record).map(|value| (key.name, value)));
        }
    }
    let last = row(EDITS).unwrap_or(KEYS.len());
    pairs.sort_by_key(|(key, _)| row(key).unwrap_or(last));
    pairs
}

/// Takes the settings of all pairs.
pub(super) fn read(reading: &mut Reading<'_>, pairs: Pairs<'_>) -> Result<(), FoundError> {
    let last: HashMap<&str, usize> =
        pairs.iter().enumerate().map(|(i, (key, _))| (key.as_str(), i)).collect();
    let mut hires = vec![];
    for (i, (key, value)) in pairs.iter().enumerate() {
        // Of two pairs with one key, the last counts.
        if last.get(key.as_str()) != Some(&i) {
            continue;
        }
        match (KEYS.iter().find(|known| known.name == key), setting_of(key)) {
            (Some(Key { read: Read::By(read), .. }), _) => read(reading, pairs, value)?,
            (Some(Key { read: Read::Silently, .. }), _) => {}
            (_, Some(setting)) => reading.take(setting.name(), key, value)?,
            _ if key.starts_with(HIRES) => hires.push(pair(key, value)),
            _ => reading.leave(&pair(key, value), &tr!("there is no such setting here")),
        }
    }
    if !hires.is_empty() {
        let strength = get(pairs, "Denoising strength").map(|value| pair("Denoising strength", value));
        hires.splice(0..0, strength);
        reading
            .leave(&hires.join(", "), &tr!("there is no second pass here, so that the picture is smaller"));
    }
    if reading.source == Source::A1111 {
        read_noise(reading, pairs);
        loras_of_prompt(reading);
    }
    Ok(())
}

/// A pair as it stands in the chunk.
fn pair(key: &str, value: &str) -> String {
    format!("{key}: {value}")
}

fn get<'p>(pairs: Pairs<'p>, key: &str) -> Option<&'p str> {
    pairs.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// A1111's name of the sampler; diffusers' name of the class where A1111 has none.
fn sampler(record: &RunRecord) -> Option<String> {
    let config = record.settings().scheduler.config();
    Some(ShortName::of(config).map_or(config.class.name(), |short| short.sampler).into())
}

fn schedule_type(record: &RunRecord) -> Option<String> {
    ScheduleType::of(record.settings().scheduler.config()).map(|entry| entry.a1111.into())
}

/// The sampler and its schedule type.
fn read_sampler(reading: &mut Reading<'_>, pairs: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    let schedule_name = get(pairs, "Schedule type").filter(|name| !name.eq_ignore_ascii_case(AUTOMATIC));
    let named = schedule_name.and_then(ScheduleType::of_a1111);
    if let (Some(name), None) = (schedule_name, named) {
        reading.no_sampler(&pair("Schedule type", name));
    }
    let Some(found) = Sampler::of_a1111(value) else {
        // This program writes diffusers' name of a class that has no short name.
        if reading.source == Source::OwnParameters {
            reading.take("scheduler", "Sampler", value)?;
            if let Some(schedule) = named {
                reading.take(&format!("scheduler.{}", schedule.argument), "Schedule type", schedule.value)?;
            }
        } else {
            reading.no_sampler(&pair("Sampler", value));
        }
        return Ok(());
    };
    let is_foreign = reading.source == Source::A1111;
    let automatic = || ScheduleType::of_a1111(found.short.automatic);
    let own = found.schedule.or_else(|| automatic().filter(|_| is_foreign && schedule_name.is_none()));
    reading.sampler(&found, ["Sampler", "Schedule type"], named.or(own))?;
    if is_foreign && found.short.is_stochastic_solver() {
        reading.noise_of_steps(found.short);
    }
    Ok(())
}

fn seed(record: &RunRecord) -> Option<String> {
    let seed = record.settings().seed.to_string();
    Some(if seed == "-1" { MINUS_ONE.into() } else { seed })
}

fn read_seed(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    if reading.source == Source::A1111 && value == "-1" {
        if !reading.is_given("seed") {
            reading.leave("Seed: -1", &tr!("it means a random seed there; --seed sets it"));
        }
        return Ok(());
    }
    reading.take("seed", "Seed", value)
}

fn size(record: &RunRecord) -> Option<String> {
    Some(format!("{}x{}", record.settings().width, record.settings().height))
}

fn read_size(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    let (width, height) = value.split_once('x').unwrap_or((value, ""));
    reading.size("Size", [width, height])
}

fn model(record: &RunRecord) -> Option<String> {
    Some(record.model.clone())
}

fn read_model(reading: &mut Reading<'_>, pairs: Pairs<'_>, _: &str) -> Result<(), FoundError> {
    let text = |key| get(pairs, key).unwrap_or_default().to_string();
    reading.model = Some(NamedModel { name: text("Model"), hash: text("Model hash") });
    Ok(())
}

fn read_vae(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    reading.leave(&pair("VAE", value), &tr!("its file is not in the picture; --vae FILE reads it"));
    Ok(())
}

/// `Eta` is of ancestral samplers; DDIM's was called so in old versions.
fn read_eta(reading: &mut Reading<'_>, pairs: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    match get(pairs, "Sampler") {
        Some("DDIM") => reading.take("eta", "Eta", value)?,
        _ => reading.leave(&pair("Eta", value), &tr!("the schedulers with new noise have eta 1 here")),
    }
    Ok(())
}

fn strength(record: &RunRecord) -> Option<String> {
    record.init_image().map(|_| record.settings().strength.to_string())
}

/// The strength of image to image; the second pass has one too.
fn read_strength(reading: &mut Reading<'_>, pairs: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    let is_of_hires = pairs.iter().any(|(key, _)| key.starts_with(HIRES));
    if is_of_hires || reading.is_given("strength") {
        return Ok(());
    }
    let sample = get(pairs, "Init image").is_some_and(|name| name.starts_with("sample:"));
    if reading.is_given("init_image") || sample {
        return reading.take("strength", "Denoising strength", value);
    }
    let why = tr!("the picture that it started from is another file; --init-image FILE reads it");
    reading.leave(&pair("Denoising strength", value), &why);
    Ok(())
}

fn clip_skip(record: &RunRecord) -> Option<String> {
    // The web interface counts the layer from the end: its 1 is the last.
    let layers = record.settings().clip_skip;
    (layers > 0).then(|| layers.saturating_add(1).to_string())
}

fn read_clip_skip(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    // 0 means the last layer as well.
    let layers = value.parse::<usize>().map(|layer| layer.saturating_sub(1).to_string());
    reading.take("clip_skip", "Clip skip", layers.as_deref().unwrap_or(value))?;
    Ok(())
}

fn init_image(record: &RunRecord) -> Option<String> {
    record.init_image().map(String::from)
}

/// The name of a start image. A sample is in the program; for a file, the name is not enough to know that it is the same one.
fn read_init_image(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    if value.starts_with("sample:") {
        return reading.take("init_image", "Init image", value);
    }
    if !reading.is_given("init_image") {
        let why = tr!("the name may be that of another picture; --init-image FILE reads it");
        reading.leave(&pair("Init image", value), &why);
    }
    Ok(())
}

/// LoRAs with the hashes of their files, `NAME: HASH, …`. Those of the prompt are noted with their weights.
fn read_loras(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    let prompt = reading.values.prompt.clone();
    let in_prompt: Vec<_> = loras(&prompt).map(|(name, _)| name).collect();
    for name in value.split(',').filter_map(|pair| pair.split(':').next()).map(str::trim) {
        let is_noted = reading.source == Source::A1111 && in_prompt.contains(&name);
        if !name.is_empty() && !is_noted {
            reading.leave(&format!("LoRA {name}"), &tr!("the picture has the hash of its file and no scale"));
        }
    }
    Ok(())
}

/// `<lora:NAME:WEIGHT>` in a prompt.
fn loras(prompt: &str) -> impl Iterator<Item = (&str, &str)> {
    prompt.split("<lora:").skip(1).filter_map(|rest| {
        let inner = rest.split_once('>')?.0;
        Some(inner.split_once(':').unwrap_or((inner, "1")))
    })
}

fn loras_of_prompt(reading: &mut Reading<'_>) {
    if !reading.has("prompt") {
        return;
    }
    let prompt = reading.values.prompt.clone();
    loras(&prompt).for_each(|(name, weight)| reading.lora(name, weight));
}

fn read_embeddings(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    for name in value.split(',').filter_map(|pair| pair.split(':').next()).map(str::trim) {
        if !name.is_empty() {
            let why = tr!("its file is not in the picture; --embedding FILE reads it");
            reading.leave(&tr!("textual inversion {name}", name), &why);
        }
    }
    Ok(())
}

/// Where the noise of the seed was drawn: on the GPU, unless `RNG` says otherwise.
fn read_noise(reading: &mut Reading<'_>, pairs: Pairs<'_>) {
    let source = get(pairs, "RNG").unwrap_or("GPU");
    if source == "CPU" || !reading.has("seed") {
        return;
    }
    let why = match source {
        "GPU" => tr!("drawn on the GPU there (without `RNG: CPU`), so the same seed gives another picture"),
        _ => tr!("drawn as a GPU draws it (`RNG: {source}`), so the same seed gives another picture", source),
    };
    reading.leave(&tr!("the noise"), &why);
}

fn edits(record: &RunRecord) -> Option<String> {
    (!record.edits.is_empty()).then(|| record.edits.join("; "))
}

fn read_edits(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    reading.leave(&pair(EDITS, value), &tr!("`set` in the debugger makes them"));
    Ok(())
}

fn picture(record: &RunRecord) -> Option<String> {
    record.picture.clone()
}

fn read_picture(reading: &mut Reading<'_>, _: Pairs<'_>, value: &str) -> Result<(), FoundError> {
    let what = tr!("the picture shows {value}", value);
    reading.leave(&what, &tr!("the settings are those of its run"));
    Ok(())
}

fn version(record: &RunRecord) -> Option<String> {
    Some(format!("diffuscope {}", record.diffuscope))
}
