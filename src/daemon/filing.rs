//! Files of credentials, kept as the slots are: written when credentials come, removed when they have ended.
//!
//! A file system may hang for hours, so each write has a thread of its own, one at a time for a file, and whoever refreshes or
//! answers waits for none of them. Files are left in place when the process ends: clients go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::credentials_file::{self, Action, OnDisk, Wanted};
use crate::credentials_file_io::{Job, What, carry_out};
use crate::refresher::News;
use crate::role::Role;
use crate::slots::{Counts, Filed, Slot, Slots, Table};

/// Threads at once, beside those that hang.
const AT_ONCE: usize = 16;
/// With those that hang: a file system must leave some of the runtime's for names and tokens.
const AT_MOST: usize = 128;
/// A write that takes longer hangs: it makes room for other directories, and in its own no other begins.
const HANGS_AFTER: Duration = Duration::from_secs(1);
/// Credentials end by the wall, and sleeping is monotonic: see `refresher.rs`.
const NAP: Duration = Duration::from_secs(30);
/// Changes come in swarms, and each turn looks at all files: what comes within this time is one turn.
const GATHER: Duration = Duration::from_millis(5);
/// A write that takes longer is told, and counts as one that failed each time.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// After a failure, doubling with each.
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
/// How long the clerk stays down when it has ended by a bug.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Begins to follow the slots, for as long as the runtime lives.
pub(super) fn start(slots: Arc<Slots>, clock: SharedTimeSource, news: News) {
    tokio::spawn(async move {
        loop {
            let clerk = Clerk::new(slots.clone(), clock.clone(), carry_out);
            // It never ends but by a panic, and knows nothing then: all files are written anew.
            let _ = tokio::spawn(clerk.follow(news.clone())).await;
            tracing::error!("writing credentials files ended by a bug; starting it again");
            tokio::time::sleep(RESTART_DELAY).await;
        }
    });
}

/// Who files; `work` does one job, and may block.
struct Clerk<W> {
    slots: Arc<Slots>,
    clock: SharedTimeSource,
    work: W,
    /// The one that `places` were made for.
    table: Option<Arc<Table>>,
    places: BTreeMap<PathBuf, Place>,
    jobs: JoinSet<Done>,
}

/// One path that a role names, or has named until its file is removed.
struct Place {
    role: Arc<Role>,
    counts: Arc<Counts>,
    /// Whose file it is to be; `None` when a reload has taken it away.
    wanted: Option<Arc<Slot>>,
    known: OnDisk,
    outdated: bool,
    touched: bool,
    at_work: Option<AtWork>,
    trouble: Option<Trouble>,
}

struct AtWork {
    since: Instant,
    /// How often it was counted as stuck.
    stuck: u32,
    /// A reload has come meanwhile, so what will be known is not enough.
    again: bool,
}

struct Trouble {
    what: String,
    count: u32,
    since: Instant,
    retry_at: Instant,
}

/// A job that has ended.
struct Done {
    path: PathBuf,
    looked: bool,
    outcome: Result<OnDisk, String>,
}

