//! Which of a model's files a run needs: configurations, the tokenizer, and one variant of each component's weights, in one file or in
//! shards. Ours, because hf-hub fetches files by name and knows no pipelines.

use super::{HubError, HubName};
use crate::checkpoint::layout::COMPONENTS;
use crate::checkpoint::layout::Component;
use crate::checkpoint::layout::Precision;
use crate::checkpoint::layout::Variant;
use tr::tr;

/// Files that are read where they are there.
const SMALL_FILES: [&str; 12] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
    "latent_rgb_factors.json",
];

/// Those of them without which there is no model.
const NEEDED: [&str; 5] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
];

/// What a choice is made of: the paths of all files.
pub(super) struct Paths<'a>(pub Vec<&'a str>);

impl<'a> Paths<'a> {
    fn has(&self, path: &str) -> bool {
        self.0.contains(&path)
    }

    fn find(&self, wanted: &str) -> Option<&'a str> {
        self.0.iter().copied().find(|path| *path == wanted)
    }

    /// The paths that a run needs, small files first.
    ///
    /// # Errors
    /// When what there is makes no model that runs here.
    pub fn choose(&self, name: &HubName, precision: Precision) -> Result<Vec<&'a str>, HubError> {
        if let Some(file) = NEEDED.into_iter().find(|file| !self.has(file)) {
            let (name, revision) = (name.repository.clone(), name.revision().into());
            return Err(HubError::NotDiffusers { name, file: file.into(), revision });
        }
        let mut wanted: Vec<&str> =
            self.0.iter().copied().filter(|path| SMALL_FILES.contains(path)).collect();
        wanted.sort_by_key(|path| SMALL_FILES.iter().position(|small| small == path));
        for component in &COMPONENTS {
            wanted.extend(self.weights(name, component, precision)?);
        }
        Ok(wanted)
    }

    /// The weights of a component: the variant that suits, else the other.
    fn weights(
        &self,
        name: &HubName,
        component: &'static Component,
        precision: Precision,
    ) -> Result<Vec<&'a str>, HubError> {
        let variants = precision.variants();
        if let Some(files) = variants.into_iter().find_map(|variant| self.variant(component, variant)) {
            return Ok(files);
        }
        let (name, revision) = (name.repository.clone(), name.revision().to_string());
        let Component { name: folder, stem, .. } = component;
        let names = self.names_in(folder);
        if let Some(index) = component.choose_for(precision, |file| names.contains(&file)) {
            let expected =
                tr!("{folder}/{stem}-00001-of-N.safetensors to N, or one {stem}.safetensors", folder, stem);
            return Err(HubError::ShardMissing { name, component: folder, file: index.path(), expected });
        }
        let is_pickle = |file: &&&str| [".bin", ".ckpt", ".pt", ".pth"].iter().any(|end| file.ends_with(end));
        if let Some(file) = names.iter().find(is_pickle) {
            return Err(HubError::PicklesOnly { name, component: folder, file: format!("{folder}/{file}") });
        }
        Err(HubError::NotDiffusers { name, file: format!("{folder}/{stem}.safetensors"), revision })
    }

    /// The files of a variant of a component's weights, where all of them are there: one, or an index and its shards.
    fn variant(&self, component: &'static Component, variant: Variant) -> Option<Vec<&'a str>> {
        let names = self.names_in(component.name);
        let set = component.choose(variant, |file| names.contains(&file))?;
        let head = self.find(&set.path())?;
        if !set.is_sharded() {
            return Some(vec![head]);
        }
        let shards = set.shards(names)?.into_iter();
        let shards = shards.filter_map(|shard| self.find(&format!("{}/{shard}", component.name)));
        Some([head].into_iter().chain(shards).collect())
    }

    /// The names of the files in a folder.
    fn names_in(&self, folder: &str) -> Vec<&'a str> {
        let within = |path: &&'a str| path.strip_prefix(folder)?.strip_prefix('/');
        self.0.iter().filter_map(within).filter(|name| !name.contains('/')).collect()
    }

    /// The files that a run in `precision` needs and that are not here, as far as that can be known without the hub. Weights of half
    /// the precision do not suffice for a run in full precision: the hub may have better ones.
    pub fn missing(&self, precision: Precision) -> Vec<String> {
        let tokenizer = ["tokenizer/vocab.json", "tokenizer/merges.txt"].into_iter();
        let tokenizer = tokenizer.filter(|_| !self.has("tokenizer/tokenizer.json"));
        let small = NEEDED.into_iter().chain(tokenizer).filter(|file| !self.has(file)).map(String::from);
        let variants = match precision {
            Precision::Full => &[Variant::Plain][..],
            Precision::Half => &[Variant::Plain, Variant::Fp16],
        };
        let is_missing = |component: &&'static Component| {
            variants.iter().all(|variant| self.variant(component, *variant).is_none())
        };
        small
            .chain(COMPONENTS.iter().filter(is_missing).map(|it| self.missing_weights(it, precision)))
            .collect()
    }

    /// The weights of a component of which not all are here: one file, or the shards of an index that is here.
    fn missing_weights(&self, component: &'static Component, precision: Precision) -> String {
        let Component { name, stem, .. } = component;
        let names = self.names_in(name);
        match component.choose_for(precision, |file| names.contains(&file)) {
            Some(index) => tr!("{name}/{stem}-*.safetensors, a shard of {}", index.path(), name, stem),
            None => format!("{name}/{stem}.safetensors"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Precision::{Full, Half};

    /// What `stable-diffusion-v1-5/stable-diffusion-v1-5` has.
    const SD15: &[&str] = &[
        ".gitattributes",
        "README.md",
        "feature_extractor/preprocessor_config.json",
        "model_index.json",
        "safety_checker/config.json",
        "safety_checker/model.fp16.safetensors",
        "safety_checker/model.safetensors",
        "safety_checker/pytorch_model.bin",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "v1-5-pruned-emaonly.ckpt",
        "v1-5-pruned-emaonly.safetensors",
        "v1-5-pruned.safetensors",
        "v1-inference.yaml",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ];

    fn choose(paths: &[&'static str], precision: Precision) -> Result<Vec<&'static str>, String> {
        let name = HubName { repository: "a/b".into(), revision: None };
        Paths(paths.to_vec()).choose(&name, precision).map_err(|e| e.to_string())
    }

    fn without(left_out: &str) -> Vec<&'static str> {
        SD15.iter().copied().filter(|path| !path.contains(left_out)).collect()
    }

    #[test]
    fn what_is_read_and_nothing_else() {
        let small = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "unet/config.json",
            "vae/config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "tokenizer/tokenizer_config.json",
            "tokenizer/special_tokens_map.json",
        ];
        let weights = |variant| {
            [
                ("text_encoder", "model"),
                ("unet", "diffusion_pytorch_model"),
                ("vae", "diffusion_pytorch_model"),
            ]
            .map(|(component, stem)| format!("{component}/{stem}{variant}.safetensors"))
        };
        for (precision, variant) in [(Full, ""), (Half, ".fp16")] {
            let expected: Vec<_> =
                small.iter().map(|path| path.to_string()).chain(weights(variant)).collect();
            assert_eq!(choose(SD15, precision).unwrap(), expected);
        }
    }

    #[test]
    fn per_component_the_variant_that_there_is() {
        let chosen = choose(&without("unet/diffusion_pytorch_model.fp16"), Half).unwrap();
        assert!(chosen.contains(&"unet/diffusion_pytorch_model.safetensors"));
        assert!(chosen.contains(&"vae/diffusion_pytorch_model.fp16.safetensors"));
        let chosen = choose(&without("vae/diffusion_pytorch_model.safetensors"), Full).unwrap();
        assert!(chosen.contains(&"vae/diffusion_pytorch_model.fp16.safetensors"));
    }

    #[test]
    fn what_makes_no_model() {
        let error = choose(&without("safetensors"), Full).unwrap_err();
        assert!(error.contains("only as a pickle (text_encoder/pytorch_model.bin)"), "{error}");
        let error = choose(&without("model_index.json"), Full).unwrap_err();
        assert!(error.contains("no model_index.json"), "{error}");
        let error = choose(&without("vae/diffusion"), Full).unwrap_err();
        assert!(error.contains("no vae/diffusion_pytorch_model.safetensors"), "{error}");
    }

    /// What `save_pretrained(max_shard_size=…)` makes of a UNet, with and without `variant="fp16"`.
    const SHARDS: [&str; 8] = [
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model-00001-of-00003.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00003.safetensors",
        "unet/diffusion_pytorch_model-00003-of-00003.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.non_ema-00001-of-00001.safetensors",
    ];

    fn of_unet(paths: &[&'static str], precision: Precision) -> Vec<&'static str> {
        let chosen = choose(paths, precision).unwrap();
        chosen.into_iter().filter(|path| path.starts_with("unet/d")).collect()
    }

    #[test]
    fn weights_in_several_files() {
        let paths = [without("unet/diffusion_pytorch_model"), SHARDS.to_vec()].concat();
        assert_eq!(of_unet(&paths, Full), SHARDS[..4]);
        assert_eq!(of_unet(&paths, Half), SHARDS[4..7]);
        assert!(
            Paths(paths.clone()).missing(Full).is_empty() && Paths(paths.clone()).missing(Half).is_empty()
        );
        // Of one variant that is not whole the other is taken; and several files before one that an older save left.
        let broken =
            |left_out| paths.iter().copied().filter(move |path| *path != left_out).collect::<Vec<_>>();
        assert_eq!(of_unet(&broken(SHARDS[2]), Full), SHARDS[4..7]);
        assert!(!Paths(broken(SHARDS[2])).missing(Full).is_empty());
        assert_eq!(of_unet(&broken(SHARDS[4]), Half), SHARDS[..4]);
        assert_eq!(of_unet(&[SD15, &SHARDS].concat(), Full), SHARDS[..4]);
        let in_text_encoder: Vec<_> =
            SHARDS.map(|path| path.replace("unet/diffusion_pytorch_model", "text_encoder/model")).into();
        let both: Vec<&str> =
            SD15.iter().copied().chain(in_text_encoder.iter().map(String::as_str)).collect();
        let name = HubName { repository: "a/b".into(), revision: None };
        let chosen = Paths(both).choose(&name, Full).unwrap();
        let of_text_encoder = chosen.into_iter().filter(|path| path.starts_with("text_encoder/m"));
        assert_eq!(of_text_encoder.collect::<Vec<_>>(), ["text_encoder/model.safetensors"]);
        let once = [
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
        ];
        let paths = [without("unet/diffusion_pytorch_model"), once.to_vec()].concat();
        assert_eq!(of_unet(&paths, Half), once);
        // As diffusers 0.30 named the index too.
        let once = [
            "unet/diffusion_pytorch_model.safetensors.fp16.index.json",
            "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
        ];
        let paths = [without("unet/diffusion_pytorch_model"), once.to_vec()].concat();
        assert_eq!(of_unet(&paths, Half), once);
        assert_eq!(of_unet(&paths, Full), once);
        assert!(Paths(paths).missing(Half).is_empty());

        let paths = [without("unet/diffusion_pytorch_model"), SHARDS[..3].to_vec()].concat();
        let error = choose(&paths, Full).unwrap_err();
        assert!(
            error
                .contains("several files (unet/diffusion_pytorch_model.safetensors.index.json), and not all"),
            "{error}"
        );
    }

    #[test]
    fn whether_a_cache_has_it_all() {
        let suits = |paths: Vec<&str>, precision| Paths(paths).missing(precision).is_empty();
        assert!(suits(SD15.to_vec(), Full));
        assert!(suits(without("fp16"), Half));
        assert!(suits(without("unet/diffusion_pytorch_model.safetensors"), Half));
        assert!(!suits(without("unet/diffusion_pytorch_model.safetensors"), Full));
        assert!(!suits(without("merges.txt"), Full));
        assert!(!suits(without("scheduler/"), Full));
        let missing = |left_out| Paths(without(left_out)).missing(Half);
        assert_eq!(missing("scheduler/"), ["scheduler/scheduler_config.json"]);
        assert_eq!(missing("vae/diffusion"), ["vae/diffusion_pytorch_model.safetensors"]);
        let shards = [without("unet/diffusion_pytorch_model"), SHARDS[..3].to_vec()].concat();
        assert_eq!(
            Paths(shards).missing(Full),
            [
                "unet/diffusion_pytorch_model-*.safetensors, a shard of unet/diffusion_pytorch_model.safetensors.index.json"
            ]
        );
    }
}
