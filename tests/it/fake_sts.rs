//! FakeSts, as the real SDK sees it.
