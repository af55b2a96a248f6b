//! The control thread: what needs the tokio world and is not hot. The metadata quorum and the admin HTTP server live here.
//!
//! Boot starts it first and attaches the cores later; the API handlers call it from any core. It is not pinned, so that the
//! scheduler can always place it. Deliberately absent: anything on the way of a produce or a fetch.

mod admin;
mod durable;
mod error;
mod known_dirs;
mod meta_properties;
mod proposer;
mod published;
mod raft;
mod room;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use corelog_logic::controller::{Command, MetadataImage, Reply};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use admin::{Admin, MetricsText};
pub use error::{ControlError, Result};
pub use meta_properties::{Identity, LogDir, LostDir, open_log_dirs};
pub use proposer::{CALLS_MAX, Policy};
pub use published::Publisher;
pub use room::{keep_reserves, let_go_of_reserve, reserve_bytes};

use proposer::{Call, Proposer};
use published::Published;

/// The metadata log is replaced by a snapshot when it exceeds this, in bytes.
pub const SNAPSHOT_AFTER_BYTES: u64 = 8 * 1024 * 1024;
/// Name of the metadata store's directory in the first log directory.
pub const METADATA_DIR: &str = "metadata";

/// What the control thread is started with.
pub struct Options {
    /// Directory of the metadata store: [`METADATA_DIR`] in the first log directory.
    pub dir: PathBuf,
    /// This broker.
    pub node_id: i32,
    /// Defaults and checks of the controller.
    pub policy: Policy,
    /// `corelog.metrics.listen`, if it is set.
    pub admin: Option<Admin>,
    /// [`SNAPSHOT_AFTER_BYTES`], or less in a test.
    pub snapshot_after_bytes: u64,
}

/// The way to the control thread, from any thread and any executor.
#[derive(Clone)]
pub struct Control {
    calls: mpsc::Sender<Call>,
    places: Arc<Semaphore>,
    published: Arc<Published>,
    failed: watch::Receiver<Option<ControlError>>,
    metrics: watch::Receiver<raft::Metrics>,
}

/// How far the metadata log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumState {
    /// The term this node leads in.
    pub term: u64,
    /// Entries that are committed and applied.
    pub committed: u64,
    /// Entries that are written.
    pub written: u64,
}

/// The running thread. Dropping it leaves the thread to itself.
pub struct ControlThread {
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
    admin_address: Option<std::net::SocketAddr>,
}

impl Control {
    /// Starts the control thread; returns when this node leads its metadata and every committed record is in the image.
    ///
    /// # Errors
    /// A metadata store that cannot be trusted, or an admin address that cannot be bound.
    pub fn start(options: Options) -> Result<(Self, ControlThread)> {
        let published = Arc::<Published>::default();
        let (calls, received) = mpsc::channel(CALLS_MAX);
        let (failed_tx, failed) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let (started_tx, started) = std::sync::mpsc::sync_channel(1);
        let shared = Arc::clone(&published);
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => {
                    let _ = started_tx.send(Err(ControlError::io("start the runtime for", options.dir, e)));
                    return;
                }
            };
            runtime.block_on(async move {
                let begun = std::time::Instant::now();
                let running = async {
                    let admin = match options.admin {
                        Some(admin) => Some(admin.bind().await?),
                        None => None,
                    };
                    let running = raft::start(&options.dir, options.node_id, Arc::clone(&published)).await?;
                    Ok((running, admin))
                };
                let (running, admin) = match running.await {
                    Ok(running) => running,
                    Err(error) => {
                        let _ = started_tx.send(Err(error));
                        return;
                    }
                };
                let address = admin.as_ref().map(admin::BoundAdmin::address);
                if let Some(admin) = admin {
                    tokio::spawn(admin.serve());
                }
                let elapsed_us = begun.elapsed().as_micros() as u64;
                tracing::info!(elapsed_us, version = published.image().version, "metadata is ready");
                let raft = running.raft.clone();
                let proposer = Proposer::new(
                    running,
                    published,
                    options.policy,
                    received,
                    failed_tx,
                    options.snapshot_after_bytes,
                );
                let _ = started_tx.send(Ok((address, raft.metrics())));
                tokio::select! {
                    () = proposer.run() => {}
                    _ = stopped => {}
                }
                // Everything acknowledged is on the disk: nothing is lost by not waiting for more.
                if let Err(error) = raft.shutdown().await {
                    tracing::warn!(%error, "the metadata quorum did not stop by itself");
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(body)
            .map_err(|e| ControlError::io("start the control thread of", "this process", e))?;
        match started.recv() {
            Ok(Ok((admin_address, metrics))) => {
                let places = Arc::new(Semaphore::new(CALLS_MAX));
                let control = Self { calls, places, published: shared, failed, metrics };
                Ok((control, ControlThread { stop: Some(stop), thread, admin_address }))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError::Stopped),
        }
    }

    /// Runs a command; answers when it is committed and every core has the image.
    ///
    /// # Errors
    /// The command was refused, or nothing was changed because this node cannot change metadata (any more).
    pub async fn call(&self, command: Command) -> Result<Reply> {
        self.send(command, true).await
    }

    /// Runs a command; answers when it is committed. For boot, before there are cores, and for what no core looks at.
    ///
    /// # Errors
    /// As [`Control::call`].
    pub async fn commit(&self, command: Command) -> Result<Reply> {
        self.send(command, false).await
    }

    /// [`Control::commit`] for a plain thread: not to be used on a core or on the control thread.
    ///
    /// # Errors
    /// As [`Control::call`].
    pub fn commit_blocking(&self, command: Command) -> Result<Reply> {
        futures_lite::future::block_on(self.commit(command))
    }

    async fn send(&self, command: Command, on_every_core: bool) -> Result<Reply> {
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(|_| ControlError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let call = Call { command, on_every_core, answer, permit };
        self.calls.send(call).await.map_err(|_| ControlError::Stopped)?;
        answered.await.map_err(|_| ControlError::Stopped)?
    }

    /// How far the metadata log is.
    pub fn quorum(&self) -> QuorumState {
        let metrics = self.metrics.borrow();
        // Entries are numbered from 0.
        let after = |index: Option<u64>| index.map_or(0, |index| index + 1);
        QuorumState {
            term: metrics.current_term,
            committed: after(metrics.last_applied.map(|applied| applied.index)),
            written: after(metrics.last_log_index),
        }
    }

    /// The newest committed image.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.published.image()
    }

    /// From now on `cores` cores are told of each image through `publisher`, of the present one before this returns, and
    /// [`Control::call`] waits for their [`Control::acknowledge`].
    pub fn attach_cores(&self, cores: usize, publisher: Publisher) {
        self.published.attach(cores, publisher);
    }

    /// A core has opened (and closed) what the image of this version asks for.
    pub fn acknowledge(&self, core: usize, version: u64) {
        self.published.acknowledge(core, version);
    }

    /// Resolves with the reason when metadata cannot be changed any more; the process should then stop. Never, when all is well
    /// until the end.
    pub async fn failed(&self) -> ControlError {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(ControlError::Stopped),
            Err(_) => ControlError::Stopped,
        }
    }
}

impl ControlThread {
    /// The admin server's address, with the port that was chosen when 0 was asked for.
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin_address
    }

    /// Stops the thread and waits for it. Calls under way are answered with [`ControlError::Stopped`].
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}
