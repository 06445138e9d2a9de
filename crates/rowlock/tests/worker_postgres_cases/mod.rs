//! What a worker meets on PostgreSQL alone: read-only servers, connections that no longer hear, numbers of connections.

mod connections;
mod hearing;
mod read_only;
mod way;
