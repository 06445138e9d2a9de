//! The fault suite: tries to break Rowlock's guarantees, and reports the outcome.
//!
//! A *scene* is one database with items in it and a fleet of worker processes; a *fault* does harm to them; the
//! *auditor* then reads the database and each worker's own log, and names everything that was lost or done twice.
//!
//! - `subject/`: what is attacked: the pipeline, the worker's process, its log
//! - `arena/`: where: servers, the fleet, the proxy, scenes
//! - `faults/`: how, one file for each fault
//! - `audit/`: the outcome

pub mod arena;
pub mod audit;
pub mod faults;
pub mod garbage;
pub mod report;
pub mod subject;
