//! Seeds, with the range that torch's generator takes.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use tr::tr;

/// 2^53: JavaScript represents every integer up to it exactly.
const MAX_IN_JAVASCRIPT: u128 = 1 << 53;

/// A seed: −2^63 to 2^64 − 1, as in `torch.Generator("cpu").manual_seed(seed)`. It keeps its sign: −1 and 2^64 − 1 draw the same
/// noise but are written differently.
///
/// In JSON it is a number up to ±2^53, and a string beyond, as JavaScript would round the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seed(i128);

/// A number outside torch's range, or text that is not a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", tr!(
    "expected a whole number from {} to {} (-2^63 to 2^64-1, as torch takes them)",
    Seed::MIN, Seed::MAX
))]
pub struct SeedError;

impl Seed {
    /// The smallest seed.
    pub const MIN: i128 = i64::MIN as i128;
    /// The largest.
    pub const MAX: i128 = u64::MAX as i128;

    /// The seed modulo 2^64, as torch stores it (`Generator.initial_seed()`). torch 2.15's documentation says 2^64 − 1, but its code
    /// uses 2^64.
    pub fn folded(self) -> u64 {
        self.0 as u64
    }

    /// The seed as an `i64`; `None` from 2^63 on.
    pub fn as_i64(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }
}

impl From<i64> for Seed {
    fn from(seed: i64) -> Self {
        Self(seed.into())
    }
}

impl TryFrom<i128> for Seed {
    type Error = SeedError;

    fn try_from(seed: i128) -> Result<Self, SeedError> {
        if (Self::MIN..=Self::MAX).contains(&seed) { Ok(Self(seed)) } else { Err(SeedError) }
    }
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        text.parse::<i128>().map_err(|_| SeedError)?.try_into()
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_i64() {
            Some(seed) if self.0.unsigned_abs() <= MAX_IN_JAVASCRIPT => serializer.serialize_i64(seed),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Seed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&tr!("a whole number from {} to {}, or its digits as text", Seed::MIN, Seed::MAX))
            }

            fn visit_i64<E: Error>(self, seed: i64) -> Result<Seed, E> {
                Ok(seed.into())
            }

            fn visit_u64<E: Error>(self, seed: u64) -> Result<Seed, E> {
                Ok(Seed(seed.into()))
            }

            fn visit_str<E: Error>(self, seed: &str) -> Result<Seed, E> {
                seed.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn negative_seeds_count_down_from_2_to_the_64() {
        // `torch.Generator().manual_seed(SEED).initial_seed()`, torch 2.15.
        for (seed, folded) in [
            ("0", 0),
            ("-1", u64::MAX),
            ("-2", u64::MAX - 1),
            ("-9223372036854775808", 1 << 63),
            ("18446744073709551615", u64::MAX),
            ("15680208700286123456", 15_680_208_700_286_123_456),
        ] {
            assert_eq!(seed.parse::<Seed>().unwrap().folded(), folded, "{seed}");
        }
    }

    #[test]
    fn seeds_outside_torchs_range_are_refused() {
        for seed in ["18446744073709551616", "-9223372036854775809", &"9".repeat(60), "", "-", "1e3", "٣"] {
            let error = seed.parse::<Seed>().unwrap_err().to_string();
            assert!(error.contains("from -9223372036854775808 to 18446744073709551615"), "{seed}: {error}");
        }
        assert!(serde_json::from_str::<Seed>("1.5").is_err());
        assert!(serde_json::from_str::<Seed>("18446744073709551616").is_err());
        assert!(serde_json::from_str::<Seed>("\"many\"").is_err());
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(seed in Seed::MIN..=Seed::MAX) {
            let seed = Seed::try_from(seed).unwrap();
            prop_assert_eq!(seed.to_string().parse(), Ok(seed));
            let json = serde_json::to_string(&seed).unwrap();
            prop_assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), seed);
            // As JavaScript reads it.
            if let Ok(number) = json.parse::<f64>() {
                prop_assert_eq!(number as i128, seed.0);
            }
        }

        #[test]
        fn small_seeds_are_numbers(seed in -(1i64 << 53)..=1 << 53) {
            prop_assert_eq!(serde_json::to_value(Seed::from(seed)).unwrap(), serde_json::json!(seed));
        }
    }
}
