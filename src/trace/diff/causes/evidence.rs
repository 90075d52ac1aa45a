//! What a trace says of a module besides its tensors, held against the module here: its class, its numbers, digests of its weights.

use crate::checkpoint::layout::Precision;
use crate::nn::load_report::Norm;
use crate::nn::{Path, Result};
use crate::pipeline::Models;
use crate::trace::manifest::ModuleEntry;
use half::{bf16, f16};
use ring::digest::{Context, SHA256};
use safetensors::Dtype;
use serde_json::Value;
use tr::tr;

/// Mistakes that are in the weights: equal weights rule them out.
const IN_WEIGHTS: [&str; 3] = ["weight_transposed", "weight_rounded", "bias_missing"];

/// What a trace says of a module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModuleEvidence {
    /// What is other than here, each in a sentence.
    pub says: Vec<String>,
    /// Whether every weight of the module here has the digest that was recorded.
    pub same_weights: bool,
}

impl ModuleEvidence {
    /// Holds `entry` against the module at `path`.
    pub fn of(models: &Models, path: &str, entry: &ModuleEntry) -> Self {
        let mut says = vec![];
        let here = models.anatomy.iter().find(|module| module.path == path).map_or("", |module| module.class);
        if let Some(class) = entry.class.as_deref().filter(|class| !here.is_empty() && *class != here) {
            says.push(tr!("its class is {class} in the trace, and {here} here", class, here));
        }
        let (groups, eps) = match models.norms.get(&Path::new(path)) {
            Some(Norm::Group { groups, eps }) => (Some(*groups as f64), Some(*eps)),
            Some(Norm::Layer { eps }) => (None, Some(*eps)),
            None => (None, None),
        };
        let heads = models.heads_at(path).filter(|_| path.ends_with("attn1") || path.ends_with("attn2"));
        for (name, here) in [("num_groups", groups), ("eps", eps), ("heads", heads.map(|heads| heads as f64))]
        {
            let there = entry.attributes.get(name).and_then(Value::as_f64);
            if let (Some(there), Some(here)) = (there, here)
                && (there - here).abs() > 1e-6 * here.abs()
            {
                says.push(tr!("its {name} is {there} in the trace, and {here} here", name, there, here));
            }
        }
        let (mut compared, mut same) = (0, 0);
        let own = models.parameters.iter().filter(|parameter| parameter.module.as_str() == path);
        for parameter in own.clone() {
            let Some(there) = entry.weights.get(&parameter.name) else { continue };
            // A weight that cannot be read any more is no evidence.
            let Ok(Some(here)) = digest(models, path, &parameter.key) else { continue };
            compared += 1;
            same += usize::from(*there == here);
        }
        let missing = own
            .clone()
            .filter(|parameter| !entry.weights.is_empty() && !entry.weights.contains_key(&parameter.name));
        says.extend(missing.map(|parameter| tr!("it has no {} in the trace", parameter.name)));
        Self { says, same_weights: compared > 0 && compared == own.count() && same == compared }
    }

    /// Whether a mistake is still possible.
    pub fn allows(&self, name: &str) -> bool {
        !(self.same_weights && IN_WEIGHTS.contains(&name))
    }
}

/// The digest of a weight in the dtype in which its file has it, as docs/trace.md specifies it; `None` for another dtype than
/// F32, F16 and BF16.
fn digest(models: &Models, path: &str, key: &str) -> Result<Option<String>> {
    let failed = |e: &dyn std::fmt::Display| crate::nn::Error::Input(e.to_string());
    let component = path.split('.').next().unwrap_or(path);
    let files = models.source.weights(component, Precision::of(models.dtype)).map_err(|e| failed(&e))?;
    let Some((file, info)) = files.find(key) else { return Ok(None) };
    let dtype = info.dtype;
    let values = file.values(key, 0..usize::MAX).map_err(|e| failed(&e))?;
    let mut context = Context::new(&SHA256);
    for value in values {
        match dtype {
            Dtype::F32 => context.update(&value.to_le_bytes()),
            Dtype::F16 => context.update(&f16::from_f32(value).to_le_bytes()),
            Dtype::BF16 => context.update(&bf16::from_f32(value).to_le_bytes()),
            _ => return Ok(None),
        }
    }
    let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(["sha256:", &hex].concat()))
}
