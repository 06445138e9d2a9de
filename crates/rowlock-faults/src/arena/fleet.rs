//! The fleet: worker processes, and the harm done to them.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::audit::Affliction;
use crate::subject::log::{self, Event};
use crate::subject::{Assignment, KillAt, Point};

/// Worker processes, each with a number; a number may be started again under another holder's name.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    folder: PathBuf,
    assignment: Assignment,
    launcher: Vec<String>,
    environment: Vec<(String, String)>,
    aborts: bool,
    members: Vec<Member>,
    afflictions: Vec<Affliction>,
    logs: Vec<PathBuf>,
}

#[derive(Debug)]
struct Member {
    child: Option<Child>,
    holder: String,
    starts: u32,
    /// Its environment variables, at every start.
    environment: Vec<(String, String)>,
    /// Its only stage, if it works on one, at every start.
    only: Option<String>,
    seen_alive_at: DateTime<Utc>,
    /// Its end is expected.
    may_end: bool,
}

/// How long a process may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(60);
/// If a process was stopped during a renewal, that renewal may still get through this long after the process continued
/// and gave the leases up: no live holder is behind that heartbeat.
const LATE_RENEWALS: Duration = Duration::from_secs(1);
/// How long its threads may go on after SIGSTOP.
const STOP_WITHIN: Duration = Duration::from_secs(20);

impl Fleet {
    /// A fleet without processes. `program` is this suite's own command.
    pub fn new(program: PathBuf, folder: PathBuf, assignment: Assignment) -> Fleet {
        Fleet {
            program,
            folder,
            assignment,
            launcher: Vec::new(),
            environment: Vec::new(),
            aborts: false,
            members: Vec::new(),
            afflictions: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Later starts go through this program, for instance one that limits memory.
    pub fn launch_by(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|&word| word.to_owned()).collect();
    }

    /// Processes that are added from now on, and their replacements, have these environment variables.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// SIGABRT is an expected end from now on: some items abort their process.
    pub fn expect_aborts(&mut self) {
        self.aborts = true;
    }

    /// Later starts get this assignment.
    pub fn assignment_mut(&mut self) -> &mut Assignment {
        &mut self.assignment
    }

    /// How many processes there are, including dead ones.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The name under which a process claims.
    pub fn holder(&self, number: usize) -> &str {
        &self.members[number].holder
    }

    /// What a process has logged for people since its last start.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn said(&self, number: usize) -> Result<String> {
        let file = said_in(&self.folder, &self.members[number].holder);
        std::fs::read_to_string(&file).with_context(|| format!("the log {}", file.display()))
    }

    /// The id of a process while it lives.
    pub fn process_id(&self, number: usize) -> Option<u32> {
        self.members[number].child.as_ref().and_then(Child::id)
    }

