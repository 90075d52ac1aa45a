//! The weights files of components, and which of them are read: one table for folders, for fetching from the hub, and for
//! `model info`.
//!
//! The order is that of diffusers 0.42.1 (`ModelMixin.from_pretrained`) for the UNet and the VAE, and of transformers 5.24
//! (`PreTrainedModel.from_pretrained`) for the text encoder. `tools/parity/which_file.py` records both, and `tests/program/files.rs`
//! compares this table with them. `docs/files.md` explains it.

use candle_core::DType;
use std::collections::BTreeMap;
use tr::tr;

/// A component that has weights.
#[derive(Debug, PartialEq, Eq)]
pub struct Component {
    /// Its folder: `text_encoder`, `unet` or `vae`.
    pub name: &'static str,
    /// The library that loads it.
    pub library: &'static str,
    /// The stem of its safetensors files.
    pub stem: &'static str,
    /// The stem of its pickle.
    pickle_stem: &'static str,
    /// The forms that its library reads, by falling precedence.
    forms: &'static [Form],
}

/// The form of weights in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One file.
    Whole,
    /// Several files and an index, with the name that diffusers and transformers use.
    Sharded,
    /// Several files and an index, with the name that diffusers 0.30 used for a variant.
    Sharded030,
    /// A PyTorch pickle. It is never read, but matters if the library would read it.
    Pickle,
}

/// Every component that has weights.
pub static COMPONENTS: [Component; 3] = [
    Component {
        name: "text_encoder",
        library: "transformers",
        stem: "model",
        pickle_stem: "pytorch_model",
        forms: &[Form::Whole, Form::Sharded, Form::Pickle],
    },
    Component {
        name: "unet",
        library: "diffusers",
        stem: "diffusion_pytorch_model",
        pickle_stem: "diffusion_pytorch_model",
        forms: &[Form::Sharded, Form::Sharded030, Form::Whole, Form::Pickle],
    },
    Component {
        name: "vae",
        library: "diffusers",
        stem: "diffusion_pytorch_model",
        pickle_stem: "diffusion_pytorch_model",
        forms: &[Form::Sharded, Form::Sharded030, Form::Whole, Form::Pickle],
    },
];

/// The supported variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `variant=None`.
    Plain,
    /// `variant="fp16"`.
    Fp16,
}

impl Variant {
    /// Its part of a file's name.
    fn infix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Fp16 => ".fp16",
        }
    }
}

/// The preferred weights of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// The plain files, usually `f32`.
    Full,
    /// The variant fp16, of half the size, if it exists.
    Half,
}

impl Precision {
    /// The preferred weights for a run in `dtype`.
    pub fn of(dtype: DType) -> Self {
        if dtype == DType::F16 { Self::Half } else { Self::Full }
    }

    /// The variants by preference. The second is read if a component lacks the first.
    pub fn variants(self) -> [Variant; 2] {
        match self {
            Self::Full => [Variant::Plain, Variant::Fp16],
            Self::Half => [Variant::Fp16, Variant::Plain],
        }
    }
}

/// A complete set of a component's weights, in one form and one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSet {
    component: &'static Component,
    variant: Variant,
    form: Form,
}

