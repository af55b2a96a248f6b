//! What runs on one core: its store, its partitions, its server; from the first line to the clean stop.

use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use corelog_storage::StorageError;
use corelog_storage::batch::{Compression, RecordValidation};
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::io::{Class, Io};
use corelog_storage::journal::{CommitReport, FlushMode};
use corelog_storage::log::COLD_READ_BYTES_MAX;
use corelog_storage::recovery::RecoveredCore;
use corelog_storage::store::StoreOptions;
use corelog_storage::types::LogId;
use glommio::channels::local_channel;

use super::controller::ControlCalls;
use super::failed_dirs::{FailedDirs, UsableDirs};
use crate::api::Kafka;
use crate::api::broker::{Broker, ProducerIds};
use crate::api::cores::NodeCores;
use crate::api::fetch::FetchSessions;
use crate::config::{BrokerConfig, Flush, ValidateRecords};
use crate::control::Control;
use crate::drive::{
    Degraded, GroupSettings, Groups, Housekeeping, LogDirs, Partitions, Reconciler, ScrubSettings, Settings,
    Store, Tenants, clean_logs, keep_house, scrub_logs,
};
use crate::metrics::{CoreMetrics, NetworkStats};
use crate::net::{CoreListener, NetSettings, Server, ServerParts};
use crate::shard::Core;
use crate::shard::balance::Balance;
use crate::shard::budget::{Budget, Share};
use crate::shard::message::Port;
use crate::shard::runtime::Shard;
use crate::shard::shutdown::Shutdown;
use crate::shard::view::View;
use crate::shard::watchdog::Pulse;

/// How often idle producers are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// The smallest journal that is of use, in bytes.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// Commits of a journal are allowed to become at least this long, however little memory there is.
const COMMIT_BYTES_MIN: usize = 512 << 10;

/// What all cores share.
pub(super) struct Node {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) control: Control,
    pub(super) cluster_id: String,
    pub(super) node_id: i32,
    pub(super) broker_epoch: i64,
    pub(super) cores: u16,
    pub(super) memory_bytes: u64,
    pub(super) open_files_max: u64,
    pub(super) listener_names: Vec<String>,
    pub(super) balance: Balance,
    pub(super) shutdown: Shutdown,
    pub(super) drained: Drained,
    pub(super) degraded: Degraded,
    pub(super) failed_dirs: FailedDirs,
    pub(super) dirs: UsableDirs,
}

/// Lets the cores wait for each other at the end: no store closes while another core's clients may still need it.
#[derive(Debug, Default)]
pub(super) struct Drained {
    cores: AtomicU16,
    all: Shutdown,
}

impl Drained {
    async fn wait_for_all(&self, cores: u16) {
        if self.cores.fetch_add(1, Ordering::SeqCst) + 1 == cores {
            self.all.request();
        }
        self.all.requested().await;
    }
}

/// What one core is given.
pub(super) struct CoreSeed {
    pub(super) port: Port,
    pub(super) listeners: Vec<CoreListener>,
    pub(super) recovered: RecoveredCore,
    pub(super) pulse: Pulse,
    pub(super) node: Arc<Node>,
    /// Told once: that the core serves, or why it does not.
    pub(super) ready: mpsc::Sender<Result<(), StorageError>>,
}

