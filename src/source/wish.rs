//! That a load is wanted, kept until one has ended.

use std::sync::atomic::{AtomicBool, Ordering};

/// That an operator asked. Asked for again if nothing came of it.
pub(super) struct Wish<'a> {
    rebuild: &'a AtomicBool,
    pub(super) is_there: bool,
}

impl<'a> Wish<'a> {
    pub(super) fn of(rebuild: &'a AtomicBool) -> Self {
        let is_there = rebuild.swap(false, Ordering::AcqRel);
        Self { rebuild, is_there }
    }

    pub(super) fn conclude(mut self) {
        self.is_there = false;
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        if self.is_there {
            self.rebuild.store(true, Ordering::Release);
        }
    }
}