/// The prefix of a file's name, its endings, and a description.
type Leftover = (&'static str, &'static [&'static str], &'static str);

/// Other files that are not read. The first match is used.
const LEFTOVERS: [Leftover; 8] = [
    ("", &[".incomplete", ".part", ".crdownload", ".download", ".aria2", ".tmp"], "an unfinished download"),
    ("openvino", &[".xml", ".bin"], "for OpenVINO"),
    ("", &[".onnx", ".onnx_data", ".pb"], "for ONNX Runtime"),
    ("", &[".msgpack", ".msgpack.index.json"], "for Flax"),
    ("", &[".h5"], "for TensorFlow"),
    ("", &[".gguf"], "GGUF"),
    ("", &[".flashpack"], "FlashPack"),
    ("", &[".bin", ".ckpt", ".pt", ".pth", ".bin.index.json"], "a pickle"),
];

impl Component {
    /// The component that is called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        COMPONENTS.iter().find(|component| component.name == name)
    }

    /// The possible sets of `variant`, by the library's precedence.
    fn sets(&'static self, variant: Variant) -> impl Iterator<Item = WeightSet> {
        // Without a variant, both names of an index are the same.
        let is_one = move |form: &Form| variant != Variant::Plain || *form != Form::Sharded030;
        self.forms.iter().copied().filter(is_one).map(move |form| WeightSet {
            component: self,
            variant,
            form,
        })
    }

    /// The set of `variant` to read, among those whose file or index exists. `has` tells whether the component's folder has a file
    /// of that name.
    pub fn choose(&'static self, variant: Variant, has: impl Fn(&str) -> bool) -> Option<WeightSet> {
        self.sets(variant).filter(|set| !set.is_pickle()).find(|set| has(&set.head()))
    }

    /// The set that a run in `precision` reads: of the preferred variant, else of the other.
    pub fn choose_for(&'static self, precision: Precision, has: impl Fn(&str) -> bool) -> Option<WeightSet> {
        precision.variants().into_iter().find_map(|variant| self.choose(variant, &has))
    }

    /// The file that diffusers' pipeline reads: with `variant="fp16"` for [`Precision::Half`], and without a variant for
    /// [`Precision::Full`]. `None` if it raises an error.
    pub fn read_by_diffusers(&'static self, precision: Precision, names: &[String]) -> Option<String> {
        // diffusers' `_identify_model_variants`: a component is loaded as fp16 if the second part of a file's name says so.
        let has_fp16 =
            || names.iter().any(|name| name.split('.').nth(1).is_some_and(|part| part.starts_with("fp16")));
        let variant = match precision {
            Precision::Half if has_fp16() => Variant::Fp16,
            _ => Variant::Plain,
        };
        self.sets(variant).map(|set| set.head()).find(|head| names.contains(head))
    }

    /// Notes on the sets in the component's folder that a run in `precision` does not read, but that may be the intended ones.
    /// `names` are the files of the folder.
    pub fn notes(&'static self, precision: Precision, names: &[String]) -> Vec<String> {
        let Some(ours) = self.choose_for(precision, |name| names.iter().any(|found| found == name)) else {
            return vec![];
        };
        let mut notes = vec![];
        let others: Vec<_> = self
            .sets(ours.variant)
            .filter(|set| *set != ours && !set.is_pickle())
            .map(|set| set.head())
            .filter(|head| names.contains(head))
            .collect();
        let (name, library, head) = (self.name, self.library, ours.head());
        if !others.is_empty() {
            let sets = if others.len() == 1 { "two sets" } else { "three sets" };
            let others = others.join(" and ");
            notes.push(tr!(
                "{name}: {sets} of weights in one folder: {head} is read, as {library} does, and {others} is not; remove the \
                 outdated one",
                name, sets, head, library, others
            ));
        }
        if let Some(pickle) = self.read_by_diffusers(precision, names).filter(|file| file.ends_with(".bin")) {
            notes.push(tr!(
                "{name}: {head} is read; {library} would read {pickle}, a pickle, which is not supported here: if the two differ, \
                 so does the image",
                name, head, library, pickle
            ));
        }
        // Shards without an index, of a variant that would be preferred.
        let variants = precision.variants();
        let preferred = if ours.variant == variants[0] { &variants[..1] } else { &variants[..] };
        for &variant in preferred {
            let is_indexed = |set: WeightSet| set.is_sharded() && names.contains(&set.head());
            let set = WeightSet { component: self, variant, form: Form::Sharded };
            let shards: Vec<_> = names.iter().filter(|name| set.is_shard(name)).collect();
            if let [first, ..] = shards[..]
                && !self.sets(variant).any(is_indexed)
            {
                notes.push(tr!(
                    "{name}: {head} is read; {first} is a shard whose index, {}, is missing",
                    set.head(),
                    name,
                    head,
                    first
                ));
            }
        }
        for lora in names.iter().filter(|name| is_lora(name)) {
            notes.push(lora_note(&format!("{name}/{lora}")));
        }
        notes
    }

    /// A note on shards that the index of the chosen set does not list. `read` are the files that it lists.
    pub fn note_left_shards(
        &'static self,
        precision: Precision,
        names: &[String],
        read: &[String],
    ) -> Option<String> {
        let set = self.choose_for(precision, |name| read.iter().any(|found| found == name))?;
        let left: Vec<_> = names.iter().filter(|name| set.is_shard(name) && !read.contains(name)).collect();
        let [first, ..] = left[..] else { return None };
        let (name, head, n) = (self.name, set.head(), left.len());
        let files = if n == 1 { "file is" } else { "files are" };
        set.is_sharded().then(|| {
            tr!(
                "{name}: {n} {files} not read: {first}, which {head} does not list; remove files of an older save",
                name, n, files, first, head
            )
        })
    }

    /// What the component's folder contains instead of supported weights, as a part of an error.
    pub fn nothing_read(&'static self, names: &[String]) -> String {
        let is_other = |name: &String| Some(format!("{name}, {}", self.what_is(name, None)?));
        let others: Vec<_> = names.iter().filter_map(is_other).collect();
        match &others[..] {
            [] => tr!("no weights"),
            [only] => tr!("no supported weights: only {only}", only),
            [first, rest @ ..] => tr!("no supported weights: only {first}, and {} more", rest.len(), first),
        }
    }

    /// The weights files in the component's folder that a run does not read, each with a description. `read` are those that it
    /// reads.
    pub fn unread(&'static self, names: &[String], read: &[String]) -> Vec<String> {
        let chosen = self.choose_for(Precision::Full, |name| read.iter().any(|found| found == name));
        let others = names.iter().filter(|name| !read.contains(name));
        others.filter_map(|name| Some(format!("{name} ({})", self.what_is(name, chosen)?))).collect()
    }

    /// The description of a file that may hold weights; `None` for configurations, texts and the like. `chosen` is the set that is
    /// read.
    fn what_is(&'static self, name: &str, chosen: Option<WeightSet>) -> Option<String> {
        if is_lora(name) {
            return Some(tr!("a LoRA, which is not applied"));
        }
        let lower = name.to_lowercase();
        let is_it = |(start, endings, _): &&Leftover| {
            lower.starts_with(start) && endings.iter().any(|ending| lower.ends_with(ending))
        };
        if let Some((.., what)) = LEFTOVERS.iter().find(is_it) {
            return Some((*what).into());
        }
        let is_safetensors = lower.ends_with(".safetensors") || lower.contains(".safetensors.");
        is_safetensors.then(|| self.what_safetensors(name, chosen))
    }

    /// The description of a safetensors file or an index, by its name.
    fn what_safetensors(&'static self, name: &str, chosen: Option<WeightSet>) -> String {
        // fp16 first, as the plain variant has an empty infix.
        for variant in [Variant::Fp16, Variant::Plain] {
            let shard = WeightSet { component: self, variant, form: Form::Sharded };
            let is_shard = shard.is_shard(name);
            if is_shard || self.sets(variant).any(|set| set.head() == name) {
                return match (chosen, variant) {
                    (None, _) => tr!("a shard whose index is missing"),
                    (Some(chosen), variant) if chosen.variant == variant => {
                        tr!("another set of the same weights")
                    }
                    (_, Variant::Fp16) => tr!("variant fp16"),
                    (_, Variant::Plain) => tr!("without a variant"),
                };
            }
        }
        let after = name.strip_prefix(self.stem).and_then(|rest| rest.strip_prefix('.'));
        let variant = after.and_then(|rest| rest.split(['.', '-']).next());
        let variant = variant.filter(|variant| !["safetensors", "fp16"].contains(&&*variant.to_lowercase()));
        match variant {
            Some(variant) => format!("variant {variant}"),
            None if name.to_lowercase().starts_with(self.stem) => {
                tr!("not a name that {} reads", self.library)
            }
            None => tr!("not named {}", self.stem),
        }
    }
}

