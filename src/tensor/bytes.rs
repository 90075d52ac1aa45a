//! Numbers of bytes, for people.

/// Bytes as a person reads them: `3.2 GB`.
pub fn said(bytes: u128) -> String {
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
    fn bytes_as_a_person_reads_them() {
        assert_eq!(said(999), "999 B");
        assert_eq!(said(38_000_000), "38.0 MB");
        assert_eq!(said(u128::MAX).split(' ').next_back(), Some("PB"));
    }
}
