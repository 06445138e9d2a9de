//! One vector for each video, and which videos look alike.
//!
//! The image model is EfficientNet-Lite0 without its classifier, in ONNX, run in pure Rust. It is not in the
//! repository: `scripts/fetch-model` downloads and converts it.

mod model;
mod similar;
mod vector;

pub use model::{Embedder, EmbeddingError, model_path};
pub use similar::{Similar, most_similar};
pub use vector::{EMBEDDING_NUMBERS, Embedding, WrongEmbedding};
