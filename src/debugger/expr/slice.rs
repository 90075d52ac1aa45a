//! A part of a tensor: `0,:,8,2..5`, as it stands in brackets after its name.

use std::fmt;
use std::ops::Range;

/// A part of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `:`, `2..`, `..5`, `2..5`, also `2:5`: the end is not in it.
    Range(Option<i64>, Option<i64>),
    /// `8`; counted from the end where it is negative.
    One(i64),
}

/// Of each dimension a part; all of those that are not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice(Vec<Part>);

/// The places that parts of a tensor mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indices {
    /// In row-major order.
    pub places: Vec<usize>,
    /// Their shape: a dimension of which one place is named is not in it.
    pub shape: Vec<usize>,
}

impl Slice {
    /// Parses what stands between the brackets.
    ///
    /// # Errors
    /// What is no part, in a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(parse_part).collect::<Result<_, _>>().map(Self)
    }

    /// One place of the first dimension.
    pub fn one(index: i64) -> Self {
        Self(vec![Part::One(index)])
    }

    /// The places that they are of `name`, a tensor of that shape.
    ///
    /// # Errors
    /// What does not fit the shape, in a line.
    pub fn within(&self, shape: &[usize], name: &str) -> Result<Indices, String> {
        if self.0.len() > shape.len() {
            let (has, named) = (shape.len(), self.0.len());
            return Err(format!("{name} has {has} dimensions, {shape:?}; {named} are named"));
        }
        let mut found = Indices { places: vec![0], shape: vec![] };
        for (dimension, size) in shape.iter().enumerate() {
            let part = self.0.get(dimension).copied().unwrap_or(Part::Range(None, None));
            let range = part.within(*size).ok_or_else(|| {
                format!("dimension {dimension} of {name} has {size} places; `{part}` is not among them")
            })?;
            if matches!(part, Part::Range(..)) {
                found.shape.push(range.len());
            }
            let on = |place: usize| range.clone().map(move |index| place * size + index);
            found.places = found.places.into_iter().flat_map(on).collect();
        }
        Ok(found)
    }
}

impl Part {
    /// The places of a dimension of `size` that it means; `None` where it has none, or lies beyond.
    fn within(self, size: usize) -> Option<Range<usize>> {
        let at = |index: i64| {
            let index = if index < 0 { index.checked_add(size as i64)? } else { index };
            usize::try_from(index).ok()
        };
        let range = match self {
            Self::One(index) => at(index)?..at(index)?.checked_add(1)?,
            Self::Range(from, to) => from.map_or(Some(0), at)?..to.map_or(Some(size), at)?,
        };
        (range.start < range.end && range.end <= size).then_some(range)
    }
}

impl fmt::Display for Slice {
    /// As it stands between brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Part::to_string).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: Option<i64>| end.map_or(String::new(), |end| end.to_string());
        match self {
            Self::One(index) => write!(f, "{index}"),
            Self::Range(None, None) => f.write_str(":"),
            Self::Range(from, to) => write!(f, "{}..{}", end(*from), end(*to)),
        }
    }
}

/// `:`, `8`, `-1`, `2..5`, `2..`, `..5`, `2:5`.
fn parse_part(text: &str) -> Result<Part, String> {
    let text = text.trim();
    let wrong = || {
        let found = crate::debugger::text::abridged(text);
        format!("`{found}` is no part of a dimension: expected a number, a..b or :")
    };
    let end = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong()),
    };
    match text.split_once("..").or_else(|| text.split_once(':')) {
        Some((from, to)) => Ok(Part::Range(end(from)?, end(to)?)),
        None => Ok(Part::One(text.parse().map_err(|_| wrong())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_places_in_row_major_order() {
        let within = |text: &str| Slice::parse(text).unwrap().within(&[1, 2, 2, 3], "latents").unwrap();
        let whole = Slice::default().within(&[1, 2, 2, 3], "latents").unwrap();
        assert_eq!((whole.places, whole.shape), ((0..12).collect(), vec![1, 2, 2, 3]));
        assert_eq!(within("0,:,1,2"), Indices { places: vec![5, 11], shape: vec![2] });
        assert_eq!(within("0, 1, 0..2, -2.."), Indices { places: vec![7, 8, 10, 11], shape: vec![2, 2] });
        assert_eq!(within("0, 1, 0:2, -2:"), within("0, 1, ..2, 1..3"));
        assert_eq!(within("0,-1"), Indices { places: (6..12).collect(), shape: vec![2, 3] });
        assert_eq!(within("0,0,0,1"), Indices { places: vec![1], shape: vec![] });
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let said = |text: &str| Slice::parse(text).unwrap().within(&[1, 4], "latents").unwrap_err();
        assert!(said("0,4").contains("dimension 1 of latents has 4 places; `4` is not among them"));
        assert!(said("0,3..2").contains("`3..2`"));
        assert!(said("0,0,0").contains("3 are named"));
        assert!(Slice::parse("0,x").unwrap_err().contains("`x` is no part"));
        assert!(said(&format!("0,{}", i64::MAX)).contains("is not among them"));
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let range = any::<[Option<i64>; 2]>().prop_map(|[from, to]| Part::Range(from, to));
        prop::collection::vec(prop_oneof![any::<i64>().prop_map(Part::One), range], 1..6)
    }

    proptest! {
        #[test]
        fn a_slice_is_written_and_parsed_again(parts in parts()) {
            let slice = Slice(parts);
            prop_assert_eq!(Slice::parse(&slice.to_string()), Ok(slice));
        }

        #[test]
        fn no_part_makes_it_panic(part in "[0-9:., -]{0,24}", a in 0usize..5, b in 1usize..5) {
            let found = Slice::parse(&part).and_then(|parts| parts.within(&[a, b], "x"));
            if let Ok(Indices { places, shape }) = found {
                prop_assert_eq!(places.len(), shape.iter().product::<usize>());
                prop_assert!(places.iter().all(|place| *place < a * b));
            }
        }
    }
}
