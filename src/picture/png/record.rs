//! The chunk `diffuscope`: the settings of a run as JSON, which reads back exactly.

use super::chunks::{ChunkError, TextChunks};
use super::found::{NamedModel, Reading};
use crate::pipeline::init_image::{InitImageError, InitImageRecord};
use crate::pipeline::{Request, Setting};
use crate::scheduler::schedule_type::ScheduleType;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tr::tr;

/// The chunk's keyword.
pub const KEYWORD: &str = "diffuscope";

/// The record of a run in an image file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The version of the program that wrote it.
    pub diffuscope: String,
    /// The model's name, without its path.
    pub model: String,
    /// What the image shows, if not the run's final image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// The settings, without the start image.
    request: Request,
    /// The start image, identified by name, size and digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_image: Option<InitImageRecord>,
    /// The edits of the run, in order.
    #[serde(default)]
    pub edits: Vec<String>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not a PNG file, or its chunk cannot be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The chunk is invalid.
    #[error("{}", tr!(
        "the text chunk `diffuscope`: {0}; expected a record written by this program",
        .0
    ))]
    Json(serde_json::Error),
}

impl RunRecord {
    /// The record of a run with these settings and edits. `picture` says what the image shows if it is not the run's final image.
    pub fn new(request: &Request, edits: &[Arc<str>], model: &str, picture: Option<&str>) -> Self {
        Self {
            diffuscope: env!("CARGO_PKG_VERSION").into(),
            model: model.into(),
            picture: picture.map(Into::into),
            request: Request { init_image: None, ..request.clone() },
            init_image: request.init_image.as_ref().map(InitImageRecord::from),
            edits: edits.iter().map(|edit| edit.to_string()).collect(),
        }
    }

