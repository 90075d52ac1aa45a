//! Assertions on tensors.

use candle_core::{DType, Tensor};
use diffuscope::tensor::PlainTensor;
use diffuscope::tensor::compare::relative_difference;

/// What has values to compare: tensors here and there, and plain lists of numbers.
pub trait Values {
    fn shape(&self) -> Vec<usize>;
    fn values(&self) -> Vec<f32>;
}

impl Values for Tensor {
    fn shape(&self) -> Vec<usize> {
        self.dims().to_vec()
    }
    fn values(&self) -> Vec<f32> {
        self.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

impl Values for PlainTensor {
    fn shape(&self) -> Vec<usize> {
        PlainTensor::shape(self).to_vec()
    }
    fn values(&self) -> Vec<f32> {
        self.data().to_vec()
    }
}

impl Values for [f32] {
    fn shape(&self) -> Vec<usize> {
        vec![self.len()]
    }
    fn values(&self) -> Vec<f32> {
        self.to_vec()
    }
}

/// ‖ours − theirs‖ / ‖theirs‖ of two tensors of one shape.
#[track_caller]
pub fn difference<A: Values + ?Sized, B: Values + ?Sized>(ours: &A, theirs: &B, what: &str) -> f64 {
    assert_eq!(ours.shape(), theirs.shape(), "{what}: shapes, ours and theirs");
    relative_difference(&ours.values(), &theirs.values())
}

/// Fails where `difference` is over `bound`, or is NaN.
#[track_caller]
fn assert_within(difference: f64, bound: f64, what: &str) {
    assert!(
        difference <= bound,
        "{what}: relative difference {difference:.2e}, expected at most {bound:.0e}"
    );
}

/// Differences noted one after the other and judged together, so that one failure does not hide the next.
/// `cargo test -- --nocapture` shows them.
#[derive(Default)]
pub struct Differences(Vec<(String, f64)>);

impl Differences {
    /// Notes how far `ours` is from `theirs`.
    #[track_caller]
    pub fn note<A: Values + ?Sized, B: Values + ?Sized>(&mut self, ours: &A, theirs: &B, what: &str) {
        let difference = difference(ours, theirs, what);
        println!("{what:40} {difference:.2e}");
        self.0.push((what.into(), difference));
    }

    /// Fails on the first that is over `bound` or NaN, and where nothing was compared at all.
    #[track_caller]
    pub fn assert_within(&self, bound: f64) {
        assert!(!self.0.is_empty(), "nothing was compared");
        for (what, difference) in &self.0 {
            assert_within(*difference, bound, what);
        }
    }
}
