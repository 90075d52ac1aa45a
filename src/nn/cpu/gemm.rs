//! Matrix products by the `gemm` crate, each on one thread, with bounds checks.
//!
//! candle's own call asks the system for the number of threads at every product, and takes no strides for the output.

#![allow(unsafe_code)]

use super::par::DisjointMut;

/// A matrix inside a slice: element (i, j) is at `offset + i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub struct Strided {
    /// The index of element (0, 0).
    pub offset: usize,
    /// The distance from one row to the next.
    pub row_stride: usize,
    /// The distance from one column to the next.
    pub column_stride: usize,
}

impl Strided {
    /// A row-major matrix with rows of `width` elements.
    pub fn rows(offset: usize, width: usize) -> Self {
        Self { offset, row_stride: width, column_stride: 1 }
    }

    /// The transposed matrix.
    pub fn t(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// Whether a matrix of `rows` × `columns` lies inside a slice of `len` elements. An empty matrix has no elements, but
    /// its offset must not exceed `len`: a pointer is made of it. Strides must fit an `isize`, as `gemm` takes them.
    fn fits(self, rows: usize, columns: usize, len: usize) -> bool {
        let (Some(last_row), Some(last_column)) = (rows.checked_sub(1), columns.checked_sub(1)) else {
            return self.offset <= len && self.strides_fit();
        };
        let down = last_row.checked_mul(self.row_stride);
        let across = last_column.checked_mul(self.column_stride);
        let last =
            down.zip(across).and_then(|(down, across)| down.checked_add(across)?.checked_add(self.offset));
        last.is_some_and(|last| last < len) && self.strides_fit()
    }

    fn strides_fit(self) -> bool {
        self.row_stride.max(self.column_stride) <= isize::MAX as usize
    }
}

/// Whether a product replaces its output or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The product replaces what the output held.
    Overwrite,
    /// The product is added to what the output holds.
    Accumulate,
}

/// (m × k) · (k × n) → (m × n). Each matrix is given as a slice and its place in it.
///
/// # Safety
/// No other task may access the output's elements during the call.
///
/// # Panics
/// If a matrix does not lie inside its slice.
pub unsafe fn product(
    (m, k, n): (usize, usize, usize),
    (lhs, lhs_at): (&[f32], Strided),
    (rhs, rhs_at): (&[f32], Strided),
    (out, out_at): (&DisjointMut<'_>, Strided),
    output: Output,
) {
    assert!(lhs_at.fits(m, k, lhs.len()), "the left factor does not fit");
    assert!(rhs_at.fits(k, n, rhs.len()), "the right factor does not fit");
    assert!(out_at.fits(m, n, out.len()), "the product does not fit");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: `fits` has checked that all three matrices lie inside their slices and that their strides fit an `isize`.
    // The caller guarantees that nothing else accesses the output, so it overlaps neither `lhs` nor `rhs`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().add(out_at.offset),
            out_at.column_stride as isize,
            out_at.row_stride as isize,
            output == Output::Accumulate,
            lhs.as_ptr().add(lhs_at.offset),
            lhs_at.column_stride as isize,
            lhs_at.row_stride as isize,
            rhs.as_ptr().add(rhs_at.offset),
            rhs_at.column_stride as isize,
            rhs_at.row_stride as isize,
            1.,
            1.,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// [`product`] into a slice that the caller borrows exclusively.
pub fn product_alone(
    sizes: (usize, usize, usize),
    lhs: (&[f32], Strided),
    rhs: (&[f32], Strided),
    (out, out_at): (&mut [f32], Strided),
    output: Output,
) {
    // SAFETY: `out` is borrowed exclusively.
    unsafe { product(sizes, lhs, rhs, (&DisjointMut::new(out), out_at), output) }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// The length of the slice.
    const LEN: usize = 6;

    fn strided(offset: usize, row_stride: usize, column_stride: usize) -> Strided {
        Strided { offset, row_stride, column_stride }
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
    fn an_unused_stride_must_fit_an_isize_too() {
        assert!(!strided(0, usize::MAX, 1).fits(1, 3, LEN));
    }

    #[test]
    fn an_empty_matrix_starts_inside_the_slice() {
        assert!(strided(LEN, 1, 1).fits(3, 0, LEN) && strided(0, 1, 1).fits(0, 3, 0));
        assert!(!strided(LEN + 1, 1, 1).fits(3, 0, LEN) && !strided(LEN + 1, 1, 1).fits(0, 3, LEN));
    }

    #[test]
    #[should_panic(expected = "the left factor")]
    fn the_offset_is_checked_when_k_is_zero() {
        let mut out = [0.; 4];
        let at = Strided::rows(0, 2);
        product_alone((2, 0, 2), (&[], Strided::rows(1, 0)), (&[], at), (&mut out, at), Output::Overwrite);
    }

    #[test]
    fn an_empty_sum_is_zero() {
        let at = Strided::rows(0, 2);
        for (output, expected) in [(Output::Overwrite, 0.), (Output::Accumulate, 7.)] {
            let mut out = [7.; 4];
            product_alone((2, 0, 2), (&[], Strided::rows(0, 0)), (&[], at), (&mut out, at), output);
            assert_eq!(out, [expected; 4]);
        }
    }
}
