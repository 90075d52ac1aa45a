//! A weights file whose tensors have other keys: a checkpoint in one file has the names of its authors, and models ask for diffusers'.
//!
//! Nothing is copied. A tensor of a view is a range of the file's bytes: all of a stored tensor, or some of its rows.

use safetensors::tensor::TensorInfo;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// The names that a file gives to tensors, for messages.
pub trait StoredNames: Debug + Send + Sync {
    /// The file's key for the tensor that is asked for as `key`, whether the file has it or not.
    fn stored(&self, key: &str) -> String;
}

/// A tensor of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewed {
    /// The key that it is asked for by.
    pub key: String,
    /// The file's key.
    pub stored: String,
    /// If it is one of several parts of the stored tensor, split at its first dimension: its number and their count.
    pub part: Option<(usize, usize)>,
    /// Whether trailing dimensions of size 1 are dropped: a 1×1 convolution becomes a linear layer.
    pub is_squeezed: bool,
}

/// The tensors of a view.
#[derive(Debug)]
pub(super) struct View {
    /// In the file's order.
    pub tensors: Vec<(String, TensorInfo)>,
    index: HashMap<String, usize>,
    pub names: Arc<dyn StoredNames>,
}

impl View {
    /// The tensors among `viewed` that a file has; `info` is its header.
    pub fn new<'a>(
        viewed: impl IntoIterator<Item = Viewed>,
        info: impl Fn(&str) -> Option<&'a TensorInfo>,
        names: Arc<dyn StoredNames>,
    ) -> Self {
        let mut tensors: Vec<_> = viewed
            .into_iter()
            .filter_map(|viewed| Some((viewed.key.clone(), viewed.of(info(&viewed.stored)?))))
            .collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let index = tensors.iter().enumerate().map(|(i, (key, _))| (key.clone(), i)).collect();
        Self { tensors, index, names }
    }

    pub fn info(&self, key: &str) -> Option<&TensorInfo> {
        Some(&self.tensors[*self.index.get(key)?].1)
    }

    /// The size of its tensors in bytes.
    pub fn data_len(&self) -> u64 {
        self.tensors.iter().map(|(_, info)| (info.data_offsets.1 - info.data_offsets.0) as u64).sum()
    }
}

impl Viewed {
    /// Its place in the file. A tensor that cannot be split keeps its stored shape, so that the error names that.
    fn of(&self, stored: &TensorInfo) -> TensorInfo {
        let (mut shape, (mut start, mut end)) = (stored.shape.clone(), stored.data_offsets);
        if self.is_squeezed {
            while shape.len() > 2 && shape.last() == Some(&1) {
                shape.pop();
            }
        }
        let rows = shape.first().copied().unwrap_or(0);
        if let Some((number, count)) = self.part
            && rows > 0
            && rows.is_multiple_of(count)
            && (end - start).is_multiple_of(count)
        {
            let bytes = (end - start) / count;
            shape[0] = rows / count;
            (start, end) = (start + number * bytes, start + (number + 1) * bytes);
        }
        TensorInfo { dtype: stored.dtype, shape, data_offsets: (start, end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::Dtype;

    fn placed(
        shape: &[usize],
        part: Option<(usize, usize)>,
        is_squeezed: bool,
    ) -> (Vec<usize>, (usize, usize)) {
        let bytes = 4 * shape.iter().product::<usize>();
        let stored = TensorInfo { dtype: Dtype::F32, shape: shape.into(), data_offsets: (8, 8 + bytes) };
        let viewed = Viewed { key: "k".into(), stored: "s".into(), part, is_squeezed };
        let TensorInfo { shape, data_offsets, .. } = viewed.of(&stored);
        (shape, data_offsets)
    }

    #[test]
    fn a_part_is_a_range_of_bytes() {
        assert_eq!(placed(&[6, 2], None, false), (vec![6, 2], (8, 56)));
        assert_eq!(placed(&[6, 2], Some((0, 3)), false), (vec![2, 2], (8, 24)));
        assert_eq!(placed(&[6, 2], Some((2, 3)), false), (vec![2, 2], (40, 56)));
        assert_eq!(placed(&[6], Some((1, 3)), false), (vec![2], (16, 24)));
    }

    #[test]
    fn what_cannot_be_split_keeps_its_shape() {
        assert_eq!(placed(&[7, 2], Some((1, 3)), false), (vec![7, 2], (8, 64)));
        assert_eq!(placed(&[0, 2], Some((1, 3)), false), (vec![0, 2], (8, 8)));
        assert_eq!(placed(&[], Some((1, 3)), false), (vec![], (8, 12)));
    }

    #[test]
    fn a_1x1_convolution_becomes_a_matrix() {
        assert_eq!(placed(&[4, 4, 1, 1], None, true).0, [4, 4]);
        assert_eq!(placed(&[4, 4, 1], None, true).0, [4, 4]);
        assert_eq!(placed(&[4, 1], None, true).0, [4, 1]);
        assert_eq!(placed(&[4, 4, 3, 3], None, true).0, [4, 4, 3, 3]);
        assert_eq!(placed(&[4, 4, 1, 1], None, false).0, [4, 4, 1, 1]);
    }
}
