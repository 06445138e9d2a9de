//! The image model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tract_onnx::prelude::*;

use super::vector::{EMBEDDING_NUMBERS, Embedding, WrongEmbedding};
use crate::media::{FRAME_SIDE_PX, Frame};

/// Names the model file, for a program that does not run in its checkout.
const MODEL_VARIABLE: &str = "ROWLOCK_VIDEO_MODEL";

/// The scaling with which the network was trained: (value − 127) / 128 for each colour.
const INPUT_CENTRE: f32 = 127.0;
const INPUT_SCALE: f32 = 128.0;

/// Why a video has no embedding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// The model file does not exist. Found at start-up.
    #[error("the image model is missing at {}: run `make setup`, or name its file in {MODEL_VARIABLE}", path.display())]
    ModelMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The model file is not the right one. Found at start-up.
    #[error("the image model at {} cannot be used: delete it and run `make setup`", path.display())]
    ModelUnusable {
        /// Where it is.
        path: PathBuf,
        /// The runtime's message.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The model did not run on a frame.
    #[error("the image model failed")]
    Run {
        /// The runtime's message.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The frames gave no vector: there were none, or the model returned nothing but zeros.
    #[error(transparent)]
    Vector(#[from] WrongEmbedding),
}

/// The path of the model: the file that `ROWLOCK_VIDEO_MODEL` names, or else `.local/model/efficientnet-lite0.onnx` in
/// the checkout from which this program was built.
pub fn model_path() -> PathBuf {
    std::env::var_os(MODEL_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local/model/efficientnet-lite0.onnx"),
        PathBuf::from,
    )
}

/// The image model, ready to run. Cheap to clone, and shared between threads.
#[derive(Clone)]
pub struct Embedder {
    model: Arc<TypedRunnableModel>,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedder")
    }
}

impl Embedder {
    /// Loads and optimises the model, usually the one at [`model_path`]. Takes some tenths of a second;
    /// call it once, before anything is claimed.
    ///
    /// # Errors
    /// The file is missing, broken or another model; the text says what to run.
    pub fn load(path: &Path) -> Result<Self, EmbeddingError> {
        if !path.is_file() {
            return Err(EmbeddingError::ModelMissing { path: path.to_path_buf() });
        }
        let model = load(path)
            .map_err(|error| EmbeddingError::ModelUnusable { path: path.to_path_buf(), source: error.into() })?;
        Ok(Self { model })
    }

    /// The embedding of a video: the mean of its frames' features, scaled to length 1.
    ///
    /// Blocks the thread for one run of the model for each frame: call it through `spawn_blocking`.
    ///
    /// # Errors
    /// No frames, or the model fails; neither changes when repeated.
    pub fn embed(&self, frames: &[Frame]) -> Result<Embedding, EmbeddingError> {
        let features = frames.iter().map(|frame| self.features(frame)).collect::<Result<Vec<_>, _>>()?;
        Ok(Embedding::mean_of(&features)?)
    }

    /// The 1280 features of one frame, as the model gives them. Blocks like [`embed`](Self::embed).
    ///
    /// # Errors
    /// The model fails.
    pub fn features(&self, frame: &Frame) -> Result<Vec<f32>, EmbeddingError> {
        // One frame at a time: tract takes longer for eight at once than for eight in turn.
        self.run(frame).map_err(|error| EmbeddingError::Run { source: error.into() })
    }

    fn run(&self, frame: &Frame) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[1, 3, FRAME_SIDE_PX, FRAME_SIDE_PX], &planes(frame))?;
        let output = self.model.run(tvec!(input.into()))?;
        Ok(output[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }
}

fn load(path: &Path) -> TractResult<Arc<TypedRunnableModel>> {
    let model = tract_onnx::onnx()
        .model_for_path(path)?
        .with_input_fact(0, f32::fact([1, 3, FRAME_SIDE_PX, FRAME_SIDE_PX]).into())?
        .into_optimized()?;
    let output = model.output_fact(0)?.shape.as_concrete();
    if output != Some(&[1, EMBEDDING_NUMBERS]) {
        return Err(TractError::msg(format!("its output is {output:?} and not [1, {EMBEDDING_NUMBERS}]")));
    }
    model.into_runnable()
}

/// All reds, then all greens, then all blues, scaled as the network expects them.
fn planes(frame: &Frame) -> Vec<f32> {
    let rgb = frame.as_rgb24();
    (0..3)
        .flat_map(|colour| rgb.iter().skip(colour).step_by(3))
        .map(|value| (f32::from(*value) - INPUT_CENTRE) / INPUT_SCALE)
        .collect()
}
