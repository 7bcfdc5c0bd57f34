//! Credentials files that follow the slots: written when credentials are issued, removed when they
//! expire.
//!
//! A file system may hang for hours, so each write has a thread of its own, one at a time for a
//! file. Refreshers and endpoints wait for none of them. Files stay when the process ends: their
//! clients go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::credentials_file_io::{FileOperation, Job, carry_out};
use crate::refresher::ChangeListener;
use crate::slots::{FileWriteResult, RoleCounters, Slot, Slots, Table};
use roletap_core::backoff::Backoff;
use roletap_core::credentials_file::{self, Action, OnDisk, Wanted};
use roletap_core::role::Role;

/// The most threads at once, beside those that hang.
const MAX_RUNNING: usize = 16;
/// The most threads at once with those that hang: names and tokens need some of the runtime's, too.
const MAX_THREADS: usize = 128;
/// A write that takes longer hangs. It no longer counts against [`MAX_RUNNING`], and no other
/// begins in its directory.
const HANGS_AFTER: Duration = Duration::from_secs(1);
/// The longest sleep: credentials expire by the wall clock, and sleeping is monotonic.
const NAP: Duration = Duration::from_secs(30);
/// Changes come in swarms: those within this time are handled together.
const GATHER: Duration = Duration::from_millis(5);
/// A write that takes longer is logged, and counts as failed once in every such time.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// The pause after a failure; it doubles with each.
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
/// The pause before the writer is started again after a panic.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Starts to follow the slots, for as long as the runtime lives.
pub(super) fn start(slots: Arc<Slots>, clock: SharedTimeSource, changes: ChangeListener) {
    tokio::spawn(async move {
        loop {
            let writer = FileWriter::new(slots.clone(), clock.clone(), carry_out);
            // Ends by a panic only. The next one knows nothing of the files, and writes all of them
            // anew.
            let _ = tokio::spawn(writer.follow(changes.clone())).await;
            tracing::error!("writing credentials files ended by a bug; starting it again");
            tokio::time::sleep(RESTART_DELAY).await;
        }
    });
}

/// Keeps all credentials files. `work` does one job, and may block.
struct FileWriter<W> {
    slots: Arc<Slots>,
    clock: SharedTimeSource,
    work: W,
    /// The table that `tasks` were made for.
    table: Option<Arc<Table>>,
    tasks: BTreeMap<PathBuf, FileTask>,
    jobs: JoinSet<Finished>,
}

/// One path that a role names, or has named and whose file is not yet removed.
struct FileTask {
    role: Arc<Role>,
    counts: Arc<RoleCounters>,
    /// The slot whose credentials belong there; `None` after a reload has removed the role or its
    /// file.
    wanted: Option<Arc<Slot>>,
    known: OnDisk,
    outdated: bool,
    touched: bool,
    in_flight: Option<InFlight>,
    failing: Option<Failing>,
}

struct InFlight {
    since: Instant,
    /// The number of times that it was counted as stuck.
    stuck: u32,
    /// True if a reload has come meanwhile: the outcome says nothing about the file that is wanted
    /// now.
    again: bool,
}

struct Failing {
    what: String,
    count: u32,
    since: Instant,
    retry_at: Instant,
}

/// The outcome of a job.
struct Finished {
    path: PathBuf,
    looked: bool,
    outcome: Result<OnDisk, String>,
}

