//! Which files hold a component's weights, and which of them are read: one table, shared by folders, the choice of what to
//! fetch from the hub, and `model info`.
//!
//! The order is that of diffusers 0.42.1 (`ModelMixin.from_pretrained`) for the UNet and the VAE, and that of transformers 5.24
//! (`PreTrainedModel.from_pretrained`) for the text encoder. `tools/parity/which_file.py` asks both, and
//! `tests/program/files.rs` holds this table to their answers. `docs/files.md` explains it.

use candle_core::DType;
use std::collections::BTreeMap;

/// A component that has weights.
#[derive(Debug, PartialEq, Eq)]
pub struct Component {
    /// Its folder: `text_encoder`, `unet` or `vae`.
    pub name: &'static str,
    /// The library that loads it.
    pub library: &'static str,
    /// What the names of its safetensors files begin with.
    pub stem: &'static str,
    /// What the name of its pickle begins with.
    pickle_stem: &'static str,
    /// The forms that its library reads, in the order in which it looks for them.
    forms: &'static [Form],
}

/// How weights lie in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One file.
    Whole,
    /// Several files and an index, named as diffusers and transformers name it.
    Sharded,
    /// Several files and an index, named as diffusers 0.30 named it where there is a variant.
    Sharded030,
    /// A PyTorch pickle. It is not read here; it matters where the library would read it.
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

/// The variants that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `variant=None`.
    Plain,
    /// `variant="fp16"`.
    Fp16,
}

impl Variant {
    /// What it adds to a file's name.
    fn infix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Fp16 => ".fp16",
        }
    }
}

/// Which weights a run is best served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// The plain files, `f32` as a rule.
    Full,
    /// Those of variant fp16, of half the size, where there are such.
    Half,
}

impl Precision {
    /// Which suit a run in `dtype`.
    pub fn of(dtype: DType) -> Self {
        if dtype == DType::F16 { Self::Half } else { Self::Full }
    }

    /// The variants, the better first. The second is read where a component has nothing of the first.
    pub fn variants(self) -> [Variant; 2] {
        match self {
            Self::Full => [Variant::Plain, Variant::Fp16],
            Self::Half => [Variant::Fp16, Variant::Plain],
        }
    }
}

/// One set of a component's weights: all of them, in one form and one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSet {
    component: &'static Component,
    variant: Variant,
    form: Form,
}