impl WeightSet {
    /// The file that identifies the set: the weights, or the index of several files.
    pub fn head(self) -> String {
        let (Component { stem, pickle_stem, .. }, infix) = (self.component, self.variant.infix());
        match self.form {
            Form::Whole => format!("{stem}{infix}.safetensors"),
            Form::Sharded => format!("{stem}.safetensors.index{infix}.json"),
            Form::Sharded030 => format!("{stem}.safetensors{infix}.index.json"),
            Form::Pickle => format!("{pickle_stem}{infix}.bin"),
        }
    }

    /// The path of [`head`](Self::head) in the checkpoint.
    pub fn path(self) -> String {
        format!("{}/{}", self.component.name, self.head())
    }

    /// Whether it consists of several files with an index.
    pub fn is_sharded(self) -> bool {
        matches!(self.form, Form::Sharded | Form::Sharded030)
    }

    fn is_pickle(self) -> bool {
        self.form == Form::Pickle
    }

    /// The shards of the set among `names`, by their names alone; `None` if one is missing. Shards of another complete split are
    /// included, as only the index tells which are used.
    pub fn shards<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Option<Vec<&'a str>> {
        let mut splits: BTreeMap<usize, BTreeMap<usize, &str>> = BTreeMap::new();
        for name in names {
            if let Some((number, count)) = self.numbers(name) {
                splits.entry(count).or_default().insert(number, name);
            }
        }
        splits.retain(|count, shards| shards.keys().copied().eq(1..=*count));
        let all: Vec<_> = splits.into_values().flat_map(BTreeMap::into_values).collect();
        (!all.is_empty()).then_some(all)
    }

    fn is_shard(self, name: &str) -> bool {
        self.numbers(name).is_some()
    }

    /// The numbers in a shard's name: `…-00001-of-00003.safetensors` is (1, 3). A variant precedes them, or follows them in files of
    /// diffusers 0.29 and 0.30, with either index.
    fn numbers(self, name: &str) -> Option<(usize, usize)> {
        let (rest, infix) = (name.strip_prefix(self.component.stem)?, self.variant.infix());
        let rest = rest.strip_suffix(".safetensors")?;
        let numbers = rest
            .strip_prefix(infix)
            .and_then(|rest| rest.strip_prefix('-'))
            .or_else(|| rest.strip_suffix(infix)?.strip_prefix('-'))?;
        let (number, count) = numbers.split_once("-of-")?;
        Some((number.parse().ok()?, count.parse().ok()?))
    }
}

/// Whether a file's name is that of a LoRA.
pub fn is_lora(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("lora") && [".safetensors", ".bin", ".pt"].iter().any(|ending| name.ends_with(ending))
}

/// The note on a LoRA's file in a checkpoint.
pub fn lora_note(path: &str) -> String {
    tr!(
        "{path}: a LoRA, which is not applied; diffusers does not apply it either, without `load_lora_weights`",
        path
    )
}
