//! A TCP proxy between the workers and their server, which can do to connections what networks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::url::with_address;

/// A proxy on a separate port.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    /// This many of the next answers are cut in the middle.
    answers_to_cut: AtomicUsize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weather {
    /// Connections from before this number was raised are closed.
    era: u64,
    /// Nothing comes through, and neither side learns it.
    swallows: bool,
    delay: Duration,
}

impl Proxy {
    /// A proxy in front of the server of this URL.
    ///
    /// # Errors
    /// A URL without an address, and no free port.
    pub async fn before(url: &str) -> Result<Proxy> {
        let upstream = address_of(url)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            weather: watch::Sender::new(Weather::default()),
            answers_to_cut: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy { address, shared, accepting })
    }

    /// The URL with the proxy's address instead of the server's.
    pub fn url(&self, url: &str) -> String {
        with_address(url, self.address)
    }

    /// Later connections go to the server of this URL.
    ///
    /// # Errors
    /// A URL without an address.
    pub fn lead_to(&self, url: &str) -> Result<()> {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = address_of(url)?;
        Ok(())
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.shared.weather.send_modify(|weather| weather.era += 1);
    }

    /// Whether from now on nothing comes through, without either side learning it.
    pub fn swallow(&self, swallows: bool) {
        self.shared.weather.send_modify(|weather| weather.swallows = swallows);
    }

    /// From now on every packet is delayed by this long.
    pub fn delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Cuts this many of the next answers in the middle, with their connections.
    pub fn cut_answers(&self, answers: usize) {
        self.shared.answers_to_cut.fetch_add(answers, Ordering::AcqRel);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close_all();
    }
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let host = url.rsplit_once('@').and_then(|(_, rest)| rest.split('/').next()).context("a URL with a user")?;
    host.parse().with_context(|| format!("the address {host}"))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let upstream = *shared.upstream.lock().unwrap_or_else(PoisonError::into_inner);
            // The server is not there: the client's connection ends, as it would without a proxy.
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            // Small packets are not held back for others: the proxy must not be slower than its setting.
            if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
                return;
            }
            let weather = shared.weather.subscribe();
            let era = weather.borrow().era;
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // When one direction ends, the other is dropped: both sides see the connection close.
            tokio::select! {
                () = pump(from_client, to_server, weather.clone(), era, None) => {}
                () = pump(from_server, to_client, weather, era, Some(&shared.answers_to_cut)) => {}
            }
        });
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    era: u64,
    answers_to_cut: Option<&AtomicUsize>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = weather.wait_for(|weather| weather.era != era) => 0,
        };
        if read == 0 {
            return;
        }
        let Ok(now) = weather.wait_for(|weather| !weather.swallows || weather.era != era).await.map(|now| *now) else {
            return;
        };
        if now.era != era {
            return;
        }
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        let is_cut = answers_to_cut.is_some_and(|left| {
            left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
        });
        let whole = if is_cut { read / 2 } else { read };
        if to.write_all(&buffer[..whole]).await.is_err() || is_cut {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes everything.
    async fn echo() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        format!("postgres://user:word@{address}/database")
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address).await.expect("the proxy answers")
    }

    #[tokio::test]
    async fn it_passes_closes_and_cuts() {
        let url = echo().await;
        let proxy = Proxy::before(&url).await.expect("a proxy");
        assert_eq!(proxy.url(&url), format!("postgres://user:word@{}/database", proxy.address));
        let mut said = [0; 4];

        let mut one = connect(&proxy).await;
        one.write_all(b"1234").await.expect("written");
        one.read_exact(&mut said).await.expect("said back");
        assert_eq!(&said, b"1234");

        proxy.cut_answers(1);
        one.write_all(b"1234").await.expect("written");
        let mut rest = Vec::new();
        one.read_to_end(&mut rest).await.expect("it ends");
        assert_eq!(rest, b"12");

        let mut other = connect(&proxy).await;
        other.write_all(b"1").await.expect("written");
        other.read_exact(&mut said[..1]).await.expect("said back");
        proxy.close_all();
        assert_eq!(other.read(&mut said).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn what_is_swallowed_comes_through_later_or_never() {
        let url = echo().await;
        let proxy = Proxy::before(&url).await.expect("a proxy");
        let mut one = connect(&proxy).await;
        proxy.swallow(true);
        one.write_all(b"1").await.expect("written");
        let mut said = [0; 1];
        let early = tokio::time::timeout(Duration::from_millis(100), one.read_exact(&mut said)).await;
        assert!(early.is_err(), "it came through");
        proxy.swallow(false);
        one.read_exact(&mut said).await.expect("said back");
    }
}
