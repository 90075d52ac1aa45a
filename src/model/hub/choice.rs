//! Which of a model's files are wanted: what is read here, and of the weights one file a component.

use super::{HubError, HubName};

/// Files that are read where they are there.
const SMALL_FILES: [&str; 11] = [
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

/// Components with weights, and how their files are called.
const WEIGHTS: [(&str, &str); 3] =
    [("text_encoder", "model"), ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")];

/// Which weights a run is best served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// The plain files, `f32` as a rule.
    Full,
    /// Those of variant fp16, of half the size, where there are such.
    Half,
}

/// What a choice is made of: the paths of all files.
pub(super) struct Paths<'a>(pub Vec<&'a str>);

impl<'a> Paths<'a> {
    fn has(&self, path: &str) -> bool {
        self.0.contains(&path)
    }

    /// The paths that are wanted, small ones first.
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
        for (component, stem) in WEIGHTS {
            wanted.push(self.weights(name, component, stem, precision)?);
        }
        Ok(wanted)
    }

    /// The weights of a component: the variant that suits, else the other.
    fn weights(
        &self,
        name: &HubName,
        component: &'static str,
        stem: &str,
        precision: Precision,
    ) -> Result<&'a str, HubError> {
        let plain = format!("{component}/{stem}.safetensors");
        let half = format!("{component}/{stem}.fp16.safetensors");
        let in_order = match precision {
            Precision::Full => [&plain, &half],
            Precision::Half => [&half, &plain],
        };
        let find = |wanted: &str| self.0.iter().copied().find(|path| *path == wanted);
        if let Some(path) = in_order.into_iter().find_map(|wanted| find(wanted)) {
            return Ok(path);
        }
        let other = |ends: &[&str]| {
            let starts = format!("{component}/");
            let is = |path: &&&str| path.starts_with(&starts) && ends.iter().any(|end| path.ends_with(end));
            self.0.iter().find(is).map(|path| path.to_string())
        };
        let (name, revision) = (name.repository.clone(), name.revision().to_string());
        if let Some(file) = other(&[".safetensors.index.json"]) {
            return Err(HubError::Sharded { name, component, file, expected: plain });
        }
        if let Some(file) = other(&[".bin", ".ckpt", ".pt", ".pth"]) {
            return Err(HubError::PicklesOnly { name, component, file });
        }
        Err(HubError::NotDiffusers { name, file: plain, revision })
    }

    /// Whether every file is there that a run in `precision` would have, as far as can be told without the hub: a run in full
    /// precision on files of half of it is not what the hub may have better.
    pub fn suit(&self, precision: Precision) -> bool {
        let has_tokenizer = self.has("tokenizer/tokenizer.json")
            || self.has("tokenizer/vocab.json") && self.has("tokenizer/merges.txt");
        let has_weights = |(component, stem): &(&str, &str)| {
            self.has(&format!("{component}/{stem}.safetensors"))
                || precision == Precision::Half && self.has(&format!("{component}/{stem}.fp16.safetensors"))
        };
        NEEDED.iter().all(|file| self.has(file)) && has_tokenizer && WEIGHTS.iter().all(has_weights)
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
        let mut paths = without("unet/diffusion_pytorch_model");
        paths.push("unet/diffusion_pytorch_model.safetensors.index.json");
        let error = choose(&paths, Full).unwrap_err();
        assert!(error.contains("in several files (unet/diffusion"), "{error}");
        let error = choose(&without("vae/diffusion"), Full).unwrap_err();
        assert!(error.contains("no vae/diffusion_pytorch_model.safetensors"), "{error}");
    }

    #[test]
    fn whether_a_cache_has_it_all() {
        let suits = |paths: Vec<&str>, precision| Paths(paths).suit(precision);
        assert!(suits(SD15.to_vec(), Full));
        assert!(suits(without("fp16"), Half));
        assert!(suits(without("unet/diffusion_pytorch_model.safetensors"), Half));
        assert!(!suits(without("unet/diffusion_pytorch_model.safetensors"), Full));
        assert!(!suits(without("merges.txt"), Full));
        assert!(!suits(without("scheduler/"), Full));
    }
}
