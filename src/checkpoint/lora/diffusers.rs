//! Where diffusers 0.42.1 (with peft 0.21.2) does something else with a LoRA's file, and says nothing.
//!
//! Its loader turns the α of every module into patterns for peft. Those of attention projections of the UNet, and all of the text
//! encoder's, match no module, so that these get the most common α of their component. And it takes a text encoder's attention only
//! where the file changes an `out_proj`.

use super::LoraFile;
use super::keys::Component;
use std::collections::HashMap;

/// A module to which diffusers does something else.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// It multiplies B · A by this, and not by α / r.
    Factor(f64),
    /// It leaves the module as it is.
    Dropped,
}

/// The places in `file.updates` of the modules to which diffusers does something else.
pub fn differences(file: &LoraFile) -> Vec<(usize, Difference)> {
    let component = |component| move |update: &&super::Update| update.component == Some(component);
    let of_text_encoder = || file.updates.iter().filter(component(Component::TextEncoder));
    let has_out_proj = of_text_encoder().any(|update| update.module.ends_with("out_proj"));
    let mut alphas: HashMap<Component, f64> = HashMap::new();
    for of in [Component::UNet, Component::TextEncoder] {
        let with_alpha =
            file.updates.iter().filter(component(of)).filter(|update| update.alpha_key.is_some());
        if let Some(alpha) = most_common(with_alpha.map(|update| update.alpha)) {
            alphas.insert(of, alpha);
        }
    }
    let difference = |update: &super::Update| {
        let component = update.component?;
        let is_attention = update.module.contains("attn");
        if component == Component::TextEncoder && is_attention && !has_out_proj {
            return Some(Difference::Dropped);
        }
        let projections = ["to_q", "to_k", "to_v", "to_out", "to_out_0"];
        let is_projection = is_attention && projections.iter().any(|end| update.module.ends_with(end));
        let is_unmatched = component == Component::TextEncoder || is_projection;
        let factor = alphas.get(&component)? / update.rank as f64;
        let is_other = update.alpha_key.is_some() && is_unmatched && factor != update.factor;
        is_other.then_some(Difference::Factor(factor))
    };
    file.updates.iter().enumerate().filter_map(|(place, update)| Some((place, difference(update)?))).collect()
}

/// The number that is there most often, the first of several.
fn most_common(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut counts: Vec<(f64, usize)> = vec![];
    for number in numbers {
        match counts.iter_mut().find(|(known, _)| *known == number) {
            Some((_, count)) => *count += 1,
            None => counts.push((number, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(number, _)| number)
}
