//! The file of the queue is moved away, or another one replaces it, while workers have it open: each worker reports it
//! within a sweep, nothing of the queue is written anywhere else, no new file appears in its place, and the first file
//! has every row when it is back.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::Utc;

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::report::Verdict;
use crate::subject::{Database, pipeline};

/// A sweep checks the file, and comes every tenth of this.
const STALE_AFTER: Duration = Duration::from_secs(3);

/// How soon every worker must have reported that the file is not the one that it opened: a look a second, and a sweep.
/// A short round shares the machine with others.
const SAID_WITHIN: Duration = Duration::from_secs(3);
const SAID_WITHIN_IN_A_CROWD: Duration = Duration::from_secs(20);

/// How long a worker is waited for that has not noticed that its file is back. Whether it ever does, the auditor sees.
const WORKS_AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// How long it stays that way once all workers have reported it.
const AWAY_MS: RangeInclusive<u64> = 100..=4_000;

/// The item of the other file.
const OTHERS_ITEM: &str = "another";

/// The harm done to the file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// It is moved away with its log, and nothing replaces it.
    Moved,
    /// It is moved away with its log, and another file replaces it.
    Replaced,
    /// Another file is renamed over it, as when a copy is restored, and its log is left beside that.
    RestoredOver,
}

const HARMS: [Harm; 3] = [Harm::Moved, Harm::Replaced, Harm::RestoredOver];

impl Harm {
    /// What a worker reports about it.
    fn said(self) -> &'static str {
        match self {
            Harm::Moved => "deleted or moved",
            Harm::Replaced | Harm::RestoredOver => "replaced by another file",
        }
    }
}

/// The files of the scene, and the places to which they are moved.
struct Place {
    file: PathBuf,
    away: PathBuf,
    other: PathBuf,
}

impl Place {
    fn in_folder(folder: &Path) -> Result<Place> {
        let place = |name: &str| -> Result<PathBuf> {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
            Ok(folder.join("items.sqlite"))
        };
        Ok(Place { file: folder.join("items.sqlite"), away: place("away")?, other: place("other")? })
    }

    fn harm(&self, harm: Harm) -> Result<()> {
        match harm {
            Harm::Moved => self.move_away(),
            Harm::Replaced => {
                self.move_away()?;
                std::fs::hard_link(&self.other, &self.file).context("another file in its place")
            }
            Harm::RestoredOver => {
                std::fs::hard_link(&self.file, &self.away).context("a name by which it stays")?;
                // A separate name, which is the one that is moved.
                let copy = self.other.with_extension("copy");
                std::fs::hard_link(&self.other, &copy)?;
                std::fs::rename(copy, &self.file).context("another file over it")
            }
        }
    }

    /// The file first: a process that opens it finds nothing, or all of it.
    fn move_away(&self) -> Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            rename_if_there(&with_suffix(&self.file, suffix), &with_suffix(&self.away, suffix))?;
        }
        Ok(())
    }

    /// Restores the file; returns what was in its place although nothing should be there.
    fn mend(&self, harm: Harm) -> Result<Vec<String>> {
        let mut found = Vec::new();
        match harm {
            Harm::Moved => {
                let grown = ["", "-wal", "-shm"].map(|suffix| with_suffix(&self.file, suffix));
                found.extend(
                    grown.iter().filter(|name| name.exists()).map(|name| format!("{} has grown", name.display())),
                );
            }
            Harm::Replaced => {
                // A process that took the other file for the queue has left a log beside it.
                for suffix in ["-wal", "-shm"] {
                    rename_if_there(&with_suffix(&self.file, suffix), &with_suffix(&self.other, suffix))?;
                }
            }
            Harm::RestoredOver => {}
        }
        if !matches!(harm, Harm::RestoredOver) {
            for suffix in ["-wal", "-shm"] {
                rename_if_there(&with_suffix(&self.away, suffix), &with_suffix(&self.file, suffix))?;
            }
        }
        std::fs::rename(&self.away, &self.file).context("the file back in its place")?;
        Ok(found)
    }
}

