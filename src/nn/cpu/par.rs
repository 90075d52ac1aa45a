//! Parallel tasks. Only shapes decide how work is split, so results do not depend on the number of threads.

#![allow(unsafe_code)]

use rayon::prelude::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// A thread pool that includes the current thread, for as long as the value lives.
///
/// A thread outside the pool hands the work of every layer to it and sleeps until it is done. Those two context switches a layer
/// take as long as the arithmetic of a small model.
#[derive(Debug)]
pub struct ComputePool(Option<rayon::ThreadPool>);

impl ComputePool {
    /// Starts a pool with the current thread as a member. It has as many threads as there are cores, or as `RAYON_NUM_THREADS`
    /// says.
    pub fn enter() -> Self {
        // If no thread can be started, rayon's global pool does the work.
        Self(rayon::ThreadPoolBuilder::new().use_current_thread().build().ok())
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.0.as_ref().map_or_else(rayon::current_num_threads, rayon::ThreadPool::current_num_threads)
    }
}

/// Runs `task` for each index below `count`, on all cores if there is more than one.
pub fn for_each(count: usize, task: impl Fn(usize) + Send + Sync) {
    if count < 2 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Runs `task(i, chunk)` for each chunk of `len` elements of `out`, on all cores if there is more than one chunk. The last
/// chunk may be shorter.
pub fn for_each_chunk(out: &mut [f32], len: usize, task: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let len = len.max(1);
    if out.len() <= len {
        out.chunks_mut(len).enumerate().for_each(|(i, chunk)| task(i, chunk));
    } else {
        out.par_chunks_mut(len).enumerate().with_max_len(1).for_each(|(i, chunk)| task(i, chunk));
    }
}

/// The `i`th of `count` parts of `0..len`. The length of each part but the last is a multiple of `step`.
pub fn part(i: usize, count: usize, len: usize, step: usize) -> Range<usize> {
    let each = len.div_ceil(count).next_multiple_of(step);
    (i * each).min(len)..((i + 1) * each).min(len)
}

/// The number of parts to split `work` into, at most `most`. `work` counts multiply-adds or operations of similar cost.
///
/// No part is so small that starting a task costs more than it saves. The number is even, for two cores.
pub fn parts(work: usize, most: usize) -> usize {
    /// About 10 µs of a matrix product.
    const SMALLEST: usize = 1 << 19;
    match (work / SMALLEST).min(8) {
        0 | 1 => 1,
        n => (n & !1).min(most.max(1)),
    }
}

/// A mutable slice that several tasks write at once, each in a range of its own.
pub struct DisjointMut<'a> {
    start: *mut f32,
    len: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]`, which is `Send`. Callers of `slice_mut` guarantee that ranges in use do not overlap.
unsafe impl Send for DisjointMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for DisjointMut<'_> {}

impl<'a> DisjointMut<'a> {
    /// Borrows `slice` for as long as tasks write to it.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), of: PhantomData }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the first element.
    pub fn as_mut_ptr(&self) -> *mut f32 {
        self.start
    }

    /// The elements in `range`.
    ///
    /// # Safety
    /// No other range in use may overlap this one.
    ///
    /// # Panics
    /// If the range is not inside the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: the range is inside one allocation, as checked; the caller guarantees that no other range overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(vec![]) };
}

/// Lends `work` a buffer of `len` elements with arbitrary values. The thread keeps the buffer for the next call.
pub fn scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = SCRATCH.with(|free| free.borrow_mut().pop()).unwrap_or_default();
    if buffer.len() < len {
        // A new buffer instead of `resize`, which would copy the old values.
        buffer = vec![0.; len];
    }
    let result = work(&mut buffer[..len]);
    SCRATCH.with(|free| free.borrow_mut().push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_cover_the_range(len in 0usize..5000, count in 1usize..20, step in 1usize..40) {
            let parts: Vec<usize> = (0..count).flat_map(|i| part(i, count, len, step)).collect();
            prop_assert_eq!(parts, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn chunks_cover_the_slice() {
        for (len, chunk) in [(0, 0), (0, 3), (2, 0), (3, 3), (10, 3)] {
            let mut out = vec![0.; len];
            for_each_chunk(&mut out, chunk, |i, run| run.iter_mut().for_each(|x| *x += 1. + i as f32));
            let expected: Vec<f32> = (0..len).map(|i| 1. + (i / chunk.max(1)) as f32).collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn nested_scratch_buffers_are_distinct() {
        scratch(4, |a| {
            a.fill(1.);
            scratch(4, |b| b.fill(2.));
            assert_eq!(a, [1.; 4]);
        });
    }

    #[test]
    #[should_panic(expected = "3..9 of 8")]
    fn a_range_outside_the_slice_panics() {
        let mut values = [0.; 8];
        let out = DisjointMut::new(&mut values);
        // SAFETY: it is the only range, and the call panics.
        unsafe { out.slice_mut(3..9) };
    }
}
