//! The user's handlers, and how one run of a handler ends.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use smallvec::smallvec;

use super::Context;
use super::context::Stateless;
use super::execution::OfRun;
use crate::decoding::panic_words;
use crate::{Claim, Failure, Handled, Store};

type One<S, R> = dyn Fn(Stateless<S, R>, Claim<R>) -> BoxFuture<'static, Result<Handled, Failure>> + Send + Sync;
type Batch<S, R> =
    dyn Fn(Stateless<S, R>, Vec<Claim<R>>) -> BoxFuture<'static, Vec<Result<Handled, Failure>>> + Send + Sync;

/// The handler of a stage.
pub(crate) enum Handler<S: Store, R> {
    /// One item at a time: a run has one item.
    One(Box<One<S, R>>),
    /// Up to `size` items at a time, with one result for each, in order.
    Batch { size: usize, handle: Box<Batch<S, R>> },
}

impl<S: Store, R: Send + 'static> Handler<S, R> {
    /// The handler's context gets the state here, so that nothing else in the worker has to know its type.
    pub(crate) fn one<F, Fut, O, T>(state: Arc<T>, handler: F) -> Handler<S, R>
    where
        F: Fn(Context<S, R, T>, Claim<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
        O: Into<Handled>,
        T: Send + Sync + 'static,
    {
        Handler::One(Box::new(move |context, claim| {
            let work = handler(context.with_state(Arc::clone(&state)), claim);
            Box::pin(async move { work.await.map(Into::into) })
        }))
    }

    pub(crate) fn batch<F, Fut, O, T>(size: usize, state: Arc<T>, handler: F) -> Handler<S, R>
    where
        F: Fn(Context<S, R, T>, Vec<Claim<R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Result<O, Failure>>> + Send + 'static,
        O: Into<Handled>,
        T: Send + Sync + 'static,
    {
        let handle = move |context: Stateless<S, R>, claims| -> BoxFuture<'static, Vec<Result<Handled, Failure>>> {
            let work = handler(context.with_state(Arc::clone(&state)), claims);
            Box::pin(async move { work.await.into_iter().map(|result| result.map(Into::into)).collect() })
        };
        Handler::Batch { size, handle: Box::new(handle) }
    }

    /// The largest number of items that one run takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Handler::One(_) => 1,
            Handler::Batch { size, .. } => *size,
        }
    }

    /// Runs the handler; returns one result for each item, in order, whatever the handler returns.
    pub(crate) async fn run(
        &self,
        context: Stateless<S, R>,
        mut claims: OfRun<Claim<R>>,
    ) -> OfRun<Result<Handled, Failure>> {
        match self {
            Handler::One(handle) => match claims.pop() {
                Some(claim) => {
                    let result = handle(context, claim).await;
                    smallvec![result]
                }
                None => OfRun::new(),
            },
            Handler::Batch { handle, .. } => {
                let items = claims.len();
                let results = handle(context, claims.into_vec()).await;
                if results.len() == items {
                    return results.into();
                }
                let error = format!("the batch handler returned {} results for {items} items", results.len());
                smallvec![Err(Failure::retryable(error)); items]
            }
        }
    }
}

/// How one run of a handler ended.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// It returned, with one result for each item.
    Returned(OfRun<Result<Handled, Failure>>),
    /// It panicked with this message.
    Panicked(String),
    /// It was told to stop, and its future was dropped.
    Stopped,
}

/// The message that reports a handler's panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    format!("the handler panicked: {}", panic_words(panic))
}