/// How a file's name begins and ends, and what such a file is.
type Leftover = (&'static str, &'static [&'static str], &'static str);

/// Files beside the weights that are not read. The first that fits is it.
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

    /// The sets that its folder can hold of `variant`, in the order in which its library looks for them.
    fn sets(&'static self, variant: Variant) -> impl Iterator<Item = WeightSet> {
        // Without a variant the two names of an index are the same.
        let is_one = move |form: &Form| variant != Variant::Plain || *form != Form::Sharded030;
        self.forms.iter().copied().filter(is_one).map(move |form| WeightSet {
            component: self,
            variant,
            form,
        })
    }

    /// The set of `variant` that is read, of those whose file or index is there. `has` says whether the component's folder has
    /// a file of that name.
    pub fn choose(&'static self, variant: Variant, has: impl Fn(&str) -> bool) -> Option<WeightSet> {
        self.sets(variant).filter(|set| !set.is_pickle()).find(|set| has(&set.head()))
    }

    /// The set that a run in `precision` reads: of the variant that suits, else of the other.
    pub fn choose_for(&'static self, precision: Precision, has: impl Fn(&str) -> bool) -> Option<WeightSet> {
        precision.variants().into_iter().find_map(|variant| self.choose(variant, &has))
    }

    /// The file that diffusers' pipeline reads: with `variant="fp16"` for [`Precision::Half`], and without a variant for
    /// [`Precision::Full`]. `None` where it raises an error.
    pub fn theirs(&'static self, precision: Precision, names: &[String]) -> Option<String> {
        // diffusers' `_identify_model_variants`: a component is loaded as fp16 when one of its files has that as second part.
        let has_fp16 =
            || names.iter().any(|name| name.split('.').nth(1).is_some_and(|part| part.starts_with("fp16")));
        let variant = match precision {
            Precision::Half if has_fp16() => Variant::Fp16,
            _ => Variant::Plain,
        };
        self.sets(variant).map(|set| set.head()).find(|head| names.contains(head))
    }

    /// What a user should know of the weights in the component's folder, whose files are `names`: a line for every set that a
    /// run in `precision` passes over and that could be the one that was meant.
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
            notes.push(format!(
                "{name}: {sets} of weights in one folder: {head} is read, as {library} does, and {others} is not; remove the one \
                 that is out of date"
            ));
        }
        if let Some(pickle) = self.theirs(precision, names).filter(|theirs| theirs.ends_with(".bin")) {
            notes.push(format!(
                "{name}: {head} is read; {library} would read {pickle}, a pickle, which is not read here: where the two differ, so \
                 does the picture"
            ));
        }
        // Shards whose index is gone, of a variant that would be read first.
        let variants = precision.variants();
        let looked_for = if ours.variant == variants[0] { &variants[..1] } else { &variants[..] };
        for &variant in looked_for {
            let is_indexed = |set: WeightSet| set.is_sharded() && names.contains(&set.head());
            let set = WeightSet { component: self, variant, form: Form::Sharded };
            let shards: Vec<_> = names.iter().filter(|name| set.is_shard(name)).collect();
            if let [first, ..] = shards[..]
                && !self.sets(variant).any(is_indexed)
            {
                notes.push(format!(
                    "{name}: {head} is read; {first} belongs to several files whose index, {}, is not there",
                    set.head()
                ));
            }
        }
        for lora in names.iter().filter(|name| is_lora(name)) {
            notes.push(lora_note(&format!("{name}/{lora}")));
        }
        notes
    }

    /// A line for shards beside those that the index of the set that is read names, which are `read`.
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
            format!("{name}: {n} {files} not read: {first}, which {head} does not name; remove what an older save left")
        })
    }

    /// What stands in the component's folder in the place of weights that are read: a part of an error.
    pub fn nothing_read(&'static self, names: &[String]) -> String {
        let is_other = |name: &String| Some(format!("{name}, {}", self.what_is(name, None)?));
        let others: Vec<_> = names.iter().filter_map(is_other).collect();
        match &others[..] {
            [] => "no weights".into(),
            [only] => format!("no weights that are read: only {only}"),
            [first, rest @ ..] => format!("no weights that are read: only {first}, and {} more", rest.len()),
        }
    }

    /// The files in the component's folder that hold weights and that a run does not read, each with what it is. `read` are
    /// those that it does.
    pub fn unread(&'static self, names: &[String], read: &[String]) -> Vec<String> {
        let chosen = self.choose_for(Precision::Full, |name| read.iter().any(|found| found == name));
        let others = names.iter().filter(|name| !read.contains(name));
        others.filter_map(|name| Some(format!("{name} ({})", self.what_is(name, chosen)?))).collect()
    }

    /// What a file is that could be meant as weights; `None` for configurations, texts and the like. `chosen` is the set that is
    /// read.
    fn what_is(&'static self, name: &str, chosen: Option<WeightSet>) -> Option<String> {
        if is_lora(name) {
            return Some("a LoRA, which is not applied".into());
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

    /// What a safetensors file or an index is, by its name.
    fn what_safetensors(&'static self, name: &str, chosen: Option<WeightSet>) -> String {
        // The infix of fp16 first: without it a shard's name has none.
        for variant in [Variant::Fp16, Variant::Plain] {
            let shard = WeightSet { component: self, variant, form: Form::Sharded };
            let is_shard = shard.is_shard(name);
            if is_shard || self.sets(variant).any(|set| set.head() == name) {
                return match (chosen, variant) {
                    (None, _) => "a part of several files whose index is not there".into(),
                    (Some(chosen), variant) if chosen.variant == variant => {
                        "another set of the same weights".into()
                    }
                    (_, Variant::Fp16) => "variant fp16".into(),
                    (_, Variant::Plain) => "without a variant".into(),
                };
            }
        }
        let after = name.strip_prefix(self.stem).and_then(|rest| rest.strip_prefix('.'));
        let variant = after.and_then(|rest| rest.split(['.', '-']).next());
        let variant = variant.filter(|variant| !["safetensors", "fp16"].contains(&&*variant.to_lowercase()));
        match variant {
            Some(variant) => format!("variant {variant}"),
            None if name.to_lowercase().starts_with(self.stem) => {
                format!("not named as {} reads it", self.library)
            }
            None => format!("not called {}", self.stem),
        }
    }
}

impl WeightSet {
    /// The file by which the set is found: the weights, or the index of several files.
    pub fn head(self) -> String {
        let (Component { stem, pickle_stem, .. }, infix) = (self.component, self.variant.infix());
        match self.form {
            Form::Whole => format!("{stem}{infix}.safetensors"),
            Form::Sharded => format!("{stem}.safetensors.index{infix}.json"),
            Form::Sharded030 => format!("{stem}.safetensors{infix}.index.json"),
            Form::Pickle => format!("{pickle_stem}{infix}.bin"),
        }
    }

    /// [`head`](Self::head), by its path in the checkpoint.
    pub fn path(self) -> String {
        format!("{}/{}", self.component.name, self.head())
    }

    /// Whether it is several files with an index.
    pub fn is_sharded(self) -> bool {
        matches!(self.form, Form::Sharded | Form::Sharded030)
    }

    fn is_pickle(self) -> bool {
        self.form == Form::Pickle
    }

    /// The shards of the set that are among `names`, as far as their names say; `None` where one is missing. Which of them
    /// count is in the index; shards of another split that were left beside them come along.
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

    /// The numbers in a shard's name: `…-00001-of-00003.safetensors` is (1, 3). A variant stands before them, or after them in
    /// the files of diffusers 0.29 and 0.30, under either index.
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

/// Whether a file is a LoRA's, by its name.
pub fn is_lora(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("lora") && [".safetensors", ".bin", ".pt"].iter().any(|ending| name.ends_with(ending))
}

/// What is said of a LoRA's file in a checkpoint.
pub fn lora_note(path: &str) -> String {
    format!("{path}: a LoRA, which is not applied; nor does diffusers apply it before `load_lora_weights`")
}