impl<W> Clerk<W>
where
    W: Fn(&Job) -> Result<OnDisk, String> + Clone + Send + 'static,
{
    fn new(slots: Arc<Slots>, clock: SharedTimeSource, work: W) -> Self {
        Self { slots, clock, work, table: None, places: BTreeMap::new(), jobs: JoinSet::new() }
    }

    async fn follow(mut self, mut news: News) {
        loop {
            self.reshape();
            let nap = self.turn();
            let rest = async {
                match nap {
                    Some(nap) => tokio::time::sleep(nap).await,
                    // No role has a file: an idle host is not woken for it.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = news.more() => {}
                Some(Ok(done)) = self.jobs.join_next() => self.conclude(done),
                () = rest => {}
            }
            tokio::time::sleep(GATHER).await;
            while let Some(Ok(done)) = self.jobs.try_join_next() {
                self.conclude(done);
            }
        }
    }

    /// After a reload every file is written again: what somebody has done to one is mended by it.
    fn reshape(&mut self) {
        let table = self.slots.load().clone();
        if self.table.as_ref().is_some_and(|known| Arc::ptr_eq(known, &table)) {
            return;
        }
        for place in self.places.values_mut() {
            place.wanted = None;
            place.known = OnDisk::Unknown;
            if let Some(at_work) = &mut place.at_work {
                at_work.again = true;
            }
            if let Some(trouble) = &mut place.trouble {
                trouble.retry_at = Instant::now();
            }
        }
        for slot in table.slots.values() {
            let Some(file) = &slot.role.credentials_file else {
                continue;
            };
            let place = self.places.entry(file.path.clone()).or_insert_with(|| Place::of(slot));
            place.outdated |=
                place.role.name != slot.role.name || !place.role.same_request(&slot.role);
            place.role = slot.role.clone();
            place.counts = slot.counts.clone();
            place.wanted = Some(slot.clone());
        }
        self.table = Some(table);
    }

    /// Begins what is due, and says how long there is nothing to do; `None`, if for ever.
    fn turn(&mut self) -> Option<Duration> {
        let (now, clock) = (self.clock.now(), Instant::now());
        self.places.retain(|_, place| !place.is_done_with());
        let hanging = self.hanging(clock);
        let mut running = self.jobs.len().saturating_sub(hanging.len());
        let mut nap = (!self.places.is_empty()).then_some(NAP);
        let mut no_later_than = |wait: Duration| nap = nap.map(|nap| nap.min(wait));
        for (path, place) in &mut self.places {
            if let Some(at_work) = &mut place.at_work {
                at_work.tell_if_stuck(&place.role, &place.counts, clock);
                continue;
            }
            if let Some(wait) = place.pause(clock) {
                no_later_than(wait);
                continue;
            }
            let what = match place.step(now) {
                Action::Wait(None) => continue,
                Action::Wait(Some(until)) => {
                    no_later_than(until.duration_since(now).unwrap_or_default());
                    continue;
                }
                Action::Inspect => What::Look,
                Action::Write(credentials) => What::Write(place.role.clone(), credentials),
                Action::Remove => What::Remove,
            };
            // The rest begins when one of these ends, or turns out to hang.
            if running >= AT_ONCE || self.jobs.len() >= AT_MOST {
                no_later_than(HANGS_AFTER);
                continue;
            }
            if hanging.iter().any(|dir| dir.as_deref() == path.parent()) {
                continue;
            }
            running += 1;
            place.at_work = Some(AtWork { since: clock, stuck: 0, again: false });
            let job = Job {
                path: path.clone(),
                first: !std::mem::replace(&mut place.touched, true),
                at: now,
                what,
            };
            let work = self.work.clone();
            self.jobs.spawn(async move {
                let (path, looked) = (job.path.clone(), matches!(job.what, What::Look));
                let outcome = tokio::task::spawn_blocking(move || work(&job)).await;
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(format!("cannot write {}: it ended by a bug", path.display()))
                });
                Done { path, looked, outcome }
            });
        }
        nap
    }

    /// The directory of each job that hangs.
    fn hanging(&self, now: Instant) -> Vec<Option<PathBuf>> {
        let places = self.places.iter();
        let hanging = places.filter(|(_, place)| {
            let at_work = place.at_work.as_ref();
            at_work.is_some_and(|work| now.saturating_duration_since(work.since) >= HANGS_AFTER)
        });
        hanging.map(|(path, _)| path.parent().map(Path::to_owned)).collect()
    }

    fn conclude(&mut self, done: Done) {
        let Done { path, looked, outcome } = done;
        let Some(place) = self.places.get_mut(&path) else {
            return;
        };
        let again = place.at_work.take().is_some_and(|at_work| at_work.again);
        match outcome {
            Ok(known) => {
                if !looked {
                    place.succeeded(matches!(known, OnDisk::Ours(_)));
                    // What a reload has outdated meanwhile still is.
                    place.outdated &= again;
                }
                place.known = if again { OnDisk::Unknown } else { known };
            }
            Err(what) => place.failed(what),
        }
    }
}

impl Place {
    fn of(slot: &Arc<Slot>) -> Self {
        Self {
            role: slot.role.clone(),
            counts: slot.counts.clone(),
            wanted: Some(slot.clone()),
            known: OnDisk::Unknown,
            outdated: false,
            touched: false,
            at_work: None,
            trouble: None,
        }
    }

    fn step(&self, now: std::time::SystemTime) -> Action {
        let state = self.wanted.as_ref().map(|slot| slot.state());
        let wanted =
            state.as_ref().map(|state| Wanted { role: &self.role, state, outdated: self.outdated });
        credentials_file::step(wanted, &self.known, now)
    }

    /// Nobody wants the file, and it is gone.
    fn is_done_with(&self) -> bool {
        self.wanted.is_none() && self.at_work.is_none() && self.known == OnDisk::Absent
    }

