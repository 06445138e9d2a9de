//! The vectors are the right ones, and they tell videos apart.

use std::fs;
use std::path::Path;

use rowlock_video::embedding::{Embedder, Embedding, EmbeddingError, most_similar};
use rowlock_video::media::{FRAME_SIDE_PX, Frame};
use serde::Deserialize;

use crate::clips::{CLIPS, clip, embedder, probe_and_extract};

/// What `scripts/model/reference.py` computed from the weights, with no code in common.
#[derive(Deserialize)]
struct Reference {
    frames: Vec<ReferenceFrame>,
    embedding: Vec<f64>,
}

#[derive(Deserialize)]
struct ReferenceFrame {
    seed: u32,
    sum: u64,
    pooled: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../fixtures/reference.json")).unwrap()
}

/// The same picture as `picture` in `scripts/model/reference.py`.
fn picture(seed: u32) -> Frame {
    let side = u32::try_from(FRAME_SIDE_PX).unwrap();
    let mut state = seed;
    let mut rgb = Vec::new();
    for y in 0..side {
        for x in 0..side {
            for channel in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 24) % 32;
                let block = ((x / (16 + 8 * seed)) * 37 + (y / (12 + 4 * seed)) * 59 + channel * 83) * seed;
                let slope = (x * (channel + 1) + y * (3 - channel)) / 4;
                rgb.push(u8::try_from((block % 128 + slope % 96 + noise) % 256).unwrap());
            }
        }
    }
    Frame::from_rgb24(rgb).unwrap()
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    let length_a = a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
    let length_b = b.iter().map(|b| b.powi(2)).sum::<f64>().sqrt();
    dot / (length_a * length_b)
}

#[test]
fn the_model_gives_the_reference_vectors() {
    let (embedder, reference) = (embedder(), reference());
    let mut frames = Vec::new();
    for expected in &reference.frames {
        let frame = picture(expected.seed);
        let sum: u64 = frame.as_rgb24().iter().map(|value| u64::from(*value)).sum();
        assert_eq!(sum, expected.sum, "this is another picture than the reference's");
        let features = embedder.features(&frame).unwrap();
        assert_eq!(features.len(), expected.pooled.len());
        assert!(cosine(&features, &expected.pooled) >= 0.999_99);
        for (index, (a, b)) in features.iter().zip(&expected.pooled).enumerate() {
            assert!((f64::from(*a) - b).abs() < 1e-3, "feature {index}: {a} and not {b}");
        }
        frames.push(frame);
    }
    let embedding = embedder.embed(&frames).unwrap();
    let similarity = cosine(embedding.as_slice(), &reference.embedding);
    println!("cosine to the reference: {similarity:.9}");
    assert!(similarity >= 0.999);
}

#[test]
fn no_frames_give_no_embedding() {
    assert!(matches!(embedder().embed(&[]), Err(EmbeddingError::Vector(_))));
}

#[test]
fn a_missing_model_is_refused_with_what_to_run() {
    let error = Embedder::load(Path::new("/nowhere/model.onnx")).unwrap_err();
    assert!(error.to_string().contains("run `make setup`"), "{error}");
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, "not a model").unwrap();
    let error = Embedder::load(&path).unwrap_err();
    assert!(matches!(error, EmbeddingError::ModelUnusable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_distorted_clip_is_the_nearest_to_the_pristine_one() {
    let embedder = embedder();
    let mut videos: Vec<(&str, Embedding)> = Vec::new();
    for name in CLIPS {
        let frames = probe_and_extract(&clip(name)).await.unwrap().1.frames;
        videos.push((name, embedder.embed(&frames).unwrap()));
    }
    for (from, to) in [("carphone_pristine", "carphone_distorted"), ("carphone_distorted", "carphone_pristine")] {
        let position = videos.iter().position(|(name, _)| *name == from).unwrap();
        let all: Vec<&Embedding> = videos.iter().map(|(_, vector)| vector).collect();
        let similar = most_similar(&all, &[position], 3).remove(0);
        println!("{from}: {similar:?}");
        assert_eq!(videos[similar[0].index].0, to);
    }
}
