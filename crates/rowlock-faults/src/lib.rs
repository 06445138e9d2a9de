//! The fault suite: what tries to break Rowlock's guarantees, and says how that went.
//!
//! A *scene* is one database with items in it and a fleet of worker processes; a *fault* does something bad to them;
//! the *auditor* then reads the database and each worker's own log and names whatever was lost or done twice.
//!
//! - `subject/`: what is attacked: the pipeline, the worker's process, its log
//! - `arena/`: where: servers, the fleet, the proxy, scenes
//! - `faults/`: how, one file a fault
//! - `audit/`: what came of it

pub mod arena;
pub mod audit;
pub mod faults;
pub mod garbage;
pub mod report;
pub mod subject;
