//! The database's clock jumps forward by hours, or back, while every worker is alive: the machine was suspended, or its
//! clock was set. Handlers work all the time, and nothing may be taken back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Arena, clocks};
use crate::arena::{Cast, Cluster, Round, Scene};
use crate::report::Verdict;

/// Items that keep their holder busy when the clock jumps: one in this many, and for how long.
const LONG_ITEM_EVERY: usize = 8;
const LONG_WORK_MS: u32 = 2_000;

/// A sweep comes every tenth of `stale_after`, and the workers have dealt with a step after a third of it.
const STALE_AFTER: Duration = Duration::from_secs(6);

/// By how many hours the clock jumps, one step after the other. Items that were inserted meanwhile are in the future
/// after a step back, and due again after the next one.
const STEPS_HOURS: [i64; 3] = [3, -1, 2];

/// A wall clock that can be set. The monotonic clock of the processes under it goes on undisturbed: that is the effect
/// of a suspend.
struct Clock {
    file: PathBuf,
    ahead_hours: i64,
}

impl Clock {
    fn in_folder(folder: &Path) -> Result<Clock> {
        let mut clock = Clock { file: folder.join("clock"), ahead_hours: 0 };
        clock.step(0)?;
        Ok(clock)
    }

    /// Environment variables for a process and its children.
    fn environment(&self) -> Result<Vec<(String, String)>> {
        let library = clocks::library().context("libfaketime is not installed")?;
        let all = [
            ("LD_PRELOAD", library.to_string_lossy()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_string_lossy()),
            ("FAKETIME_NO_CACHE", "1".into()),
        ];
        Ok(all.map(|(name, value)| (name.to_owned(), value.into_owned())).to_vec())
    }

    /// Sets the clock; a reader of the file sees all of the new time or none.
    fn step(&mut self, hours: i64) -> Result<()> {
        self.ahead_hours += hours;
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{:+}h\n", self.ahead_hours))?;
        std::fs::rename(&new, &self.file).context("the clock's file")
    }
}

/// A machine with its file and all of its workers is suspended.
pub(super) async fn suspend(_: &Arena, round: &Round) -> Result<Verdict> {
    let clock = Clock::in_folder(&round.folder)?;
    let mut scene = Scene::on_file(round, cast()).await?;
    for (name, value) in clock.environment()? {
        scene.fleet.set_environment(&name, &value);
    }
    // A clock that was only ever set forward.
    attack(scene, clock, &[2]).await
}

/// The clock of a server is set, but not those of its workers.
pub(super) async fn server_clock(_: &Arena, round: &Round) -> Result<Verdict> {
    // The server does not run as root, and must be able to read the file.
    let folder = tempfile::tempdir().context("a temporary folder")?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let clock = Clock::in_folder(folder.path())?;
    let server = Cluster::start_under(clock.environment()?).await?;
    let scene = Scene::on_server(round, &server.url, cast(), str::to_owned).await?;
    attack(scene, clock, &STEPS_HOURS).await
}

fn cast() -> Cast {
    Cast { stale_after: STALE_AFTER, slots: 24, ..Cast::default() }
}

async fn attack(mut scene: Scene, mut clock: Clock, steps_hours: &[i64]) -> Result<Verdict> {
    scene.the_living_keep_their_leases = true;
    scene.lengthen_every(LONG_ITEM_EVERY, LONG_WORK_MS).await?;
    scene.start()?;
    // All of them have asked for the time once.
    scene.pause(1_000..=1_500).await?;
    for hours in (0..scene.few_injections_wanted()).map(|number| steps_hours[number % steps_hours.len()]) {
        // Within an interval of the last step, or after it: neither may matter.
        if !scene.is_busy_after(500..=2_500).await? {
            break;
        }
        scene.injected();
        clock.step(hours)?;
    }
    // Items that were inserted before a step back become due again.
    clock.step(24)?;
    let mut verdict = scene.drain_and_judge().await?;
    // Times before and after a step cannot be compared.
    verdict.recovery_ms.clear();
    Ok(verdict)
}
