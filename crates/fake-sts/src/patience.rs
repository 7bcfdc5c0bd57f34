//! Waiting for what will happen, and not for a guessed while.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; whatever waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks.
pub const POLL: Duration = Duration::from_millis(10);

/// Rests between two looks.
pub fn pause(pause: Duration) {
    std::thread::sleep(pause);
}

/// Polls `look` until it gives a value; gives up with the last [`Err`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => {
                panic!("waited in vain until {what}; last seen: {last}")
            }
            Err(_) => pause(POLL),
        }
    }
}