impl CoreSeed {
    /// Runs the core until the broker stops.
    pub(super) async fn run(self) {
        let Self { port, listeners, recovered, pulse, node, ready } = self;
        glommio::spawn_local(pulse.beat()).detach();
        let metrics = Rc::new(CoreMetrics::default());
        let budget = Budget::new(node.memory_bytes / u64::from(node.cores));
        let reconciler = match open(&node, recovered, &budget, &metrics).await {
            Ok(reconciler) => reconciler,
            Err(error) => {
                let _start_was_given_up = ready.send(Err(error));
                return;
            }
        };
        let key_bytes_max = budget.pool(Share::Compaction).limit();
        let store = reconciler.store().clone();
        let partitions = reconciler.partitions().clone();
        let view = View::new(port.core(), node.cores, node.node_id);
        let shard = Shard::new(
            port.open(),
            view,
            reconciler,
            Groups::new(group_settings(&node.config), partitions.clone()),
            node.config.given.clone(),
            budget.clone(),
            metrics,
        );
        let server = serve_connections(&node, &shard, budget);

        let (first, is_first) = local_channel::new_bounded(1);
        let (first, control, core) = (Rc::new(first), node.control.clone(), shard.core());
        let applied = move |version| {
            control.acknowledge(core.index(), version);
            // Full after the first time, which is the one that counts.
            let _told_already = first.try_send(());
        };
        let adopting = server.clone();
        glommio::spawn_local(shard.clone().serve(move |handover| adopting.adopt(handover), applied)).detach();
        glommio::spawn_local(expire_producers(partitions.clone())).detach();
        let housekeeping = keep_house(partitions.clone(), store.clone(), housekeeping_of(&node.config));
        GlommioIo::new().spawn(Class::Housekeeping, housekeeping);
        if node.config.cleaner_enable {
            let map_bytes_max = usize::try_from(key_bytes_max).unwrap_or(usize::MAX);
            let cleaning = clean_logs(partitions.clone(), node.cores, map_bytes_max);
            GlommioIo::new().spawn(Class::Housekeeping, cleaning);
        }
        if node.config.scrub_bytes_per_second > 0 {
            let scrubbing = scrub_logs(store.clone(), scrubbing_of(&node), LogId(rand::random()));
            GlommioIo::new().spawn(Class::Housekeeping, scrubbing);
        }
        glommio::spawn_local(end_waits_at_stop(node.clone(), partitions)).detach();
        let failures = node.clone();
        let following =
            shard.clone().follow_failures(move |dir, error| failures.failed_dirs.tell(dir, error));
        glommio::spawn_local(following).detach();
        if core == Core(0) {
            glommio::spawn_local(stop_when_metadata_fails(node.control.clone())).detach();
        }

        // The controller has told every core of the present metadata: with its logs open, the core can serve.
        is_first.recv().await;
        let _start_was_given_up = ready.send(Ok(()));
        server.serve(listeners, &node.shutdown).await;
        node.drained.wait_for_all(node.cores).await;
        if let Err(error) = store.close().await {
            tracing::error!("{core} could not close its logs cleanly: {error}; the next start recovers");
        }
    }
}

async fn open(
    node: &Node,
    recovered: RecoveredCore,
    budget: &Budget,
    metrics: &Rc<CoreMetrics>,
) -> Result<Reconciler, StorageError> {
    let config = &node.config;
    let tenants = Tenants::default();
    let options = store_options(node, budget);
    let UsableDirs { used: dirs, lost } = node.dirs.clone();
    let store = Store::open(
        GlommioIo::new(),
        options,
        recovered,
        &mut |identity| tenants.lend(identity.log_id),
        // The topic's own settings follow with the metadata, before the first append.
        &mut |_| Default::default(),
    )
    .await?;
    for index in 0..dirs.len() {
        if let Some(journal) = store.journal(index) {
            let metrics = metrics.clone();
            journal.observe(Rc::new(move |commit: &CommitReport| metrics.flush(commit.flush_ns / 1000)));
        }
    }
    let settings = Settings {
        record_validation: match config.validate_records {
            ValidateRecords::Full => RecordValidation::Full,
            ValidateRecords::Header => RecordValidation::Header,
        },
        producer_id_expiration_ms: config.producer_id_expiration_ms,
        bugs: Default::default(),
    };
    let partitions = Partitions::new(settings, node.degraded.clone());
    Ok(Reconciler::new(store, partitions, tenants, LogDirs { used: dirs, lost }))
}

fn housekeeping_of(config: &BrokerConfig) -> Housekeeping {
    Housekeeping {
        initial_delay: Duration::from_millis(config.initial_task_delay_ms),
        retention_interval: Duration::from_millis(config.retention_check_interval_ms),
    }
}

fn scrubbing_of(node: &Node) -> ScrubSettings {
    ScrubSettings {
        bytes_per_second: node.config.scrub_bytes_per_second as f64 / f64::from(node.cores),
        interval: Duration::from_millis(node.config.scrub_interval_ms),
    }
}

