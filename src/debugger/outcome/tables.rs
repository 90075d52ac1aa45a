//! Tables of variants and of differences.

use super::DiffRow;
use crate::debugger::text::{aligned, number, shape};
use crate::debugger::timeline::comparison::VariantRow;

/// Variants as text; empty without any.
pub(super) fn variant_table(rows: &[VariantRow]) -> String {
    let heads = ["timeline", "stage", "std", "‖uncond‖", "‖text‖", "cosine", "from base"];
    let some = |value: Option<f64>| value.map_or_else(|| "–".to_string(), number);
    let cells = rows.iter().map(|row| {
        let figures = &row.figures;
        let numbers = [figures.std, figures.uncond_norm, figures.text_norm, figures.cosine, row.difference];
        [row.timeline.clone(), row.stage.clone()].into_iter().chain(numbers.map(some)).collect::<Vec<_>>()
    });
    aligned(&heads, 2, &cells.collect::<Vec<_>>())
}

/// Differences as text; empty without any.
pub(super) fn diff_table(rows: &[DiffRow]) -> String {
    let heads = ["tensor", "shape", "relative", "largest"];
    let cells = rows.iter().map(|row| match (row.relative, row.max_abs) {
        (Some(relative), Some(largest)) => {
            vec![row.tensor.clone(), shape(&row.shape), format!("{relative:.2e}"), format!("{largest:.2e}")]
        }
        _ => {
            let shapes = format!("{} against {}", shape(&row.shape), shape(&row.reference_shape));
            vec![row.tensor.clone(), shapes, "–".into(), "–".into()]
        }
    });
    aligned(&heads, 2, &cells.collect::<Vec<_>>())
}
