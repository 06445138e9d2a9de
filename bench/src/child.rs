//! A contender as a separate process: started, listened to, measured and dismissed.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::process;
use crate::protocol::{Answer, Line, Mark, Task};

/// A program that takes a contender's arguments.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// This program, by the contender's name.
    Own(&'static str),
    /// Another program, with the words at the beginning of its command line.
    Foreign(Vec<String>),
}

impl Program {
    /// The words of the command line, without those of the task.
    fn words(&self) -> Result<Vec<String>> {
        Ok(match self {
            Program::Own(contender) => {
                let own = std::env::current_exe()?.to_str().context("a path in UTF-8")?.to_owned();
                vec![own, "contend".to_owned(), (*contender).to_owned()]
            }
            Program::Foreign(words) => words.clone(),
        })
    }

    /// The command line of a task, without the database.
    pub(crate) fn command(&self, task: &Task) -> Result<Vec<String>> {
        Ok([self.words()?, arguments(task)?].concat())
    }
}

fn arguments(task: &Task) -> Result<Vec<String>> {
    let serde_json::Value::Object(fields) = serde_json::to_value(task)? else { bail!("a task is an object") };
    let mut words = Vec::new();
    for (name, value) in fields {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => words.extend([format!("--{name}"), text]),
            other => words.extend([format!("--{name}"), other.to_string()]),
        }
    }
    Ok(words)
}

/// A contender that runs.
pub(crate) struct Contender {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    name: String,
    /// CPU time that it had used at its mark.
    cpu_secs_at_begin: f64,
}

/// A contender's answer, and the resources that it used.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) answer: Answer,
    pub(crate) memory_peak_bytes: f64,
    pub(crate) cpu_secs: f64,
}

impl Contender {
    pub(crate) fn start(program: &Program, task: &Task) -> Result<Contender> {
        let words = program.command(task)?;
        let (first, rest) = words.split_first().context("a program")?;
        let mut child = Command::new(first)
            .args(rest)
            .args(["--database", &task.database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {words:?}"))?;
        let stdout = child.stdout.take().context("its output")?;
        Ok(Contender { child, lines: BufReader::new(stdout).lines(), name: words.join(" "), cpu_secs_at_begin: 0.0 })
    }

    /// The next mark; `None` once it has answered.
    pub(crate) async fn next(&mut self) -> Result<Result<Mark, Ended>> {
        let line = self.lines.next_line().await?.with_context(|| format!("{} ended without an answer", self.name))?;
        let line = serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", self.name))?;
        match line {
            Line::Mark { mark } => {
                if mark == Mark::Begin {
                    self.forget_what_it_took();
                }
                Ok(Ok(mark))
            }
            Line::Answer(answer) => Ok(Err(self.dismiss(answer).await?)),
        }
    }

    /// Lets it continue after a mark.
    pub(crate) async fn go_on(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("a process that waits")?;
        stdin.write_all(b"\n").await?;
        Ok(stdin.flush().await?)
    }

    /// Filling its tables is not measured.
    fn forget_what_it_took(&mut self) {
        let Some(pid) = self.child.id() else { return };
        process::reset_memory_peak(pid);
        self.cpu_secs_at_begin = process::cpu_secs(pid).unwrap_or(0.0);
    }

    /// A contender that has answered lives until its input ends, so that its resources can be read.
    async fn dismiss(&mut self, answer: Answer) -> Result<Ended> {
        let pid = self.child.id().context("a process that lives until it is dismissed")?;
        let memory_peak_bytes = process::memory_peak_bytes(pid).unwrap_or(f64::NAN);
        let cpu_secs = process::cpu_secs(pid).unwrap_or(f64::NAN) - self.cpu_secs_at_begin;
        drop(self.child.stdin.take());
        let status = self.child.wait().await?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(Ended { answer, memory_peak_bytes, cpu_secs })
    }
}