    /// How long a failure still keeps us away.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let wait = self.trouble.as_ref()?.retry_at.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn succeeded(&mut self, written: bool) {
        let role = self.role.name.as_str();
        if written {
            self.counts.filed(Filed::Written);
            tracing::debug!(role, "the credentials file is written");
        }
        if let Some(trouble) = self.trouble.take() {
            let failing_for = trouble.since.elapsed().as_secs();
            tracing::info!(
                role,
                failed_attempts = trouble.count,
                failing_for_seconds = failing_for,
                "the credentials file is as it should be again"
            );
        }
    }

    /// Changes are logged, not states: one error while it lasts, unless its reason changes.
    fn failed(&mut self, what: String) {
        self.counts.filed(Filed::Failed);
        let role = self.role.name.as_str();
        let (count, since) = self
            .trouble
            .as_ref()
            .map_or((0, Instant::now()), |trouble| (trouble.count, trouble.since));
        let pause = RETRY.ceiling(count.saturating_add(1));
        if self.trouble.as_ref().is_some_and(|trouble| trouble.what == what) {
            tracing::debug!(role, failed_attempts = count + 1, "still: {what}");
        } else {
            tracing::error!(
                role,
                "the credentials file is not as it should be, and the role is vended all the same: {what}"
            );
        }
        self.trouble = Some(Trouble {
            what,
            count: count.saturating_add(1),
            since,
            retry_at: Instant::now() + pause,
        });
    }
}

impl AtWork {
    fn tell_if_stuck(&mut self, role: &Role, counts: &Counts, now: Instant) {
        let lasts = now.saturating_duration_since(self.since);
        if lasts < STUCK_AFTER.saturating_mul(self.stuck + 1) {
            return;
        }
        counts.filed(Filed::Failed);
        if self.stuck == 0 {
            let path = role.credentials_file.as_ref().map(|file| file.path.display().to_string());
            tracing::error!(
                role = role.name.as_str(),
                path = path.unwrap_or_default(),
                "writing the credentials file does not end: is its file system well? The role is vended all the same"
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
    use crate::credentials_file::FileHeader;
    use crate::lifecycle::{Jitter, RoleState};
    use crate::refresher::Progress;
    use crate::simulated::{at, config, credentials};
    use crate::slots::Writer;

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
                What::Look => ("look", OnDisk::Absent),
                What::Write(role, credentials) => {
                    (credentials.access_key_id(), OnDisk::Ours(FileHeader::of(role, credentials)))
                }
                What::Remove => ("remove", OnDisk::Absent),
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

    fn publish(writer: &mut Writer, serial: u64, progress: &Progress) {
        let role = writer.slot().role.clone();
        let held = credentials(&role, at(0), Duration::from_secs(3600), serial);
        let state = RoleState::Pending.after(Ok(held), role.terms, at(0), Jitter::new(0.5));
        writer.publish(state);
        progress.concluded();
    }

    /// A clerk and a role for each of the paths.
    fn filing(paths: &[&str], hanging: &[&str]) -> (Vec<Writer>, Progress, Arc<Disk>) {
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
        let progress = Progress::new();
        let work = {
            let disk = disk.clone();
            move |job: &Job| disk.carry_out(job)
        };
        let clock = SharedTimeSource::new(Clock(at(60)));
        tokio::spawn(Clerk::new(slots, clock, work).follow(progress.news()));
        (writers, progress, disk)
    }

    #[tokio::test]
    async fn a_file_that_hangs_keeps_no_other_waiting_and_is_written_once_at_a_time() {
        let (mut writers, progress, disk) = filing(&["/run/a", "/run/b"], &["/run/a"]);
        for serial in 1..4 {
            publish(&mut writers[0], serial, &progress);
            publish(&mut writers[1], 10 + serial, &progress);
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
        let many: Vec<String> = (0..3 * AT_ONCE).map(|at| format!("/hung/{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (mut writers, progress, disk) = filing(&[&many[..], &["/run/b"]].concat(), &many);
        for writer in &mut writers {
            publish(writer, 1, &progress);
        }
        disk.has_done("/run/b ASIA0000000000000001").await;
        let begun = disk.begun.lock().unwrap().len();
        assert_eq!(begun, AT_ONCE + 1, "no more of its files are tried");
        disk.free();
        for path in many {
            disk.has_done(&format!("{path} ASIA0000000000000001")).await;
        }
    }
}
