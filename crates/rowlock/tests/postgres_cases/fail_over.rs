//! A name that leads to another server for a while, as during a fail-over: to one that may only be read.

use std::sync::{Arc, Mutex};

use rowlock::store::Store;
use rowlock::store::postgres::PostgresStore;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use tokio::net::{TcpListener, TcpStream};

use super::{claiming, pipeline};
use crate::own_server::OwnServer;

/// Stands for a DNS name or a virtual address: new connections go to its present target, old ones stay where they are.
pub(super) struct Name {
    pub(super) port: u16,
    leads_to: Arc<Mutex<u16>>,
}

impl Name {
    pub(super) async fn of(server: &PgConnectOptions) -> Name {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let leads_to = Arc::new(Mutex::new(server.get_port()));
        let target = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *target.lock().expect("no panic");
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        // Either side may end the connection in any way.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Name { port, leads_to }
    }

    pub(super) fn lead_to(&self, server: &PgConnectOptions) {
        *self.leads_to.lock().expect("no panic") = server.get_port();
    }
}

async fn end_all_others(server: &PgConnectOptions) {
    let mut connection = PgConnection::connect_with(server).await.expect("the server answers");
    let others = "select pg_terminate_backend(pid) from pg_stat_activity
                  where backend_type = 'client backend' and pid <> pg_backend_pid()";
    connection.execute(others).await.expect("ended");
}

#[tokio::test]
async fn a_connection_to_a_server_that_may_only_be_read_is_not_kept() {
    let primary_server = OwnServer::start();
    let primary: PgConnectOptions = primary_server.url.parse().expect("a URL");
    let name = Name::of(&primary).await;
    let store = PostgresStore::with_options(primary.clone().port(name.port), pipeline());
    store.prepare().await.expect("prepare");
    store.add_many(&["a".into()]).await.expect("add_many");
    let standby_server = primary_server.start_standby();
    let standby: PgConnectOptions = standby_server.url.parse().expect("a URL");

    name.lead_to(&standby);
    end_all_others(&primary).await;
    while !store.claim(&claiming(1)).await.is_err_and(|error| error.is_read_only()) {}
    let error = store.begin().await.expect_err("the server may only be read");
    assert!(error.is_read_only(), "{error}");
    assert!(!error.may_have_been_applied(), "{error}");

    name.lead_to(&primary);
    store.begin().await.expect("the connection is a new one").rollback().await.expect("rollback");
    let claimed = store.claim(&claiming(1)).await.expect("the connection is a new one");
    assert_eq!(claimed.claimed.len(), 1);
}
