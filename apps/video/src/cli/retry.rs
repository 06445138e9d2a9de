//! `retry`: requeues videos that have stopped.

use std::process::ExitCode;

use anyhow::Result;
use rowlock::{Error, StageId, Status};
use rowlock_video::VideoStatus;
use rowlock_video::library::{Library, Videos};

use super::list::all_reports;
use super::{SOME_FAILED, in_words, print, print_error, table};

/// Without ids: all that have failed.
pub(crate) async fn retry<L: Library>(videos: &Videos<L>, library: &L, ids: Vec<String>) -> Result<ExitCode> {
    let ids = if ids.is_empty() {
        all_reports(library, Some(VideoStatus::Failed)).await?.into_iter().map(|report| report.video_id).collect()
    } else {
        ids
    };
    let mut refused = 0;
    for id in &ids {
        let moved = match stage_to_start_at(videos, library, id).await? {
            Some(stage) => videos.requeue_from(id.as_str(), stage).await,
            None => videos.requeue(id.as_str()).await,
        };
        match moved {
            Ok(to) => print(format_args!("{} is {}", table::shown(id), videos.pipeline().word(to)))?,
            Err(error @ (Error::NotFound { .. } | Error::IllegalMove { .. } | Error::Refused { .. })) => {
                print_error(format_args!("error: {}", in_words(&error.into())));
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    print(format_args!(
        "{} of {} videos are taken up again: `rowlock-video run` or `work` goes on",
        ids.len() - refused,
        ids.len()
    ))?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

/// Where the video stopped (`None`), unless the frames that EMBEDDING needs are gone.
async fn stage_to_start_at<L: Library>(videos: &Videos<L>, library: &L, id: &str) -> Result<Option<StageId>> {
    let resume = videos.explain(id).await?.and_then(|facts| facts.resume).and_then(Status::stage);
    let later = resume.is_some_and(|stage| stage != StageId::FIRST);
    Ok(if later && library.frames(id).await?.is_empty() { Some(StageId::FIRST) } else { None })
}
