//! Byte counts as text.

/// A byte count in decimal units: `3.2 GB`.
pub fn human(bytes: u128) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000. && unit + 1 < UNITS.len() {
        value /= 1000.;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_decimal() {
        assert_eq!(human(999), "999 B");
        assert_eq!(human(38_000_000), "38.0 MB");
        assert_eq!(human(u128::MAX).split(' ').next_back(), Some("PB"));
    }
}
