//! Which feature maps a command asks for.

use crate::picture::features::{Drawn, Row};

/// Feature maps, and how they are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeatureQuery {
    /// The module.
    pub path: String,
    /// How its channels are drawn.
    pub drawn: Drawn,
    /// Which row of the batch.
    pub row: Row,
}
