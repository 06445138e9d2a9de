//! `similar`: which videos look alike.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock_video::embedding::{Similar, most_similar};
use rowlock_video::library::{EmbeddedVideo, Library};
use serde_json::json;

use super::print_json;
use super::table::{file_name, table};

/// Shown for one video unless `--top` says otherwise.
const TOP_OF_ONE: usize = 5;

/// Shown for each video with `--all`.
const TOP_OF_EACH: usize = 1;

pub(crate) async fn similar<L: Library>(
    library: &L,
    id: Option<&str>,
    top: Option<usize>,
    json: bool,
) -> Result<ExitCode> {
    let all = library.embeddings().await?;
    let targets: Vec<usize> = match id {
        None => (0..all.len()).collect(),
        Some(id) => {
            let position = all.iter().position(|video| video.video_id == id);
            vec![position.with_context(|| {
                format!("no video {id:?} has been embedded: `rowlock-video list` shows the ids and how far they are")
            })?]
        }
    };
    let top = top.unwrap_or(if id.is_some() { TOP_OF_ONE } else { TOP_OF_EACH });
    let answers: Vec<_> = targets.into_iter().map(|target| (&all[target], nearest(&all, target, top))).collect();
    if json {
        let neighbour = |similar: &Similar<usize>| {
            json!({
                "video_id": all[similar.key].video_id,
                "path": all[similar.key].path,
                "cosine": similar.cosine,
            })
        };
        let answer = |(video, similar): &(&EmbeddedVideo, Vec<Similar<usize>>)| {
            json!({
                "video_id": video.video_id,
                "path": video.path,
                "similar": similar.iter().map(neighbour).collect::<Vec<_>>(),
            })
        };
        print_json(&answers.iter().map(answer).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(["video", "looks like", "id", "cosine"]);
    for (video, similar) in &answers {
        for similar in similar {
            let other = &all[similar.key];
            rows.add_row([name(video), name(other), other.video_id.clone(), format!("{:.4}", similar.cosine)]);
        }
    }
    if rows.is_empty() {
        println!("there is nothing to compare yet");
    } else {
        println!("{rows}");
    }
    Ok(ExitCode::SUCCESS)
}

fn nearest(all: &[EmbeddedVideo], target: usize, top: usize) -> Vec<Similar<usize>> {
    let others = all.iter().enumerate().filter(|(index, _)| *index != target);
    most_similar(&all[target].embedding, others.map(|(index, video)| (index, &video.embedding)), top)
}

fn name(video: &EmbeddedVideo) -> String {
    file_name(video.path.as_deref(), &video.video_id)
}
