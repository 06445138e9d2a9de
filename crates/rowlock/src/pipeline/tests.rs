//! The rules of the builder and of the moves.
