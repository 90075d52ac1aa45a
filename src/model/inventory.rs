//! What a checkpoint holds, told from its headers: nothing is loaded.

use super::{LoadError, ModelSource};
use serde::Serialize;
use std::collections::BTreeSet;

/// A component's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentWeights {
    /// `text_encoder`, `unet` or `vae`.
    pub name: &'static str,
    /// The weights file.
    pub file: String,
    /// How many tensors there are.
    pub tensors: usize,
    /// How many numbers they hold together.
    pub parameters: u64,
    /// The dtypes that they are stored in.
    pub dtypes: Vec<String>,
    /// How many bytes they take in the file.
    pub bytes: u64,
}

/// The components that have weights.
pub const COMPONENTS: [&str; 3] = ["text_encoder", "unet", "vae"];

/// Reads the headers of all weights files.
///
/// # Errors
/// When one is missing or not a whole file.
pub fn inventory(source: &ModelSource) -> Result<Vec<ComponentWeights>, LoadError> {
    COMPONENTS.into_iter().map(|name| component(source, name)).collect()
}

fn component(source: &ModelSource, name: &'static str) -> Result<ComponentWeights, LoadError> {
    let file = source.weights(name)?;
    let mut dtypes = BTreeSet::new();
    let (mut tensors, mut parameters, mut bytes) = (0, 0, 0);
    for (_, info) in file.tensors() {
        tensors += 1;
        parameters += info.shape.iter().map(|&n| n as u64).product::<u64>();
        bytes += (info.data_offsets.1 - info.data_offsets.0) as u64;
        dtypes.insert(format!("{:?}", info.dtype).to_lowercase());
    }
    let dtypes = dtypes.into_iter().collect();
    Ok(ComponentWeights { name, file: file.name().into(), tensors, parameters, dtypes, bytes })
}