    /// Starts this many more processes.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub fn start(&mut self, processes: usize) -> Result<()> {
        for _ in 0..processes {
            self.members.push(Member {
                child: None,
                holder: String::new(),
                starts: 0,
                environment: self.environment.clone(),
                only: self.assignment.only.clone(),
                seen_alive_at: Utc::now(),
                may_end: false,
            });
            self.start_again(self.members.len() - 1, None)?;
        }
        Ok(())
    }

    /// Replaces a process that ended; the new one may have a point at which it dies.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub fn start_again(&mut self, number: usize, kill_at: Option<KillAt>) -> Result<()> {
        let member = &mut self.members[number];
        member.starts += 1;
        member.holder = format!("worker-{number}.{}", member.starts);
        let log = self.folder.join(format!("{}.jsonl", member.holder));
        let said = std::fs::File::create(said_in(&self.folder, &member.holder))?;
        let assignment = Assignment {
            holder: member.holder.clone(),
            log: log.clone(),
            kill_at,
            only: member.only.clone(),
            ..self.assignment.clone()
        };
        let mut command = match self.launcher.split_first() {
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        let child = command
            .arg("worker")
            .arg(serde_json::to_string(&assignment)?)
            .envs(member.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        member.child = Some(child);
        member.seen_alive_at = Utc::now();
        member.may_end = false;
        self.logs.push(log);
        Ok(())
    }

    /// `kill -9`, and a new process in its place.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        self.signal(number, Signal::KILL);
        let killed_at = Utc::now();
        self.afflict(number, killed_at, None, Some(killed_at));
        let status = self.end_of(number).await?;
        self.check_end(number, status)?;
        self.start_again(number, None)
    }

    /// SIGTERM, waits for the end, and starts a new process in its place, which may have a point at which it dies.
    ///
    /// # Errors
    /// A process that does not end, or ends with an error, and one that cannot be started.
    pub async fn restart(&mut self, number: usize, kill_at: Option<KillAt>) -> Result<()> {
        self.ask_to_end(number);
        self.end_in_order(number).await?;
        self.start_again(number, kill_at)
    }

    /// Waits for the end of a process that was asked to end. It may have died first, at its planned point.
    async fn end_in_order(&mut self, number: usize) -> Result<()> {
        let status = self.end_of(number).await?;
        self.check_end(number, status)?;
        if !status.success() {
            let since = self.members[number].seen_alive_at;
            self.afflict(number, since, None, Some(Utc::now()));
        }
        Ok(())
    }

    /// SIGSTOP: the process continues only at [`Fleet::resume`].
    pub fn stop(&mut self, number: usize) -> DateTime<Utc> {
        let now = Utc::now();
        self.signal(number, Signal::STOP);
        now
    }

    /// SIGCONT, after a stop at this time.
    pub fn resume(&mut self, number: usize, stopped_at: DateTime<Utc>) {
        self.signal(number, Signal::CONT);
        self.afflict(number, stopped_at, Some(Utc::now() + LATE_RENEWALS), None);
    }

    /// SIGCONT after a stop that must take nothing from anyone: it explains no sweep.
    pub fn go_on(&mut self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    /// SIGTERM; the process is expected to end.
    pub fn ask_to_end(&mut self, number: usize) {
        self.members[number].may_end = true;
        self.signal(number, Signal::TERM);
    }

    /// Waits until every thread of a process has stopped: [`Fleet::stop`] only sends the signal.
    ///
    /// # Errors
    /// A process that goes on.
    pub async fn until_stopped(&self, number: usize) -> Result<()> {
        let until = Instant::now() + STOP_WITHIN;
        while self.process_id(number).is_some_and(|id| !all_threads_stand(id)) {
            ensure!(Instant::now() < until, "{} does not stop", self.members[number].holder);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until a process has ended.
    async fn end_of(&mut self, number: usize) -> Result<std::process::ExitStatus> {
        let member = &mut self.members[number];
        let Some(mut child) = member.child.take() else { anyhow::bail!("{} has ended before", member.holder) };
        let status = tokio::time::timeout(END_WITHIN, child.wait()).await;
        Ok(status.with_context(|| format!("{} does not end", member.holder))??)
    }

    /// Notes that one process, or all of them, were held up or cut off.
    pub fn note(&mut self, affliction: Affliction) {
        self.afflictions.push(affliction);
    }

    /// Replaces processes that ended unexpectedly. Returns how many there were.
    ///
    /// # Errors
    /// A process that cannot be started, or one that refuses to work.
    pub fn tend(&mut self) -> Result<usize> {
        let mut dead = 0;
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            let Some(child) = &mut member.child else { continue };
            let now = Utc::now();
            match child.try_wait()? {
                None => member.seen_alive_at = now,
                Some(_) if member.may_end => {}
                Some(status) => {
                    dead += 1;
                    let since = member.seen_alive_at;
                    member.child = None;
                    self.check_end(number, status)?;
                    self.afflict(number, since, None, Some(now));
                    self.start_again(number, None)?;
                }
            }
        }
        Ok(dead)
    }

    /// Asks every process to end, and waits for it.
    ///
    /// # Errors
    /// A process that does not end, or ends with an error.
    pub async fn end(&mut self) -> Result<()> {
        for number in 0..self.members.len() {
            if self.members[number].child.is_some() {
                self.ask_to_end(number);
            }
        }
        for number in 0..self.members.len() {
            if self.members[number].child.is_some() {
                self.end_in_order(number).await?;
            }
        }
        Ok(())
    }

    /// The suite's processes end when asked to, by a signal that the scene sends on purpose, or because all slots of a
    /// stage were leaked. Any other signal is a fault.
    fn check_end(&self, number: usize, status: std::process::ExitStatus) -> Result<()> {
        let Member { holder, may_end, .. } = &self.members[number];
        let said = std::fs::read_to_string(said_in(&self.folder, holder)).unwrap_or_default();
        let is_expected = match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::KILL) => true,
            // It was asked before it had begun to listen for the signal.
            Some(Signal::TERM) => *may_end,
            Some(Signal::ABORT) => self.aborts,
            Some(_) => false,
            None => (status.success() && *may_end) || said.contains("held by handlers that do not stop"),
        };
        ensure!(is_expected, "{holder} ended with {status}: {}", last_lines(&said));
        Ok(())
    }

    /// The logs of all processes.
    fn heard(&self) -> Result<Vec<Vec<Event>>> {
        self.logs.iter().filter(|file| file.exists()).map(|file| log::read(file)).collect()
    }

    /// The points at which processes really died, and when.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn deaths_at_points(&self) -> Result<Vec<(Point, DateTime<Utc>)>> {
        let dying = |event| match event {
            Event::Dying { point, at } => Some((point, at)),
            _ => None,
        };
        Ok(self.heard()?.into_iter().flatten().filter_map(dying).collect())
    }

    /// The wall clocks of the processes at their starts, with their names at that time.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn wall_clocks(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        let started = |event| match event {
            Event::Started { holder, wall_clock } => Some((holder, wall_clock)),
            _ => None,
        };
        Ok(self.heard()?.into_iter().flatten().filter_map(started).collect())
    }

    /// The logs of all processes that ever ran.
    pub fn logs(&self) -> &[PathBuf] {
        &self.logs
    }

    /// The harm done, and to whom.
    pub fn afflictions(&self) -> &[Affliction] {
        &self.afflictions
    }

    /// Sends a signal, if the process lives.
    pub fn signal(&mut self, number: usize, signal: Signal) {
        let pid = self.process_id(number).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A process that has just ended by itself cannot be signalled, and need not be.
            let _sent = kill_process(pid, signal);
        }
    }

    fn afflict(
        &mut self,
        number: usize,
        from: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        dead_by: Option<DateTime<Utc>>,
    ) {
        let holder = Some(self.members[number].holder.clone());
        self.afflictions.push(Affliction { holder, from, until, dead_by });
    }
}

/// Whether all threads of a process have stopped or died.
fn all_threads_stand(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task")) else { return true };
    threads.flatten().all(|thread| {
        let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it may contain anything, including brackets.
        state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// The file of a worker's log for people.
fn said_in(folder: &Path, holder: &str) -> PathBuf {
    folder.join(format!("{holder}.err"))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
