//! Turns signals into events.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// The exit status after a second SIGTERM or SIGINT: the shutdown was not orderly.
const HURRIED_EXIT: i32 = 1;

/// An event from outside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: refresh all roles now, within the budget.
    RefreshAll,
    /// SIGTERM, SIGINT: stop.
    Shutdown,
}

/// Starts to turn signals into events. A second SIGTERM or SIGINT exits from inside the handler,
/// even if nothing reads events any more.
pub fn listen() -> io::Result<mpsc::UnboundedReceiver<Event>> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the handler that exits must run before the one that arms it.
        signal_hook::flag::register_conditional_shutdown(signal, HURRIED_EXIT, stopping.clone())?;
        signal_hook::flag::register(signal, stopping.clone())?;
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    let (sender, events) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Reload,
                SIGUSR1 => Event::RefreshAll,
                _ => Event::Shutdown,
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(events)
}
