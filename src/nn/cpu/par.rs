//! Work for all cores: tasks that are cut by shape alone, so that results do not hang on how many threads there are.

#![allow(unsafe_code)]

use rayon::prelude::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// The thread that made this, one of those that compute, for as long as it is kept.
///
/// To a thread that is none of them every layer's work is handed over, and it sleeps until that is done: two changes of thread a
/// layer, which for a small model takes as long as the arithmetic.
#[derive(Debug)]
pub struct Computing(Option<rayon::ThreadPool>);

impl Computing {
    /// Of this thread, with others beside it: as many as there are cores, or as `RAYON_NUM_THREADS` says.
    pub fn here() -> Self {
        // Where no thread can be started, those that compute for everyone do it.
        Self(rayon::ThreadPoolBuilder::new().use_current_thread().build().ok())
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.0.as_ref().map_or_else(rayon::current_num_threads, rayon::ThreadPool::current_num_threads)
    }
}

/// Runs `task` for each number below `count`, on all cores where that is more than one.
pub fn for_each(count: usize, task: impl Fn(usize) + Send + Sync) {
    if count < 2 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// The `i`th of `count` parts of `0..len`, each a multiple of `step` long but the last.
pub fn part(i: usize, count: usize, len: usize, step: usize) -> Range<usize> {
    let each = len.div_ceil(count).next_multiple_of(step);
    (i * each).min(len)..((i + 1) * each).min(len)
}

/// How many parts `work` (in multiply-adds, or what takes as long) is cut into: none so small that handing it out costs
/// more than it saves, and an even number for two cores.
pub fn parts(work: usize, most: usize) -> usize {
    /// About 10 µs of a product of matrices.
    const SMALLEST: usize = 1 << 19;
    match (work / SMALLEST).min(8) {
        0 | 1 => 1,
        n => (n & !1).min(most.max(1)),
    }
}

/// Numbers that several tasks write at once, each elsewhere.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]`, which may be sent; that parts in use at once do not overlap is what `part` asks of its
// callers.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// All of `numbers`, to be written in parts.
    pub fn new(numbers: &'a mut [f32]) -> Self {
        Self { start: numbers.as_mut_ptr(), len: numbers.len(), of: PhantomData }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where they begin.
    pub fn as_mut_ptr(&self) -> *mut f32 {
        self.start
    }

    /// The part at `range`.
    ///
    /// # Safety
    /// No other part that is in use may have numbers in common with this one.
    ///
    /// # Panics
    /// When the range does not lie inside.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside of one allocation, as checked; nobody else has it, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(vec![]) };
}

/// Lends `work` so many numbers of any value, which the thread keeps for the next.
pub fn scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut kept = SCRATCH.with(|kept| kept.borrow_mut().pop()).unwrap_or_default();
    if kept.len() < len {
        // Nothing of the old is wanted: it is not copied over.
        kept = vec![0.; len];
    }
    let made = work(&mut kept[..len]);
    SCRATCH.with(|all| all.borrow_mut().push(kept));
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_all_of_it(len in 0usize..5000, count in 1usize..20, step in 1usize..40) {
            let parts: Vec<usize> = (0..count).flat_map(|i| part(i, count, len, step)).collect();
            prop_assert_eq!(parts, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn scratch_within_scratch_is_another() {
        scratch(4, |a| {
            a.fill(1.);
            scratch(4, |b| b.fill(2.));
            assert_eq!(a, [1.; 4]);
        });
    }

    #[test]
    #[should_panic(expected = "3..9 of 8")]
    fn a_part_lies_inside() {
        let mut numbers = [0.; 8];
        let shared = Shared::new(&mut numbers);
        // SAFETY: it is the only one, and panics.
        unsafe { shared.part(3..9) };
    }
}