impl<W> FileWriter<W>
where
    W: Fn(&Job) -> Result<OnDisk, String> + Clone + Send + 'static,
{
    fn new(slots: Arc<Slots>, clock: SharedTimeSource, work: W) -> Self {
        Self { slots, clock, work, table: None, tasks: BTreeMap::new(), jobs: JoinSet::new() }
    }

    async fn follow(mut self, mut changes: ChangeListener) {
        loop {
            self.follow_table();
            let nap = self.start_due();
            let rest = async {
                match nap {
                    Some(nap) => tokio::time::sleep(nap).await,
                    // No role has a file: an idle host is not woken for it.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changes.next() => {}
                Some(Ok(done)) = self.jobs.join_next() => self.conclude(done),
                () = rest => {}
            }
            tokio::time::sleep(GATHER).await;
            while let Some(Ok(done)) = self.jobs.try_join_next() {
                self.conclude(done);
            }
        }
    }

    /// Follows a reload. Every file is written again, which repairs changes that somebody has made
    /// to it.
    fn follow_table(&mut self) {
        let table = self.slots.load().clone();
        if self.table.as_ref().is_some_and(|known| Arc::ptr_eq(known, &table)) {
            return;
        }
        for task in self.tasks.values_mut() {
            task.wanted = None;
            task.known = OnDisk::Unknown;
            if let Some(in_flight) = &mut task.in_flight {
                in_flight.again = true;
            }
            if let Some(failing) = &mut task.failing {
                failing.retry_at = Instant::now();
            }
        }
        for slot in table.slots.values() {
            let Some(file) = &slot.role.credentials_file else {
                continue;
            };
            let task = self.tasks.entry(file.path.clone()).or_insert_with(|| FileTask::of(slot));
            task.outdated |=
                task.role.name != slot.role.name || !task.role.same_request(&slot.role);
            task.role = slot.role.clone();
            task.counts = slot.counts.clone();
            task.wanted = Some(slot.clone());
        }
        self.table = Some(table);
    }

    /// Starts the jobs that are due, and returns the time until another is; `None` means never.
    fn start_due(&mut self) -> Option<Duration> {
        let (now, clock) = (self.clock.now(), Instant::now());
        self.tasks.retain(|_, task| !task.is_obsolete());
        let hanging = self.hanging(clock);
        let mut running = self.jobs.len().saturating_sub(hanging.len());
        let mut nap = (!self.tasks.is_empty()).then_some(NAP);
        let mut no_later_than = |wait: Duration| nap = nap.map(|nap| nap.min(wait));
        for (path, task) in &mut self.tasks {
            if let Some(in_flight) = &mut task.in_flight {
                in_flight.log_if_stuck(&task.role, &task.counts, clock);
                continue;
            }
            if let Some(wait) = task.pause(clock) {
                no_later_than(wait);
                continue;
            }
            let what = match task.step(now) {
                Action::Wait(None) => continue,
                Action::Wait(Some(until)) => {
                    no_later_than(until.duration_since(now).unwrap_or_default());
                    continue;
                }
                Action::Inspect => FileOperation::Look,
                Action::Write(credentials) => FileOperation::Write(task.role.clone(), credentials),
                Action::Remove => FileOperation::Remove,
            };
            // The others start when one of these ends, or turns out to hang.
            if running >= MAX_RUNNING || self.jobs.len() >= MAX_THREADS {
                no_later_than(HANGS_AFTER);
                continue;
            }
            if hanging.iter().any(|dir| dir.as_deref() == path.parent()) {
                continue;
            }
            running += 1;
            task.in_flight = Some(InFlight { since: clock, stuck: 0, again: false });
            let job = Job {
                path: path.clone(),
                first: !std::mem::replace(&mut task.touched, true),
                at: now,
                what,
            };
            let work = self.work.clone();
            self.jobs.spawn(async move {
                let (path, looked) = (job.path.clone(), matches!(job.what, FileOperation::Look));
                let outcome = tokio::task::spawn_blocking(move || work(&job)).await;
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(format!("cannot write {}: it ended by a bug", path.display()))
                });
                Finished { path, looked, outcome }
            });
        }
        nap
    }

    /// Returns the directories of jobs that hang.
    fn hanging(&self, now: Instant) -> Vec<Option<PathBuf>> {
        let tasks = self.tasks.iter();
        let hanging = tasks.filter(|(_, task)| {
            let in_flight = task.in_flight.as_ref();
            in_flight.is_some_and(|work| now.saturating_duration_since(work.since) >= HANGS_AFTER)
        });
        hanging.map(|(path, _)| path.parent().map(Path::to_owned)).collect()
    }

    fn conclude(&mut self, done: Finished) {
        let Finished { path, looked, outcome } = done;
        let Some(task) = self.tasks.get_mut(&path) else {
            return;
        };
        let again = task.in_flight.take().is_some_and(|in_flight| in_flight.again);
        match outcome {
            Ok(known) => {
                if !looked {
                    task.succeeded(matches!(known, OnDisk::Ours(_)));
                    // A reload may have outdated the file meanwhile.
                    task.outdated &= again;
                }
                task.known = if again { OnDisk::Unknown } else { known };
            }
            Err(what) => task.failed(what),
        }
    }
}

