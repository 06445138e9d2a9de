//! A child process that never outlives its purpose: separate process group, limits of time and memory, bounded stderr.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::error::MediaError;

/// The end of stderr that is kept: only the last line is needed, and a broken video can make ffmpeg complain about each
/// of its frames.
const MAX_STDERR_BYTES: usize = 16 * 1024;

/// The size of a read from stdout: a pipe's capacity on Linux.
const READ_BYTES: usize = 64 * 1024;

/// ffmpeg's own exit status after a signal that it handles asked it to stop.
const STOPPED_BY_SIGNAL: i32 = 255;

/// The limit of a child's address space: a film of 8192 by 4320 pixels with sixteen reference pictures needs half of
/// it.
pub(super) const MEMORY_MAX_BYTES: u64 = 2 << 30;

/// Limits memory, core dumps and files, and then becomes the program, unless its parent has already gone. A limit that
/// is lower than ours stays.
const CONFINE: &str = r#"test "$PPID" = "$1" || exit 1
ulimit -v "$2" 2>/dev/null
ulimit -c 0 2>/dev/null
ulimit -f 0 2>/dev/null
shift 2
exec "$@""#;

/// A program and its arguments.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// The program's input; `None` if it has none.
    pub(super) stdin: Option<File>,
    /// The whole time limit.
    pub(super) time_limit: Duration,
    /// The rest of it; other processes may have used some of it.
    pub(super) time_left: Duration,
    /// util-linux's `setpriv`, which makes the child die with this process.
    pub(super) setpriv: PathBuf,
}

/// How a child ended that was not killed.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) succeeded: bool,
    /// The end of its stderr.
    pub(super) stderr: Vec<u8>,
}

/// Runs the child to its end, and passes each piece of its stdout to `on_stdout`.
///
/// # Errors
/// As [`run_and_hear`].
pub(super) async fn run(invocation: &Invocation, on_stdout: impl FnMut(&[u8]) + Send) -> Result<Finished, MediaError> {
    run_and_hear(invocation, on_stdout, |_| false).await
}

