//! Requests to stop: signals and cancellation tokens.

use tokio_util::sync::CancellationToken;

use super::supervisor::{Phase, Supervisor};
use crate::Store;

/// Stops the worker gracefully at the first signal, and at once at the second.
#[cfg(unix)]
pub(crate) async fn obey_signals<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>) {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be caught: the worker will not stop gracefully");
            return;
        }
    };
    for phase in [Phase::Draining, Phase::Stopping] {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        match phase {
            Phase::Running | Phase::Draining => tracing::info!(signal, "stopping: nothing more is claimed"),
            Phase::Stopping => tracing::info!(signal, "stopping at once"),
        }
        supervisor.enter(phase);
    }
}

/// Stops the worker gracefully at the first Ctrl-C, and at once at the second.
#[cfg(not(unix))]
pub(crate) async fn obey_signals<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>) {
    for phase in [Phase::Draining, Phase::Stopping] {
        if tokio::signal::ctrl_c().await.is_ok() {
            tracing::info!("stopping");
            supervisor.enter(phase);
        }
    }
}

/// Stops the worker gracefully when the token is cancelled.
pub(crate) async fn obey_token<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, token: CancellationToken) {
    token.cancelled().await;
    tracing::info!("asked to stop: nothing more is claimed");
    supervisor.enter(Phase::Draining);
}
