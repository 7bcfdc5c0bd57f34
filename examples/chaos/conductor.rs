//! What an operator does: reloads of every kind, signals, restarts; one at a time, so that it is known what is in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::config::{Text, write};
use crate::daemon::{Daemon, admin, metrics, read};
use crate::{Failed, World, pause};

/// The operator, who owns the process and its file.
#[derive(Debug)]
pub(crate) struct Conductor {
    pub(crate) world: Arc<World>,
    pub(crate) daemon: Daemon,
    pub(crate) text: Text,
    pub(crate) random: Rng,
}

/// How a reload must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Applied,
    Refused,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }

    fn counter(self) -> String {
        format!("roletap_config_reloads_total{{result=\"{}\"}}", self.label())
    }
}

impl Conductor {
    /// Writes the file as it should be.
    fn write(&self) -> Result<(), Failed> {
        let text = self.text.render(|role| self.world.oracle.roles[role].arn.clone());
        Ok(write(&self.text.path(), &text)?)
    }

    /// Starts the first process.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        self.write()?;
        self.daemon.start()?;
        for role in 0..self.text.roles.len() {
            self.settle(role);
        }
        self.world.oracle.restart_ends();
        Ok(())
    }

    /// One of the things that an operator does.
    pub(crate) fn act(&mut self) -> Result<(), Failed> {
        let oracle = &self.world.oracle;
        if self.daemon.has_ended() {
            return Err(
                format!("the daemon has ended by itself:\n{}", self.daemon.last_words()).into()
            );
        }
        match self.random.u32(..20) {
            0 => {
                oracle.count("SIGUSR1");
                self.daemon.signal(Signal::SIGUSR1)
            }
            1..=3 => {
                let role = self.random.usize(..oracle.roles.len());
                let path = format!("/roles/{}/refresh", oracle.roles[role].name);
                let due = if self.text.roles[role].present { 202 } else { 404 };
                oracle.count("refresh by hand");
                match admin(self.world.admin, "POST", &path) {
                    Some((status, _)) if status == due => {}
                    other => {
                        oracle.violation(&format!("POST {path}: {due} was due, got {other:?}"))
                    }
                }
                Ok(())
            }
            4 => self.reload_broken(),
            5 => self.reload_with_another_address(),
            6 | 7 => self.reload_tokens(),
            8 => {
                oracle.count("reload: nothing changed");
                self.reload(Outcome::Applied)
            }
            9 | 10 => {
                oracle.count("reload: other settings of STS");
                self.text.attempt_timeout_ms = self.random.u32(900..1_200);
                self.text.max_in_flight = self.random.u32(8..24);
                self.text.pending_wait_ms = self.random.u32(0..600);
                self.write()?;
                self.reload(Outcome::Applied)
            }
            _ => {
                let changes = self.random.usize(1..5);
                self.reload_roles(changes)
            }
        }
    }

    /// Changes some roles, each in one respect.
    fn reload_roles(&mut self, changes: usize) -> Result<(), Failed> {
        let world = self.world.clone();
        let mut touched = Vec::new();
        for _ in 0..changes {
            let number = self.random.usize(..self.text.roles.len());
            if touched.contains(&number) {
                continue;
            }
            touched.push(number);
            let kind = self.random.u32(..6);
            let role = &mut self.text.roles[number];
            let mut facts = world.oracle.roles[number].facts();
            if !role.present || (kind == 0 && !world.oracle.roles[number].permanent) {
                role.present = !role.present;
                facts.moving = true;
                world.oracle.count("reload: role added or removed");
                continue;
            }
            match kind {
                1 | 2 => {
                    role.identity += 1;
                    facts.moving = true;
                    facts.identities.1 = role.identity;
                    world.oracle.count("reload: another identity");
                }
                3 => {
                    role.account_id = !role.account_id;
                    facts.account_id = None;
                    world.oracle.count("reload: account_id");
                }
                4 => {
                    role.required = !role.required;
                    world.oracle.count("reload: required");
                }
                _ => {
                    role.seconds = self.random.u32(self.text.sessions.clone());
                    world.oracle.count("reload: duration");
                }
            }
        }
        self.write()?;
        let done = self.reload(Outcome::Applied);
        for number in touched {
            self.settle(number);
        }
        done
    }

    /// What the file says of a role is in force.
    fn settle(&self, number: usize) {
        let role = &self.text.roles[number];
        let token = read(&self.text.token_path(&self.world.oracle.roles[number].name));
        let mut facts = self.world.oracle.roles[number].facts();
        if facts.moving {
            facts.era += 1;
            facts.forget();
        }
        facts.moving = false;
        facts.rotating = false;
        facts.present = role.present;
        facts.identities = (role.identity, role.identity);
        facts.account_id = Some(role.account_id);
        facts.drops = role.drops;
        if role.present && *facts.token != *token {
            facts.replace_token(&token);
        }
    }

    fn reload_broken(&mut self) -> Result<(), Failed> {
        self.world.oracle.count("reload: a broken file");
        let whole = read(&self.text.path());
        let broken = match self.random.u32(..4) {
            0 => whole[..whole.len() / 2].to_owned() + "\n[role.",
            1 => whole.replace("duration_seconds", "duration_secnds"),
            2 => whole.replace("arn:aws:iam::", "arn:aws:iam:"),
            _ => String::new(),
        };
        write(&self.text.path(), &broken)?;
        let done = self.reload(Outcome::Refused);
        self.write()?;
        done
    }

    fn reload_with_another_address(&mut self) -> Result<(), Failed> {
        self.world.oracle.count("reload: another address");
        let whole = read(&self.text.path());
        let vend = self.text.vend;
        let other = whole.replace(&format!("[\"{vend}\"]"), "[\"127.0.0.1:1\"]");
        write(&self.text.path(), &other)?;
        let done = self.reload(Outcome::Refused);
        self.write()?;
        done
    }

    /// Replaces or deletes token files; the old tokens must go on to open.
    fn reload_tokens(&mut self) -> Result<(), Failed> {
        let mut touched = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let number = self.random.usize(..self.text.roles.len());
            let name = &self.world.oracle.roles[number].name;
            if !self.text.roles[number].present || touched.contains(&number) {
                continue;
            }
            touched.push(number);
            self.world.oracle.roles[number].facts().rotating = true;
            let path = self.text.token_path(name);
            if self.random.bool() {
                self.world.oracle.count("reload: a token deleted");
                std::fs::remove_file(path)?;
            } else {
                self.world.oracle.count("reload: a token replaced");
                let token: String = (0..48).map(|_| self.random.alphanumeric()).collect();
                write(&path, &token)?;
            }
        }
        let done = self.reload(Outcome::Applied);
        for number in touched {
            self.settle(number);
        }
        done
    }

    /// SIGHUP, and waits until it has had this outcome.
    fn reload(&self, outcome: Outcome) -> Result<(), Failed> {
        let count = |outcome: Outcome| {
            metrics(self.world.admin).and_then(|series| series.get(&outcome.counter()).copied())
        };
        let other = match outcome {
            Outcome::Applied => Outcome::Refused,
            Outcome::Refused => Outcome::Applied,
        };
        let (before, others) =
            (count(outcome).ok_or("no metrics")?, count(other).ok_or("no metrics")?);
        self.daemon.signal(Signal::SIGHUP)?;
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if count(outcome).is_some_and(|now| now > before) {
                self.world.oracle.count(&format!("reloads {}", outcome.label()));
                return Ok(());
            }
            if count(other).is_some_and(|now| now > others) || Instant::now() > deadline {
                return Err(format!(
                    "a reload was not {}:\n{}",
                    outcome.label(),
                    self.daemon.last_words()
                )
                .into());
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Everything as it is, once more: what a person does who has mended something.
    pub(crate) fn reload_unchanged(&self) -> Result<(), Failed> {
        self.reload(Outcome::Applied)
    }

    /// A restart in good order, or the worst that can happen.
    pub(crate) fn restart(&mut self, is_kill: bool) -> Result<(), Failed> {
        let world = self.world.clone();
        let oracle = &world.oracle;
        oracle.restart_begins();
        let begun = Instant::now();
        if is_kill {
            oracle.count("restarts by SIGKILL");
            self.daemon.signal(Signal::SIGKILL)?;
            self.daemon.end(Duration::from_secs(5))?;
            oracle.killed(&world.sts);
        } else {
            oracle.count("restarts by SIGTERM");
            self.stop()?;
        }
        oracle.note(format!("restart, killed {is_kill}"));
        self.daemon.start()?;
        oracle.restart_ends();
        oracle.note("the next process serves".to_owned());
        self.world.down(begun.elapsed());
        Ok(())
    }

    /// SIGTERM: it drains and exits with 0 in time.
    pub(crate) fn stop(&mut self) -> Result<(), Failed> {
        self.daemon.signal(Signal::SIGTERM)?;
        match self.daemon.end(Duration::from_secs(6)) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                self.world.oracle.violation(&format!("after SIGTERM it ended with {status}"));
                Ok(())
            }
            Err(error) => Err(format!("after SIGTERM: {error}").into()),
        }
    }
}
