//! The classes of modules, in one table: where modules of a class are, their code, their inputs, and their counterparts elsewhere.
//!
//! The tree of modules, stepping, the source view and the table in docs/modules.md follow from it. A module is found by its path,
//! which is all that a probe is given.

mod table;

pub use table::CLASSES;

use crate::nn::attention::ATTENTION_PROBS;

/// The names of the `count` inputs of the module at `path`, as the parameters of `forward` in diffusers and transformers, in the
/// order in which the probe is given them.
pub fn inputs(path: &str, count: usize) -> Vec<&'static str> {
    const LAYER: &[&str] = &["input"];
    const MORE: [&str; 4] = ["input", "input_1", "input_2", "input_3"];
    let known = match Forward::of(path) {
        _ if path.ends_with(ATTENTION_PROBS) => &["query", "key"][..],
        Some(forward) => forward.inputs,
        None => LAYER,
    };
    known.iter().chain(MORE.iter().skip(known.len())).copied().take(count).collect()
}

/// A class of modules.
#[derive(Debug)]
pub struct Class {
    /// Its name in diffusers, transformers or torch.
    pub name: &'static str,
    /// Its name there if it has attentions, where that is another.
    pub with_attentions: Option<&'static str>,
    /// The paths of its modules: `*` is one name, `**` any number of names.
    pub paths: &'static [&'static str],
    /// The number of dimensions of its own weight, where the path alone does not tell.
    pub rank: Option<usize>,
    /// Its forward pass; `None` for a layer without parts, and for the VAE, which never runs as a whole.
    pub forward: Option<Forward>,
}

/// The forward pass of a class.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    /// The file of its type here.
    pub file: File,
    /// Its type here.
    pub owner: &'static str,
    /// The names of its inputs, in the order in which the probe is given them.
    pub inputs: &'static [&'static str],
    /// The counterparts in diffusers or transformers.
    pub reference: &'static str,
    /// The counterpart in parediffusers, where it has one.
    pub parediffusers: Option<&'static str>,
    /// The file of the counterparts, in the package.
    pub source: &'static str,
    /// What was published about it.
    pub paper: &'static str,
}

/// A file with the code of modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The text encoder.
    Clip,
    /// The UNet as a whole.
    UNet,
    /// Its levels.
    Blocks,
    /// Its transformers.
    Transformer,
    /// Its time embedding.
    Embeddings,
    /// Attention.
    Attention,
    /// Residual blocks.
    Resnet,
    /// The VAE.
    Vae,
}

impl File {
    /// Its path in the program, and its text.
    pub fn content(self) -> (&'static str, &'static str) {
        match self {
            Self::Clip => ("src/model/clip.rs", include_str!("clip.rs")),
            Self::UNet => ("src/model/unet/mod.rs", include_str!("unet/mod.rs")),
            Self::Blocks => ("src/model/unet/blocks.rs", include_str!("unet/blocks.rs")),
            Self::Transformer => ("src/model/unet/transformer.rs", include_str!("unet/transformer.rs")),
            Self::Embeddings => ("src/model/unet/embeddings.rs", include_str!("unet/embeddings.rs")),
            Self::Attention => ("src/model/attention.rs", include_str!("attention.rs")),
            Self::Resnet => ("src/model/resnet.rs", include_str!("resnet.rs")),
            Self::Vae => ("src/model/vae/mod.rs", include_str!("vae/mod.rs")),
        }
    }
}

impl Class {
    /// The class of the module at `path`, whose own weight has `rank` dimensions.
    pub fn of(path: &str, rank: Option<usize>) -> Option<&'static Self> {
        CLASSES.iter().find(|class| (class.rank.is_none() || class.rank == rank) && class.is_at(path))
    }

    /// Its name in diffusers, transformers or torch, for a module that has attentions, or none.
    pub fn name(&self, has_attentions: bool) -> &'static str {
        self.with_attentions.filter(|_| has_attentions).unwrap_or(self.name)
    }

    fn is_at(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| matches(pattern.split('.'), path.split('.')))
    }
}

impl Forward {
    /// The forward pass of the module at `path`; `None` for a layer without parts.
    pub fn of(path: &str) -> Option<&'static Self> {
        // A module that has parts has no weight of its own.
        Class::of(path, None)?.forward.as_ref()
    }

    /// The forward pass of a type here.
    pub fn of_type(owner: &str) -> Option<&'static Self> {
        CLASSES.iter().filter_map(|class| class.forward.as_ref()).find(|forward| forward.owner == owner)
    }
}

/// Whether the names of a path are those of a pattern.
fn matches<'a>(
    mut pattern: impl Iterator<Item = &'a str> + Clone,
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> bool {
    let Some(first) = pattern.next() else { return names.next().is_none() };
    if first != "**" {
        return names.next().is_some_and(|name| first == "*" || first == name) && matches(pattern, names);
    }
    loop {
        if matches(pattern.clone(), names.clone()) {
            return true;
        }
        if names.next().is_none() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests;
