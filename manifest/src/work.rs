//! Counts steps, in tests only: that time grows with the size of an object and nothing else is shown without a
//! clock.

/// Something was looked at this many times.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn done(_steps: usize) {}

#[cfg(test)]
pub(crate) use counted::{done, of};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn done(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// How many steps a call takes.
    pub(crate) fn of<T>(call: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let result = call();
        (STEPS.get() - before, result)
    }
}