/// A core's journals and caches within its share of the memory: what is in no segment yet is held in memory too.
fn store_options(node: &Node, budget: &Budget) -> StoreOptions {
    let config = &node.config;
    let tail_bytes = budget.pool(Share::TailCache).limit();
    let per_dir = tail_bytes / node.dirs.used.len().max(1) as u64;
    let journal_bytes = config.journal_bytes.min(per_dir.max(JOURNAL_BYTES_MIN));
    let mut options = StoreOptions::new(rand::random(), journal_bytes);
    // Half of the descriptors are for connections.
    let files = node.open_files_max / 2 / u64::from(node.cores);
    options.open_files_max = usize::try_from(files).unwrap_or(usize::MAX).clamp(64, options.open_files_max);
    options.tail_cache_bytes = usize::try_from(tail_bytes).unwrap_or(usize::MAX);
    let cold_reads = budget.pool(Share::ColdReads).limit() / COLD_READ_BYTES_MAX as u64;
    options.cold_reads_max =
        usize::try_from(cold_reads).unwrap_or(usize::MAX).clamp(1, options.cold_reads_max);
    let commit_bytes = usize::try_from(per_dir / 64).unwrap_or(usize::MAX);
    options.journal.bound_commits(commit_bytes.clamp(COMMIT_BYTES_MIN, options.journal.commit_bytes_max));
    options.dirty_bytes_due = (journal_bytes / 2).min(per_dir / 2);
    options.journal.flush = match config.flush {
        Flush::Always => FlushMode::Always,
        Flush::Written => FlushMode::Written,
    };
    options
}

fn group_settings(config: &BrokerConfig) -> GroupSettings {
    let codec = usize::from(config.groups.offsets_topic_compression);
    GroupSettings {
        config: config.groups.rules.clone(),
        append_linger_ms: config.groups.append_linger_ms,
        compression: Compression::ALL.get(codec).copied().unwrap_or(Compression::None),
    }
}

fn serve_connections(node: &Arc<Node>, shard: &Rc<Shard>, budget: Budget) -> Server {
    let slots = node.config.fetch_session_slots_max;
    let fetch_sessions =
        FetchSessions::new(shard.core(), node.cores, slots, budget.pool(Share::FetchSessions).clone());
    let fetch_sessions = Rc::new(fetch_sessions);
    let ending = fetch_sessions.clone();
    shard.set_session_ended(move |id| ending.end(id));
    let broker = Rc::new(Broker {
        node_id: node.node_id,
        broker_epoch: node.broker_epoch,
        cluster_id: node.cluster_id.clone(),
        config: node.config.clone(),
        cores: Rc::new(NodeCores::new(shard.clone())),
        controller: Rc::new(ControlCalls(node.control.clone())),
        metrics: shard.metrics().clone(),
        replies: budget.pool(Share::Replies).clone(),
        fetch_sessions,
        producer_ids: ProducerIds::default(),
    });
    let handing_over = shard.clone();
    let server = Server::new(ServerParts {
        core: shard.core(),
        service: Rc::new(Kafka::new(broker)),
        budget,
        settings: NetSettings {
            request_bytes_max: node.config.socket_request_max_bytes,
            frame_timeout: Duration::from_millis(node.config.frame_timeout_ms),
            drain_timeout: Duration::from_millis(node.config.shutdown_timeout_ms),
            ..NetSettings::default()
        },
        balance: node.balance.clone(),
        hand_over: Box::new(move |to, handover| handing_over.hand_over(to, handover)),
        listeners: node.listener_names.clone(),
    });
    let counted = server.clone();
    shard.set_network_stats(move || {
        let counters = counted.snapshot();
        NetworkStats {
            connections: counters.connections,
            connections_accepted: counters.accepted,
            connections_handed_over: counters.handed_over,
            received_bytes: counters.bytes_in,
            sent_bytes: counters.bytes_out,
        }
    });
    server
}

/// A consumer that waits for records must not hold the stop up for as long as it would wait.
async fn end_waits_at_stop(node: Arc<Node>, partitions: Rc<Partitions>) {
    node.shutdown.requested().await;
    partitions.interrupt().interrupt();
}

async fn expire_producers(partitions: Rc<Partitions>) {
    loop {
        glommio::timer::sleep(EXPIRY_INTERVAL).await;
        partitions.expire_producers();
    }
}

async fn stop_when_metadata_fails(control: Control) {
    let error = control.failed().await;
    if !matches!(error, crate::control::ControlError::Stopped) {
        tracing::error!("{error}; the broker stops");
        std::process::exit(1);
    }
}