impl FileTask {
    fn of(slot: &Arc<Slot>) -> Self {
        Self {
            role: slot.role.clone(),
            counts: slot.counts.clone(),
            wanted: Some(slot.clone()),
            known: OnDisk::Unknown,
            outdated: false,
            touched: false,
            in_flight: None,
            failing: None,
        }
    }

    fn step(&self, now: std::time::SystemTime) -> Action {
        let state = self.wanted.as_ref().map(|slot| slot.state());
        let wanted =
            state.as_ref().map(|state| Wanted { role: &self.role, state, outdated: self.outdated });
        credentials_file::step(wanted, &self.known, now)
    }

    /// Returns true once no role wants the file and it is removed.
    fn is_obsolete(&self) -> bool {
        self.wanted.is_none() && self.in_flight.is_none() && self.known == OnDisk::Absent
    }

    /// Returns the rest of the pause after a failure.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let wait = self.failing.as_ref()?.retry_at.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn succeeded(&mut self, written: bool) {
        let role = self.role.name.as_str();
        if written {
            self.counts.filed(FileWriteResult::Written);
            tracing::debug!(role, "the credentials file is written");
        }
        if let Some(failing) = self.failing.take() {
            let failing_for = failing.since.elapsed().as_secs();
            tracing::info!(
                role,
                failed_attempts = failing.count,
                failing_for_seconds = failing_for,
                "the credentials file is as it should be again"
            );
        }
    }

    /// Logs the first of equal failures in a row as an error.
    fn failed(&mut self, what: String) {
        self.counts.filed(FileWriteResult::Failed);
        let role = self.role.name.as_str();
        let (count, since) = self
            .failing
            .as_ref()
            .map_or((0, Instant::now()), |failing| (failing.count, failing.since));
        let pause = RETRY.ceiling(count.saturating_add(1));
        if self.failing.as_ref().is_some_and(|failing| failing.what == what) {
            tracing::debug!(role, failed_attempts = count + 1, "still: {what}");
        } else {
            tracing::error!(
                role,
                "the credentials file is not as it should be, and the role is vended all the same: {what}"
            );
        }
        self.failing = Some(Failing {
            what,
            count: count.saturating_add(1),
            since,
            retry_at: Instant::now() + pause,
        });
    }
}

impl InFlight {
    fn log_if_stuck(&mut self, role: &Role, counts: &RoleCounters, now: Instant) {
        let lasts = now.saturating_duration_since(self.since);
        if lasts < STUCK_AFTER.saturating_mul(self.stuck + 1) {
            return;
        }
        counts.filed(FileWriteResult::Failed);
        if self.stuck == 0 {
            let path = role.credentials_file.as_ref().map(|file| file.path.display().to_string());
            let path = path.unwrap_or_default();
            tracing::error!(
                role = role.name.as_str(),
                path,
                "the credentials file is still being written: check the file system of {path}; the role is vended all the same"
            );
        }
        self.stuck += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Condvar, Mutex};
    use std::time::SystemTime;

    use super::*;
    use crate::refresher::Heartbeat;
    use crate::simulated::{at, config, credentials};
    use crate::slots::Writer;
    use roletap_core::credentials_file::FileHeader;
    use roletap_core::lifecycle::{Jitter, RoleState};

    /// Nobody waits so long, unless it is for itself.
    const TOO_LONG: Duration = Duration::from_secs(20);

    /// A disk that hangs for some paths until it is told to go on.
    #[derive(Default)]
    struct Disk {
        hanging: Mutex<BTreeSet<PathBuf>>,
        freed: Condvar,
        begun: Mutex<BTreeSet<PathBuf>>,
        done: Mutex<Vec<String>>,
    }

    impl Disk {
        fn carry_out(&self, job: &Job) -> Result<OnDisk, String> {
            self.begun.lock().unwrap().insert(job.path.clone());
            let mut hanging = self.hanging.lock().unwrap();
            while hanging.contains(&job.path) {
                let (still, timed_out) = self.freed.wait_timeout(hanging, TOO_LONG).unwrap();
                assert!(!timed_out.timed_out(), "whoever frees it waits for it");
                hanging = still;
            }
            let (what, known) = match &job.what {
                FileOperation::Look => ("look", OnDisk::Absent),
                FileOperation::Write(role, credentials) => {
                    (credentials.access_key_id(), OnDisk::Ours(FileHeader::of(role, credentials)))
                }
                FileOperation::Remove => ("remove", OnDisk::Absent),
            };
            self.done.lock().unwrap().push(format!("{} {what}", job.path.display()));
            Ok(known)
        }

