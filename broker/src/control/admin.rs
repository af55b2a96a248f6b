//! The admin HTTP server on `corelog.metrics.listen`: GET /metrics and GET /healthz.
//!
//! Runs on the control thread; what /metrics says comes from a callback. Deliberately absent: authentication (bind it to an
//! inside address), changes of any kind.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ControlError, Result};

/// Makes the text of /metrics, in Prometheus' exposition format.
pub type MetricsText = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// How many admin connections are open at once; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 64;

/// Where to listen and what to say.
pub struct Admin {
    /// `corelog.metrics.listen`.
    pub address: SocketAddr,
    /// The text of /metrics.
    pub metrics: MetricsText,
}

/// The server, bound and not yet serving.
pub(super) struct BoundAdmin {
    listener: LimitedListener,
    metrics: MetricsText,
    address: SocketAddr,
}

impl Admin {
    /// Binds the address.
    pub(super) async fn bind(self) -> Result<BoundAdmin> {
        let Self { address, metrics } = self;
        let unbound = |e: io::Error| ControlError::AdminAddress { address, source: Arc::new(e) };
        let listener = TcpListener::bind(address).await.map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(BoundAdmin { listener: LimitedListener { listener, places }, metrics, address })
    }
}

impl BoundAdmin {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the runtime ends.
    pub(super) async fn serve(self) {
        let metrics = self.metrics;
        let text = move || {
            let text = metrics();
            async { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.await) }
        };
        let router = Router::new().route("/metrics", get(text)).route("/healthz", get(|| async { "ok\n" }));
        if let Err(error) = axum::serve(self.listener, router).await {
            tracing::error!(%error, "the admin server has stopped");
        }
    }
}

/// Accepts no more than [`CONNECTIONS_MAX`] at once.
struct LimitedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection and its place.
struct LimitedStream {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        loop {
            // The semaphore is never closed; should it be, nobody is let in.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            // axum's own listener waits out a lack of descriptors.
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            return (LimitedStream { stream, _place: place }, peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
