//! The place of the attacks: servers, fleets of worker processes, and scenes that combine both.

mod cluster;
mod fleet;
mod pgbouncer;
mod proxy;
mod scene;
mod small_disk;
mod url;

pub use cluster::Cluster;
pub use fleet::Fleet;
pub use pgbouncer::PgBouncer;
pub use proxy::Proxy;
pub use scene::{Cast, Round, Scene, Size};
pub use small_disk::SmallDisk;