    /// The record in a PNG file; `None` if it has none.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        TextChunks::read(bytes)?.get(KEYWORD)?.map(|text| Self::parse(&text)).transpose()
    }

    /// The record of a chunk's text.
    ///
    /// # Errors
    /// When the text is no record.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(RecordError::Json)
    }

    /// What the record holds, as settings found in a picture.
    pub(super) fn found(self, reading: &mut Reading<'_>) {
        let Self { request, model, edits, picture, init_image, .. } = self;
        let spacing = Setting::find("scheduler.timestep_spacing");
        let has_spacing = request.scheduler.config().value("timestep_spacing").is_some();
        let grid = ScheduleType::of(request.scheduler.config());
        let grid = grid.and_then(|grid| Setting::find(&format!("scheduler.{}", grid.argument)));
        reading.loras = request.loras.clone();
        if reading.is_given("prompt") {
            // Their scales go with the prompt that names them.
            let of_prompt = request.loras_of_prompt();
            reading.loras.retain(|lora| of_prompt.iter().all(|named| named.name != lora.name));
        }
        reading.values = request;
        reading.model = Some(NamedModel { name: model, hash: String::new() });
        let arguments = spacing.filter(|_| has_spacing).into_iter().chain(grid);
        let settings: Vec<Setting> = Setting::all().chain(arguments).collect();
        for setting in settings.into_iter().filter(|setting| setting.name() != "init_image") {
            if !reading.is_given(setting.name()) {
                reading.mark(setting);
            }
        }
        if let (Some(record), false) = (init_image, reading.is_given("init_image")) {
            match record.open() {
                Ok(image) => {
                    reading.values.init_image = Some(image);
                    Setting::find("init_image").into_iter().for_each(|setting| reading.mark(setting));
                }
                Err(e) => reading.leave("init_image", &tr!("{e}; --init-image FILE sets it", e)),
            }
        }
        if !edits.is_empty() {
            reading.leave(&tr!("edits: {}", edits.join("; ")), &tr!("`set` in the debugger makes them"));
        }
        if let Some(picture) = picture {
            let what = tr!("the picture shows {picture}", picture);
            reading.leave(&what, &tr!("the settings are those of its run"));
        }
    }

    /// The settings. The start image is read again: a sample, or the file of that name in the working directory.
    ///
    /// # Errors
    /// When the start image does not exist or differs.
    pub fn request(&self) -> Result<Request, InitImageError> {
        let init_image = self.init_image.as_ref().map(InitImageRecord::open).transpose()?;
        Ok(Request { init_image, ..self.request.clone() })
    }

    /// The settings, without the start image.
    pub(super) fn settings(&self) -> &Request {
        &self.request
    }

    /// The name of the start image.
    pub(super) fn init_image(&self) -> Option<&str> {
        self.init_image.as_ref().map(|image| image.name.as_str())
    }

    pub(super) fn to_json(&self) -> String {
        // Numbers and strings always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::prompt_syntax;
    use crate::picture::png::encode;
    use crate::picture::png::found::Found;
    use crate::pipeline::loras::LoraScale;
    use crate::pipeline::{Fault, InitImage, Seed};
    use crate::scheduler::SchedulerChoice;
    use image::RgbImage;
    use proptest::prelude::*;

    fn through_a_png(record: &RunRecord) -> RunRecord {
        let bytes = encode(&RgbImage::new(1, 1), &[(KEYWORD, record.to_json())]).unwrap();
        RunRecord::read(&bytes).unwrap().unwrap()
    }

    /// Any settings, even those that no model can run.
    fn requests() -> impl Strategy<Value = Request> {
        let faults = proptest::option::of(proptest::sample::select(vec![
            Fault::NoScalingFactor,
            Fault::EpsilonForV,
            Fault::parse("nan_in latents").unwrap(),
        ]));
        let finite = any::<f64>().prop_filter("a run's numbers are finite", |number| number.is_finite());
        let pictures = proptest::option::of(proptest::sample::select(InitImage::samples().to_vec()));
        let texts = (any::<String>(), any::<String>(), Seed::MIN..=Seed::MAX);
        let schedulers = proptest::sample::select(vec!["ddim", "dpm++2m-karras", "pndm", "unipc"]);
        let loras = proptest::collection::vec((any::<String>(), finite.clone()), 0..3);
        let faults = (faults, schedulers, loras);
        (texts, any::<[u32; 4]>(), [finite.clone(), finite.clone(), finite], faults, pictures).prop_map(
            |(
                (prompt, negative_prompt, seed),
                [height, width, steps, clip_skip],
                [guidance_scale, eta, strength],
                (fault, scheduler, loras),
                sample,
            )| {
                Request {
                    loras: loras.iter().map(|(name, scale)| LoraScale::recorded(name, *scale)).collect(),
                    prompt,
                    negative_prompt,
                    prompt_syntax: prompt_syntax::ALL[clip_skip as usize % 4].0,
                    clip_skip: clip_skip as usize,
                    height: height as usize,
                    width: width as usize,
                    num_inference_steps: steps as usize,
                    guidance_scale,
                    seed: seed.try_into().unwrap(),
                    eta,
                    init_image: sample.map(|name| InitImage::open(&format!("sample:{name}")).unwrap()),
                    strength,
                    fault,
                    scheduler: SchedulerChoice::default().named(scheduler).unwrap(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn any_request_reads_back(
            request in requests(),
            model in any::<String>(),
            edits in proptest::collection::vec(any::<String>(), 0..3),
        ) {
            let edits: Vec<Arc<str>> = edits.into_iter().map(Into::into).collect();
            let record = RunRecord::new(&request, &edits, &model, None);
            let read = through_a_png(&record);
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(read.request().unwrap(), request.clone());
            // As `--from` takes it.
            let bytes = encode(&RgbImage::new(1, 1), &[(KEYWORD, record.to_json())]).unwrap();
            let mut taken = Request { num_inference_steps: 3, seed: 5.into(), ..Request::default() };
            let found = Found::read(&bytes, &|_| false).unwrap();
            found.apply(true, &mut taken).unwrap();
            taken.loras = found.loras;
            prop_assert_eq!(taken, request);
        }
    }

    #[test]
    fn odd_texts_and_numbers_read_back() {
        let text =
            "NUL \0, \u{1}, \u{7f}, \u{ffff}, \u{10ffff}, \"quotes\", \\, \r\n, é, りんご 🍎, \u{202e}";
        let request = Request {
            prompt: text.into(),
            negative_prompt: "\0".into(),
            guidance_scale: 7.123_456_789_012_346,
            eta: -0.0,
            strength: f64::MIN_POSITIVE,
            seed: "-9223372036854775808".parse().unwrap(),
            ..Request::default()
        };
        let read = through_a_png(&RunRecord::new(&request, &[], text, Some(text)));
        assert_eq!((read.model.as_str(), read.picture.as_deref()), (text, Some(text)));
        let read = read.request().unwrap();
        assert_eq!(read, request);
        assert!(read.eta.is_sign_negative());
    }

    #[test]
    fn a_changed_or_missing_start_image_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("start.png");
        RgbImage::from_pixel(16, 8, image::Rgb([1, 2, 3])).save(&file).unwrap();
        let image = InitImage::open(file.to_str().unwrap()).unwrap();
        let request = Request { init_image: Some(image), ..Request::default() };
        let record = through_a_png(&RunRecord::new(&request, &[], "pocket", None));
        assert_eq!(record.init_image(), Some("start.png"));
        assert!(!record.to_json().contains(folder.path().to_str().unwrap()));
        // The working directory has no file of that name.
        let error = record.request().unwrap_err().to_string();
        assert!(error.starts_with("start.png: No such file"), "{error}");
        let mut other = record;
        other.init_image.as_mut().unwrap().name = "sample:cat".into();
        let error = other.request().unwrap_err().to_string();
        assert!(
            error.contains("sample:cat: a different image (128×128)") && error.contains("16×8"),
            "{error}"
        );
    }

    #[test]
    fn invalid_records_are_refused() {
        let read =
            |texts: &[(&'static str, String)]| RunRecord::read(&encode(&RgbImage::new(1, 1), texts).unwrap());
        assert_eq!(read(&[]).unwrap(), None);
        assert!(read(&[(KEYWORD, "{}".into())]).unwrap_err().to_string().contains("missing field"));
        assert!(RunRecord::read(b"no picture").is_err());
    }
}
