//! What a worker meets on PostgreSQL alone: servers that may only be read, connections that hear nothing, numbers of them.

mod connections;
mod hearing;
mod read_only;
mod way;