fn rename_if_there(from: &Path, to: &Path) -> Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} as {}", from.display(), to.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { stale_after: STALE_AFTER, ..Cast::default() };
    let mut scene = Scene::on_file(round, cast).await?;
    let place = Place::in_folder(&round.folder)?;
    make_other(&scene, &place.other).await?;
    scene.start()?;
    // They have opened the file.
    scene.pause(500..=1_000).await?;
    let mut found = Vec::new();
    for number in 0..scene.few_injections_wanted() {
        if !scene.is_busy_after(300..=1_500).await? {
            break;
        }
        scene.injected();
        let from = Utc::now();
        let harm = HARMS[number % HARMS.len()];
        let said_before = said(&scene)?;
        place.harm(harm)?;
        found.extend(until_everybody_says_so(&mut scene, harm, &said_before, round.size.is_long).await?);
        scene.pause(AWAY_MS).await?;
        found.extend(place.mend(harm)?);
        found.extend(not_as_it_was(&place.other).await?);
        until_everybody_works_again(&mut scene).await?;
        scene.afflicted_all_since(from);
    }
    let mut verdict = scene.drain_and_judge().await?;
    found.extend(damage(&place.file).await?);
    verdict.violations.extend(found);
    Ok(verdict)
}

/// A file with the same tables and one different item.
async fn make_other(scene: &Scene, file: &Path) -> Result<()> {
    let url = format!("sqlite://{}", file.display());
    let other = Database::lazy(&url)?;
    other.prepare(&url, pipeline(scene.cast.stale_after, scene.cast.timeout)?).await?;
    other.execute(format!("insert into items (id) values ('{OTHERS_ITEM}')")).await?;
    other.close().await;
    Ok(())
}

/// How much each process has logged.
fn said(scene: &Scene) -> Result<Vec<usize>> {
    (0..scene.fleet.len()).map(|number| scene.fleet.said(number).map(|text| text.len())).collect()
}

/// Waits until every process has reported the harm to the file; names those that were late.
async fn until_everybody_says_so(
    scene: &mut Scene,
    harm: Harm,
    said_before: &[usize],
    has_the_machine: bool,
) -> Result<Vec<String>> {
    let within = if has_the_machine { SAID_WITHIN } else { SAID_WITHIN_IN_A_CROWD };
    let until = Instant::now() + within;
    let mut silent: Vec<usize> = (0..scene.fleet.len()).collect();
    while !silent.is_empty() && Instant::now() < until {
        scene.pause(50..=50).await?;
        let mut still = Vec::new();
        for number in silent {
            let text = scene.fleet.said(number)?;
            let is_silent = !text.get(said_before[number]..).is_some_and(|new| new.contains(harm.said()));
            still.extend(is_silent.then_some(number));
        }
        silent = still;
    }
    let late =
        |number| format!("{} did not say within {within:?} that its file was {harm:?}", scene.fleet.holder(number));
    Ok(silent.into_iter().map(late).collect())
}

/// Waits until every process has noticed that the file is back: one for which a verb still fails says nothing of the
/// next harm. All want to write at once, and on a busy machine one of them may have to wait for long.
async fn until_everybody_works_again(scene: &mut Scene) -> Result<()> {
    let until = Instant::now() + WORKS_AGAIN_WITHIN;
    for number in 0..scene.fleet.len() {
        while is_failing(&scene.fleet.said(number)?) && Instant::now() < until {
            scene.pause(50..=50).await?;
        }
    }
    scene.pause(500..=500).await
}

/// Whether a verb that a worker calls all the time failed at its last call that the log mentions.
fn is_failing(log: &str) -> bool {
    ["claim", "sweep", "renew"].iter().any(|verb| {
        let last = |what: &str| log.rfind(&format!("{what} what=\"{verb}\""));
        last("failed; will be tried again") > last("works again")
    })
}

/// The other file is unchanged: no process took it for the queue.
async fn not_as_it_was(other: &Path) -> Result<Vec<String>> {
    let database = Database::lazy(&format!("sqlite://{}", other.display()))?;
    let untouched = format!(
        "select (select count(*) from items where id = '{OTHERS_ITEM}' and status = 'PENDING' and claimed_by is null) \
         - (select count(*) from items where id <> '{OTHERS_ITEM}') - (select count(*) from effects)"
    );
    let is_as_it_was = database.number(untouched).await.is_ok_and(|count| count == 1);
    database.close().await;
    let damaged = damage(other).await?;
    let touched = (!is_as_it_was).then(|| "the other file was written to".to_owned());
    Ok(touched.into_iter().chain(damaged).collect())
}

/// What SQLite reports about a file that is damaged.
async fn damage(file: &Path) -> Result<Option<String>> {
    let database = Database::lazy(&format!("sqlite://{}", file.display()))?;
    let Database::Sqlite(pool) = &database else { return Ok(None) };
    let said: String = sqlx::query_scalar("pragma integrity_check").fetch_one(pool).await?;
    database.close().await;
    Ok((said != "ok").then(|| format!("{} is damaged: {said}", file.display())))
}
