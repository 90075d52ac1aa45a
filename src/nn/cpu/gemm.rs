//! Products of matrices by the `gemm` crate, in one thread each, with their bounds checked.
//!
//! candle's own call asks the system for the number of threads at every product, and knows no strides of the output.

#![allow(unsafe_code)]

use super::par::Shared;

/// A matrix in numbers that lie about: element (i, j) is at `offset + i·rows_apart + j·columns_apart`.
#[derive(Clone, Copy)]
pub struct At {
    /// Where element (0, 0) is.
    pub offset: usize,
    /// From one row to the next.
    pub rows_apart: usize,
    /// From one column to the next.
    pub columns_apart: usize,
}

impl At {
    /// Row by row, each `width` after the one before.
    pub fn rows(offset: usize, width: usize) -> Self {
        Self { offset, rows_apart: width, columns_apart: 1 }
    }

    /// The matrix turned over.
    pub fn t(self) -> Self {
        Self { rows_apart: self.columns_apart, columns_apart: self.rows_apart, ..self }
    }

    /// Whether a matrix of `rows` × `columns` lies inside of `len` numbers.
    fn fits(self, rows: usize, columns: usize, len: usize) -> bool {
        rows == 0
            || columns == 0
            || self.offset + (rows - 1) * self.rows_apart + (columns - 1) * self.columns_apart < len
    }
}

/// What becomes of what stood in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// It is overwritten.
    Nothing,
    /// The product is added to it.
    What,
}

/// (m × k) · (k × n) to (m × n), each a matrix in its numbers.
///
/// # Safety
/// No other task may use the elements of the output meanwhile.
///
/// # Panics
/// When a matrix does not lie inside of its numbers.
pub unsafe fn product(
    (m, k, n): (usize, usize, usize),
    (lhs, lhs_at): (&[f32], At),
    (rhs, rhs_at): (&[f32], At),
    (out, out_at): (&Shared<'_>, At),
    onto: Onto,
) {
    assert!(lhs_at.fits(m, k, lhs.len()), "the left factor does not fit");
    assert!(rhs_at.fits(k, n, rhs.len()), "the right factor does not fit");
    assert!(out_at.fits(m, n, out.len()), "the product does not fit");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: all three lie inside of their allocations, as checked; strides are below their lengths, so they do not
    // overflow; the output is this task's alone, as the caller says, so it is no part of `lhs` or `rhs`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().add(out_at.offset),
            out_at.columns_apart as isize,
            out_at.rows_apart as isize,
            onto == Onto::What,
            lhs.as_ptr().add(lhs_at.offset),
            lhs_at.columns_apart as isize,
            lhs_at.rows_apart as isize,
            rhs.as_ptr().add(rhs_at.offset),
            rhs_at.columns_apart as isize,
            rhs_at.rows_apart as isize,
            1.,
            1.,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// [`product`] of matrices that one task has to itself.
pub fn product_alone(
    sizes: (usize, usize, usize),
    lhs: (&[f32], At),
    rhs: (&[f32], At),
    (out, out_at): (&mut [f32], At),
    onto: Onto,
) {
    // SAFETY: `out` is borrowed for us alone.
    unsafe { product(sizes, lhs, rhs, (&Shared::new(out), out_at), onto) }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// Six numbers: more than any of these matrices may reach.
    const LEN: usize = 6;

    fn strided(offset: usize, row_stride: usize, column_stride: usize) -> At {
        At { offset, rows_apart: row_stride, columns_apart: column_stride }
    }

    #[test]
    fn a_matrix_fits_up_to_its_last_element() {
        assert!(strided(0, 3, 1).fits(2, 3, LEN) && strided(0, 1, 3).fits(3, 2, LEN));
        assert!(!strided(1, 3, 1).fits(2, 3, LEN) && !strided(0, 4, 1).fits(2, 3, LEN));
    }

    #[test]
    fn strides_and_sizes_that_overflow_do_not_fit() {
        assert!(!strided(1, usize::MAX, 1).fits(2, 1, LEN));
        assert!(!strided(0, 1, usize::MAX / 2 + 1).fits(1, 3, LEN));
        assert!(!strided(usize::MAX, 1, 1).fits(1, 2, LEN));
        assert!(!strided(0, usize::MAX - 1, 2).fits(2, 2, LEN));
        assert!(!strided(0, 1 << 32, 1).fits((1 << 32) + 1, 1, LEN));
    }

    #[test]
    fn a_stride_beyond_isize_does_not_fit_even_where_it_is_not_taken() {
        assert!(!strided(0, usize::MAX, 1).fits(1, 3, LEN));
    }

    #[test]
    fn an_empty_matrix_begins_inside() {
        assert!(strided(LEN, 1, 1).fits(3, 0, LEN) && strided(0, 1, 1).fits(0, 3, 0));
        assert!(!strided(LEN + 1, 1, 1).fits(3, 0, LEN) && !strided(LEN + 1, 1, 1).fits(0, 3, LEN));
    }

    #[test]
    #[should_panic(expected = "the left factor")]
    fn the_offset_is_checked_where_there_is_nothing_to_sum() {
        let mut out = [0.; 4];
        let at = At::rows(0, 2);
        product_alone((2, 0, 2), (&[], At::rows(1, 0)), (&[], at), (&mut out, at), Onto::Nothing);
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        let at = At::rows(0, 2);
        for (onto, expected) in [(Onto::Nothing, 0.), (Onto::What, 7.)] {
            let mut out = [7.; 4];
            product_alone((2, 0, 2), (&[], At::rows(0, 0)), (&[], at), (&mut out, at), onto);
            assert_eq!(out, [expected; 4]);
        }
    }
}
