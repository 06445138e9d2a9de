//! `similar`: which videos look alike.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock_video::embedding::{Similar, most_similar};
use rowlock_video::library::{EmbeddedVideo, Library, path_json};

use super::table::{file_name, keep_ids_whole, named, table};
use super::{print, print_json};

/// The number that is shown for one video without `--top`.
const TOP_OF_ONE: usize = 5;

/// The number that is shown for each video with `--all`.
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
    let embeddings: Vec<_> = all.iter().map(|video| &video.embedding).collect();
    let similar = most_similar(&embeddings, &targets, top);
    let answers: Vec<_> = targets.iter().map(|target| &all[*target]).zip(similar).collect();
    if json {
        let entry = |video: &EmbeddedVideo, more: (&str, serde_json::Value)| {
            let mut entry = path_json(video.path.as_deref());
            entry.insert("video_id".to_owned(), video.video_id.clone().into());
            entry.insert(more.0.to_owned(), more.1);
            serde_json::Value::Object(entry)
        };
        let neighbour = |similar: &Similar| entry(&all[similar.index], ("cosine", similar.cosine.into()));
        let answer = |(video, similar): &(&EmbeddedVideo, Vec<Similar>)| {
            entry(video, ("similar", similar.iter().map(neighbour).collect()))
        };
        print_json(&answers.iter().map(answer).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(["video", "looks like", "cosine"]);
    for (video, similar) in &answers {
        for similar in similar {
            let other = &all[similar.index];
            let name = file_name(video.path.as_deref(), &video.video_id);
            rows.add_row([name, named(other.path.as_deref(), &other.video_id), format!("{:.4}", similar.cosine)]);
        }
    }
    keep_ids_whole(&mut rows, 1, all.iter().map(|video| video.video_id.as_str()));
    if rows.is_empty() {
        print(format_args!("there is nothing to compare yet"))?;
    } else {
        print(format_args!("{rows}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
