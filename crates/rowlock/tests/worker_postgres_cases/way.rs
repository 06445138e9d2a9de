//! The network between a worker and its server.

use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server: new connections go to its present target, old ones stay where they are. It can become one that
/// lets nothing through in either direction, and that stays open.
pub(super) struct Way {
    pub(super) port: u16,
    swallows: watch::Sender<bool>,
    leads_to: Arc<Mutex<(String, u16)>>,
}

fn address(server: &PgConnectOptions) -> (String, u16) {
    (server.get_host().to_owned(), server.get_port())
}

impl Way {
    pub(super) async fn to(server: &PgConnectOptions) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (swallows, swallowing) = watch::channel(false);
        let leads_to = Arc::new(Mutex::new(address(server)));
        let target = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, port) = target.lock().expect("no panic").clone();
                // If nothing answers, the end of its connection shows that to the client.
                let Ok(server) = TcpStream::connect((&*host, port)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pump(from_client, to_server, swallowing.clone()));
                tokio::spawn(pump(from_server, to_client, swallowing.clone()));
            }
        });
        Way { port, swallows, leads_to }
    }

    pub(super) fn lead_to(&self, server: &PgConnectOptions) {
        *self.leads_to.lock().expect("no panic") = address(server);
    }

    pub(super) fn swallow(&self, swallows: bool) {
        self.swallows.send_replace(swallows);
    }
}

/// Until one side ends it. Swallowed bytes never arrive, so the connection is lost for good.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallows: watch::Receiver<bool>) {
    let mut bytes = vec![0; 8_192];
    let mut is_lost = false;
    while let Ok(read) = from.read(&mut bytes).await {
        if read == 0 {
            break;
        }
        is_lost |= *swallows.borrow();
        if !is_lost && to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
}
