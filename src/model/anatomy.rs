//! The tree of the models' modules.

use super::classes::Class;
use crate::nn::Path;
use crate::nn::load_report::Parameter;
use std::collections::HashMap;

/// A module of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its path: `unet.mid_block.attentions.0`.
    pub path: String,
    /// Its class in diffusers, transformers or torch; empty if unknown.
    pub class: &'static str,
    /// The number of parameters, including those of its submodules; `None` if the weights are not known.
    pub parameters: Option<u64>,
    /// The output channels of its own weight; `None` without a weight, and for normalizations.
    pub outputs: Option<usize>,
    /// The index of its parent in the tree's list.
    pub parent: Option<usize>,
    /// The number of its ancestors.
    pub depth: usize,
}

impl Module {
    /// Its path relative to its parent: `attentions.0`.
    pub fn name<'a>(&'a self, all: &[Self]) -> &'a str {
        let parent = self.parent.and_then(|parent| all.get(parent)).map_or(0, |parent| parent.path.len() + 1);
        self.path.get(parent..).unwrap_or(&self.path)
    }
}

/// The tree of `modules` in loading order, each module before its submodules. `parameters` are their weights, none if those are not known.
pub fn anatomy(modules: &[Path], parameters: &[Parameter]) -> Vec<Module> {
    let mut paths: Vec<&str> = vec![];
    for path in modules.iter().map(Path::as_str) {
        // Every model is a node, even the VAE, which never runs as a whole.
        let model = path.split('.').next().unwrap_or(path);
        for path in [model, path] {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    // Each module after its ancestors; siblings keep their order.
    let order: HashMap<&str, usize> = paths.iter().enumerate().map(|(at, path)| (*path, at)).collect();
    let above = |path: &str| {
        let cuts = path.match_indices('.').map(|(at, _)| &path[..at]);
        cuts.filter_map(|cut| order.get(cut).copied()).collect::<Vec<_>>()
    };
    let mut keyed: Vec<(Vec<usize>, &str)> = paths
        .iter()
        .map(|path| (above(path).into_iter().chain(order.get(path).copied()).collect(), *path))
        .collect();
    keyed.sort();
    let places: HashMap<&str, usize> = keyed.iter().enumerate().map(|(at, (_, path))| (*path, at)).collect();
    let module = |(key, path): &(Vec<usize>, &str)| {
        let within = parameters.iter().filter(|parameter| is_within(parameter.module.as_str(), path));
        let numbers = |parameter: &Parameter| parameter.shape.iter().map(|&n| n as u64).product::<u64>();
        let own = parameters.iter().filter(|parameter| parameter.module.as_str() == *path);
        let weight = own.max_by_key(|parameter| parameter.shape.len());
        let rank = weight.map(|weight| weight.shape.len());
        let has_attentions = paths.iter().any(|other| other.strip_prefix(path) == Some(".attentions.0"));
        let parent = key.len().checked_sub(2).map(|above| places[paths[key[above]]]);
        Module {
            path: (*path).into(),
            class: Class::of(path, rank).map_or("", |class| class.name(has_attentions)),
            parameters: (!parameters.is_empty()).then(|| within.map(numbers).sum()),
            outputs: weight.filter(|weight| weight.shape.len() > 1).map(|weight| weight.shape[0]),
            parent,
            depth: key.len() - 1,
        }
    };
    keyed.iter().map(module).collect()
}

/// Whether `path` is `module` or below it.
pub fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_in_the_order_of_loading() {
        let modules = ["unet", "unet.conv_in", "unet.down_blocks.0", "unet.down_blocks.0.resnets.0"];
        let late = ["vae.decoder", "unet.down_blocks.0.attentions.0", "unet.mid_block", "unet.mid_block"];
        let modules: Vec<Path> = modules.iter().chain(&late).map(|path| Path::new(path)).collect();
        let parameter = |name: &str, shape: &[usize]| Parameter {
            module: Path::new("unet.conv_in"),
            name: name.into(),
            key: format!("conv_in.{name}"),
            shape: shape.into(),
        };
        let tensors = [parameter("weight", &[8, 4, 3, 3]), parameter("bias", &[8])];
        let tree = anatomy(&modules, &tensors);
        let found =
            tree.iter().map(|m| (m.name(&tree), m.class, m.depth, m.parameters.unwrap())).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                ("unet", "UNet2DConditionModel", 0, 296),
                ("conv_in", "Conv2d", 1, 296),
                ("down_blocks.0", "CrossAttnDownBlock2D", 1, 0),
                ("resnets.0", "ResnetBlock2D", 2, 0),
                ("attentions.0", "Transformer2DModel", 2, 0),
                ("mid_block", "UNetMidBlock2DCrossAttn", 1, 0),
                ("vae", "AutoencoderKL", 0, 0),
                ("decoder", "Decoder", 1, 0),
            ]
        );
        assert_eq!(tree[4].parent, Some(2));
    }
}