/// Runs the child to its end, and passes each piece of its stdout to `on_stdout`, and each line of its stderr to
/// `takes_line`. Lines that it does not take are kept.
///
/// When the time limit passes, or when this future is dropped, the child's whole process group is killed with SIGKILL:
/// it must never go on reading and using processor time for work that another worker has taken over. Proven by
/// `a_dropped_call_leaves_no_process_of_its_group`.
///
/// If this process itself is killed with SIGKILL, it cannot do that any more: the kernel then kills the child, which
/// has asked for it. Proven by `a_silent_ffmpeg_dies_with_its_killed_worker`.
///
/// # Errors
/// [`MediaError::TimedOut`], [`MediaError::Crashed`], [`MediaError::Killed`], [`MediaError::Io`]; a child that ends by
/// itself with a failure is not an error here.
pub(super) async fn run_and_hear(
    invocation: &Invocation,
    on_stdout: impl FnMut(&[u8]) + Send,
    takes_line: impl FnMut(&str) -> bool + Send,
) -> Result<Finished, MediaError> {
    let program = || {
        let name = invocation.program.file_name().unwrap_or(invocation.program.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let mut group =
        ProcessGroup::spawn(invocation).map_err(|source| MediaError::Io { doing: "start ffmpeg", source })?;
    let finished = tokio::time::timeout(invocation.time_left, group.finish(on_stdout, takes_line)).await;
    let (status, stderr) = match finished {
        Ok(result) => result.map_err(|source| MediaError::Io { doing: "read from ffmpeg", source })?,
        Err(_) => return Err(MediaError::TimedOut { program: program(), limit: invocation.time_limit }),
    };
    match status.signal().map(Signal::from_named_raw) {
        Some(Some(
            Signal::ILL
            | Signal::ABORT
            | Signal::BUS
            | Signal::FPE
            | Signal::SEGV
            | Signal::SYS
            | Signal::TRAP
            | Signal::XFSZ,
        )) => return Err(MediaError::Crashed { program: program(), status: status.to_string() }),
        Some(_) => return Err(MediaError::Killed { program: program(), status: status.to_string() }),
        None if status.code() == Some(STOPPED_BY_SIGNAL) => {
            return Err(MediaError::Killed { program: program(), status: status.to_string() });
        }
        None => {}
    }
    Ok(Finished { succeeded: status.success(), stderr })
}

/// Kills the group when dropped, unless its leader has ended and was waited for.
struct ProcessGroup {
    leader: Child,
}

impl ProcessGroup {
    fn spawn(invocation: &Invocation) -> io::Result<Self> {
        let stdin = invocation.stdin.as_ref().map(File::try_clone).transpose()?;
        let leader = Command::new(&invocation.setpriv)
            .args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c", CONFINE, "sh"])
            .arg(std::process::id().to_string())
            .arg((MEMORY_MAX_BYTES / 1024).to_string())
            .arg(&invocation.program)
            .args(&invocation.arguments)
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate group, led by the child: its id is the child's.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { leader })
    }

    /// Reads both pipes to their ends and only then waits. Until the leader was waited for, its id cannot be given to
    /// another process, so that killing the group by it stays safe.
    async fn finish(
        &mut self,
        mut on_stdout: impl FnMut(&[u8]) + Send,
        takes_line: impl FnMut(&str) -> bool + Send,
    ) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
        let (Some(mut stdout), Some(stderr)) = (self.leader.stdout.take(), self.leader.stderr.take()) else {
            return Err(io::Error::other("the pipes of the child were taken before"));
        };
        let read_stdout = async {
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match stdout.read(&mut buffer).await? {
                    0 => return io::Result::Ok(()),
                    read => on_stdout(&buffer[..read]),
                }
            }
        };
        let ((), tail) = tokio::try_join!(read_stdout, read_tail(stderr, takes_line))?;
        Ok((self.leader.wait().await?, tail))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The id exists until the leader was waited for.
        let leader = self.leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // The only possible failure is that the group has ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn read_tail(stderr: ChildStderr, mut takes_line: impl FnMut(&str) -> bool + Send) -> io::Result<Vec<u8>> {
    let mut stderr = BufReader::new(stderr);
    let (mut tail, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        // A line without an end is cut into pieces.
        let read = (&mut stderr).take(MAX_STDERR_BYTES as u64).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(tail);
        }
        if !takes_line(String::from_utf8_lossy(&line).trim_end()) {
            tail.extend_from_slice(&line);
            tail.drain(..tail.len().saturating_sub(MAX_STDERR_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time_limit: Duration) -> Invocation {
        Invocation {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            stdin: None,
            time_limit,
            time_left: time_limit,
            setpriv: "setpriv".into(),
        }
    }

    const AMPLE: Duration = Duration::from_secs(60);

    /// Resolves when no process holds the write end of the pipe any more, that is, when the child and every process
    /// that it started are gone.
    async fn read_until_all_writers_are_gone(mut reader: tokio::net::unix::pipe::Receiver) {
        let mut rest = Vec::new();
        tokio::time::timeout(AMPLE, reader.read_to_end(&mut rest)).await.expect("a process survived").unwrap();
    }

    /// A shell that has started a second process, both holding the pipe at `fifo` open.
    fn two_sleepers(fifo: &std::path::Path, time_limit: Duration) -> Invocation {
        let script = format!("exec 9>'{}'; sleep 1000 & echo ready >&9; wait", fifo.display());
        shell(&script, time_limit)
    }

    fn make_fifo(folder: &tempfile::TempDir) -> (PathBuf, tokio::net::unix::pipe::Receiver) {
        let path = folder.path().join("alive");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&path).unwrap();
        (path, reader)
    }

    #[tokio::test]
    async fn a_dropped_call_leaves_no_process_of_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, mut reader) = make_fifo(&folder);
        let invocation = two_sleepers(&fifo, AMPLE);
        let call = tokio::spawn(async move { run(&invocation, |_| {}).await.map(|_| ()) });
        let mut ready = [0; 6];
        // An empty read means that the shell has not opened the pipe yet; readiness comes with it.
        tokio::time::timeout(AMPLE, async {
            let mut read = 0;
            while read < ready.len() {
                match reader.read(&mut ready[read..]).await.unwrap() {
                    0 => tokio::task::yield_now().await,
                    more => read += more,
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(&ready, b"ready\n");
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        read_until_all_writers_are_gone(reader).await;
    }

    #[tokio::test]
    async fn the_time_limit_kills_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, reader) = make_fifo(&folder);
        let error = run(&two_sleepers(&fifo, Duration::from_millis(300)), |_| {}).await.unwrap_err();
        assert!(matches!(error, MediaError::TimedOut { .. }), "{error:?}");
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "sh did not finish within 300ms and was killed");
        read_until_all_writers_are_gone(reader).await;
    }

    #[tokio::test]
    async fn a_killed_child_is_a_transient_error() {
        let error = run(&shell("kill -9 $$", AMPLE), |_| {}).await.unwrap_err();
        assert!(matches!(error, MediaError::Killed { .. }), "{error:?}");
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn a_crashed_child_is_told_from_one_that_somebody_killed() {
        let error = run(&shell("kill -SEGV $$", AMPLE), |_| {}).await.unwrap_err();
        assert!(matches!(error, MediaError::Crashed { .. }), "{error:?}");
        assert!(error.is_the_files_own_when_repeated());
    }

    #[tokio::test]
    async fn a_child_gets_no_more_memory_than_the_limit_and_writes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("written");
        let script = format!("ulimit -v; ulimit -f; ulimit -c; trap '' XFSZ; echo more >'{}'", file.display());
        let mut stdout = Vec::new();
        run(&shell(&script, AMPLE), |bytes| stdout.extend_from_slice(bytes)).await.unwrap();
        assert_eq!(String::from_utf8(stdout).unwrap(), format!("{}\n0\n0\n", MEMORY_MAX_BYTES / 1024));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn stderr_is_bounded_and_keeps_its_end() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo complaint $i >&2; i=$((i+1)); done; echo done; exit 3";
        let mut stdout = Vec::new();
        let finished = run(&shell(script, AMPLE), |bytes| stdout.extend_from_slice(bytes)).await.unwrap();
        assert!(!finished.succeeded);
        assert_eq!(stdout, b"done\n");
        assert_eq!(finished.stderr.len(), MAX_STDERR_BYTES);
        assert!(finished.stderr.ends_with(b"complaint 19999\n"));
    }
}
