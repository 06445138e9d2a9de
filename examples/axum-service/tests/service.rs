//! The service as its users meet it: a scan that is posted is worked on, and a signal stops service and worker.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPool;

const DROP: &str = "drop schema if exists rowlock_example_axum_service cascade";

/// Outlives no test, whatever fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends one request; returns the status and the body of the answer.
fn ask(address: &str, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer with a head");
    (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_posted_scan_is_worked_on_and_a_signal_stops_service_and_worker_on_postgresql() {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names no server: run the tests by `make test`");
    let pool = PgPool::connect(&url).await.expect("the server of DATABASE_URL answers");
    sqlx::raw_sql(DROP).execute(&pool).await.expect("dropped");

    let mut command = Command::new(env!("CARGO_BIN_EXE_example-axum-service"));
    let child = command.env("ADDRESS", "127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("the service starts");
    let mut service = Service(child);
    let mut printed = BufReader::new(service.0.stdout.take().expect("its output is piped")).lines();
    let mut next_line = || printed.next().expect("the service prints a line").expect("text");

    let line = next_line();
    let address = line.strip_prefix("listening on ").expect("its address");
    let (status, id) = ask(address, "POST", "/scans", "letter.tiff");
    assert_eq!(status, "202", "{id}");
    assert_eq!(next_line(), "indexed letter.tiff");
    assert_eq!(ask(address, "GET", &format!("/scans/{id}"), "").0, "200");
    assert_eq!(ask(address, "GET", "/scans/0", "").0, "404");

    kill_process(Pid::from_child(&service.0), Signal::TERM).expect("the service gets the signal");
    assert_eq!(next_line(), "stopped: 2 stages completed");
    assert!(service.0.wait().expect("it ends").success());
    let word: String = sqlx::query_scalar("select status from rowlock_example_axum_service.scans")
        .fetch_one(&pool)
        .await
        .expect("the row is there");
    assert_eq!(word, "SUCCEEDED");
    sqlx::raw_sql(DROP).execute(&pool).await.expect("dropped");
}
