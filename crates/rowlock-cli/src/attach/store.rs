//! What `attach` and `detach` ask of a store of either database.

use rowlock::Store;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::store::{AttachEvent, AttachStep, DetachPlan, Proof};

/// Receives what happens while a plan runs.
pub(crate) type Tell<'a> = dyn FnMut(AttachEvent<'_>) + Send + 'a;

/// A store that can be attached to its table.
pub(crate) trait Attachable: Store {
    async fn proof(&self) -> rowlock::Result<Proof>;

    async fn steps_to_attach(&self) -> rowlock::Result<Vec<AttachStep>>;

    async fn run_attach(&self, tell: &mut Tell<'_>) -> rowlock::Result<()>;

    /// Rows in progress under no lease of Rowlock's.
    async fn count_unleased(&self) -> rowlock::Result<i64>;

    async fn plan_to_detach(&self) -> rowlock::Result<DetachPlan>;

    async fn run_detach(&self, tell: &mut Tell<'_>) -> rowlock::Result<()>;
}

macro_rules! attachable {
    ($store:ty) => {
        impl Attachable for $store {
            async fn proof(&self) -> rowlock::Result<Proof> {
                self.prove().await
            }

            async fn steps_to_attach(&self) -> rowlock::Result<Vec<AttachStep>> {
                self.attach_plan().await
            }

            async fn run_attach(&self, tell: &mut Tell<'_>) -> rowlock::Result<()> {
                self.attach(tell).await
            }

            async fn count_unleased(&self) -> rowlock::Result<i64> {
                self.unleased().await
            }

            async fn plan_to_detach(&self) -> rowlock::Result<DetachPlan> {
                self.detach_plan().await
            }

            async fn run_detach(&self, tell: &mut Tell<'_>) -> rowlock::Result<()> {
                self.detach(tell).await
            }
        }
    };
}

attachable!(PostgresStore);
attachable!(SqliteStore);