        fn free(&self) {
            self.hanging.lock().unwrap().clear();
            self.freed.notify_all();
        }

        async fn has_done(&self, what: &str) {
            let until = Instant::now() + TOO_LONG;
            while !self.done.lock().unwrap().iter().any(|done| done == what) {
                assert!(Instant::now() < until, "waited in vain for {what}");
                tokio::task::yield_now().await;
            }
        }
    }

    #[derive(Debug)]
    struct Clock(SystemTime);

    impl aws_smithy_async::time::TimeSource for Clock {
        fn now(&self) -> SystemTime {
            self.0
        }
    }

    fn publish(writer: &mut Writer, serial: u64, heartbeat: &Heartbeat) {
        let role = writer.slot().role.clone();
        let held = credentials(&role, at(0), Duration::from_secs(3600), serial);
        let state = RoleState::Pending.after(Ok(held), role.terms, at(0), Jitter::new(0.5));
        writer.publish(state);
        heartbeat.record_change();
    }

    /// A writer and a role for each of the paths.
    fn filing(paths: &[&str], hanging: &[&str]) -> (Vec<Writer>, Heartbeat, Arc<Disk>) {
        let mut table = Table::default();
        let mut writers = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            let file = format!("credentials_file = \"{path}\"");
            let name = format!("r{at}");
            let role = config(&[&name], 3600, &file).roles.into_values().next().unwrap();
            let (slot, writer) = Slot::new(role.clone(), RoleState::Pending, Arc::default(), false);
            table.slots.insert(role.name.clone(), slot);
            writers.push(writer);
        }
        let slots = Arc::new(Slots::default());
        slots.publish(table);
        let disk = Arc::new(Disk::default());
        let hang = hanging.iter().map(PathBuf::from);
        disk.hanging.lock().unwrap().extend(hang);
        let heartbeat = Heartbeat::default();
        let work = {
            let disk = disk.clone();
            move |job: &Job| disk.carry_out(job)
        };
        let clock = SharedTimeSource::new(Clock(at(60)));
        tokio::spawn(FileWriter::new(slots, clock, work).follow(heartbeat.changes()));
        (writers, heartbeat, disk)
    }

    #[tokio::test]
    async fn a_file_that_hangs_keeps_no_other_waiting_and_is_written_once_at_a_time() {
        let (mut writers, heartbeat, disk) = filing(&["/run/a", "/run/b"], &["/run/a"]);
        for serial in 1..4 {
            publish(&mut writers[0], serial, &heartbeat);
            publish(&mut writers[1], 10 + serial, &heartbeat);
            disk.has_done(&format!("/run/b ASIA{:016}", 10 + serial)).await;
        }
        assert!(!disk.done.lock().unwrap().iter().any(|done| done.starts_with("/run/a")));
        disk.free();
        // What came while it hung is written as well, and nothing in between.
        disk.has_done("/run/a ASIA0000000000000003").await;
        let done = disk.done.lock().unwrap();
        assert!(!done.iter().any(|done| done == "/run/a ASIA0000000000000002"), "{done:?}");
    }
    #[tokio::test]
    async fn a_directory_that_hangs_keeps_no_other_waiting_with_however_many_files() {
        let many: Vec<String> = (0..3 * MAX_RUNNING).map(|at| format!("/hung/{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (mut writers, heartbeat, disk) = filing(&[&many[..], &["/run/b"]].concat(), &many);
        for writer in &mut writers {
            publish(writer, 1, &heartbeat);
        }
        disk.has_done("/run/b ASIA0000000000000001").await;
        let begun = disk.begun.lock().unwrap().len();
        assert_eq!(begun, MAX_RUNNING + 1, "no more of its files are tried");
        disk.free();
        for path in many {
            disk.has_done(&format!("{path} ASIA0000000000000001")).await;
        }
    }
}
