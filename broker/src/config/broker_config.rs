//! The broker's configuration as typed values that agree with each other. Built once at start, read by every room.
//!
//! Deliberately absent: what a topic overrides (`topic_config.rs`), and anything that asks the machine (cores, memory).

use std::path::PathBuf;

use super::group_settings::GroupsConfig;
use super::listeners::{self, Listener};
use super::load::{ConfigError, Given};
use super::setting::{boolean, list};

/// When a record counts as stored (`corelog.flush`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// When the disk has flushed it.
    Always,
    /// When the direct write has completed: survives a killed process, not a power cut.
    Written,
}

/// How deep record batches are validated (`corelog.validate.records`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidateRecords {
    Full,
    Header,
}

/// Everything `corelog start` was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    pub listeners: Vec<Listener>,
    /// `None`: each client is told the address it dialled.
    pub advertised_listeners: Option<Vec<Listener>>,
    pub node_id: i32,
    /// Whether `node.id` was given; an existing directory's number counts otherwise.
    pub node_id_given: bool,
    /// `broker.rack`.
    pub rack: Option<String>,
    pub log_dirs: Vec<PathBuf>,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub auto_create_topics_enable: bool,
    pub delete_topic_enable: bool,
    pub socket_request_max_bytes: usize,
    /// `None`: as large as the kernel sees fit.
    pub socket_send_buffer_bytes: Option<usize>,
    /// `None`: as large as the kernel sees fit.
    pub socket_receive_buffer_bytes: Option<usize>,
    pub fetch_max_bytes: i32,
    /// `max.request.partition.size.limit`.
    pub request_partitions_max: i32,
    /// Fetch sessions of the whole node.
    pub fetch_session_slots_max: usize,
    pub producer_id_expiration_ms: i64,
    pub initial_task_delay_ms: u64,
    pub retention_check_interval_ms: u64,
    pub cleaner_enable: bool,
    /// 0: all that the process may use.
    pub cores: usize,
    /// 0: a quarter of the machine, at most 2 GiB.
    pub memory_bytes: u64,
    pub flush: Flush,
    pub journal_bytes: u64,
    pub frame_timeout_ms: u64,
    pub shutdown_timeout_ms: u64,
    pub validate_records: ValidateRecords,
    /// Of the whole node; 0: segments are not scrubbed.
    pub scrub_bytes_per_second: u64,
    pub scrub_interval_ms: u64,
    pub metrics_listen: Option<std::net::SocketAddr>,
    /// Everything about groups.
    pub groups: GroupsConfig,
    /// The checked texts, for topics' defaults and DescribeConfigs.
    pub given: Given,
}

/// The smallest memory budget with which a broker is useful, in bytes.
pub const MEMORY_BYTES_MIN: u64 = 64 * 1024 * 1024;

impl BrokerConfig {
    /// Builds the typed configuration from checked texts.
    ///
    /// # Errors
    /// [`ConfigError`] for listeners that cannot be read and for values that contradict each other.
    pub fn build(given: Given) -> Result<Self, ConfigError> {
        let text = |name: &'static str| given.effective(name).unwrap_or_default();
        let contradiction = |key: &'static str, why: String| ConfigError::Contradiction {
            key,
            value: given.effective(key).unwrap_or_default().to_owned(),
            why,
        };

        let ignored: Vec<String> = list(text("controller.listener.names")).map(str::to_owned).collect();
        let listeners =
            listeners::parse(text("listeners"), &ignored).map_err(|why| contradiction("listeners", why))?;
        if listeners.is_empty() {
            let why = "no listener for clients is left; add one, for example PLAINTEXT://127.0.0.1:9092";
            return Err(contradiction("listeners", why.to_owned()));
        }
        listeners::check_protocols(&listeners, text("listener.security.protocol.map"))
            .map_err(|why| contradiction("listeners", why))?;
        let advertised_listeners = match given.get("advertised.listeners") {
            None => None,
            Some(value) => {
                let key = "advertised.listeners";
                let parsed = listeners::parse(value, &ignored).map_err(|why| contradiction(key, why))?;
                if let Some(stray) =
                    parsed.iter().find(|one| !listeners.iter().any(|other| other.name == one.name))
                {
                    let why = format!("{} is not among listeners={}", stray.name, text("listeners"));
                    return Err(contradiction(key, why));
                }
                if let Some(vague) = parsed.iter().find(|one| one.host.is_empty() || one.host == "0.0.0.0") {
                    let why = format!("{} needs a host that clients can reach, not 0.0.0.0", vague.name);
                    return Err(contradiction(key, why));
                }
                Some(parsed)
            }
        };

        let log_dirs: Vec<PathBuf> =
            list(given.get("log.dirs").unwrap_or(text("log.dir"))).map(PathBuf::from).collect();
        if log_dirs.is_empty() {
            let why = "no directory is named; for example log.dirs=/var/lib/corelog";
            return Err(contradiction("log.dirs", why.to_owned()));
        }
        if let Some(twice) = log_dirs.iter().enumerate().find(|(i, dir)| log_dirs[..*i].contains(dir)) {
            let why = format!("{} is named twice", twice.1.display());
            return Err(contradiction("log.dirs", why));
        }

        let memory_bytes = number(&given, "corelog.memory.bytes").max(0) as u64;
        if memory_bytes != 0 && memory_bytes < MEMORY_BYTES_MIN {
            let why =
                format!("at least {MEMORY_BYTES_MIN} bytes are needed, or 0 for a quarter of the machine");
            return Err(contradiction("corelog.memory.bytes", why));
        }
        let journal_bytes = number(&given, "corelog.journal.bytes").max(0) as u64;
        if number(&given, "message.max.bytes").max(0) as u64 > journal_bytes / 8 {
            let why = format!(
                "a batch may take an eighth of corelog.journal.bytes={journal_bytes}, which is {}; raise that or lower this",
                journal_bytes / 8
            );
            return Err(contradiction("message.max.bytes", why));
        }
        let metrics_listen = match text("corelog.metrics.listen") {
            "" => None,
            address => Some(address.parse().map_err(|_| {
                let why = "expected address:port, for example 127.0.0.1:9644";
                contradiction("corelog.metrics.listen", why.to_owned())
            })?),
        };
        let flag = |name: &'static str| boolean(text(name)).unwrap_or_default();

        Ok(Self {
            listeners,
            advertised_listeners,
            node_id: number(&given, "node.id") as i32,
            node_id_given: given.get("node.id").is_some(),
            rack: given.get("broker.rack").map(str::to_owned),
            log_dirs,
            num_partitions: number(&given, "num.partitions") as i32,
            // Clamped to the number of nodes, which is one: a copied production file starts on a laptop.
            default_replication_factor: 1,
            auto_create_topics_enable: flag("auto.create.topics.enable"),
            delete_topic_enable: flag("delete.topic.enable"),
            socket_request_max_bytes: number(&given, "socket.request.max.bytes") as usize,
            // Where nobody asked for Kafka's 100 KiB, the kernel's own size serves fetches in fewer and larger steps.
            socket_send_buffer_bytes: given
                .get("socket.send.buffer.bytes")
                .and_then(|_| usize::try_from(number(&given, "socket.send.buffer.bytes")).ok()),
            socket_receive_buffer_bytes: usize::try_from(number(&given, "socket.receive.buffer.bytes")).ok(),
            fetch_max_bytes: number(&given, "fetch.max.bytes") as i32,
            request_partitions_max: number(&given, "max.request.partition.size.limit") as i32,
            fetch_session_slots_max: number(&given, "max.incremental.fetch.session.cache.slots") as usize,
            producer_id_expiration_ms: number(&given, "producer.id.expiration.ms"),
            initial_task_delay_ms: number(&given, "log.initial.task.delay.ms").max(0) as u64,
            retention_check_interval_ms: number(&given, "log.retention.check.interval.ms").max(1) as u64,
            cleaner_enable: flag("log.cleaner.enable"),
            cores: number(&given, "corelog.cores") as usize,
            memory_bytes,
            flush: if text("corelog.flush") == "written" { Flush::Written } else { Flush::Always },
            journal_bytes,
            frame_timeout_ms: number(&given, "corelog.frame.timeout.ms") as u64,
            shutdown_timeout_ms: number(&given, "corelog.shutdown.timeout.ms") as u64,
            validate_records: if text("corelog.validate.records") == "header" {
                ValidateRecords::Header
            } else {
                ValidateRecords::Full
            },
            scrub_bytes_per_second: number(&given, "corelog.scrub.bytes.per.second").max(0) as u64,
            scrub_interval_ms: number(&given, "corelog.scrub.interval.ms").max(0) as u64,
            metrics_listen,
            groups: GroupsConfig::build(&given)?,
            given,
        })
    }

    /// What was given and counts for less here: replicas beyond the number of nodes, which is one. A copied production file
    /// starts on a laptop, and is told so.
    pub fn clamped(&self) -> Vec<String> {
        let keys = [
            "default.replication.factor",
            "min.insync.replicas",
            "offsets.topic.replication.factor",
            "transaction.state.log.replication.factor",
            "transaction.state.log.min.isr",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.min.isr",
        ];
        let above = |key: &&str| self.given.get(key).is_some_and(|_| number(&self.given, key) > 1);
        keys.iter()
            .filter(|key| above(key))
            .map(|key| {
                let value = number(&self.given, key);
                format!("{key}={value} is more than there are nodes, and counts as 1")
            })
            .collect()
    }

    /// Whether any listener can be reached from other machines.
    pub fn listens_beyond_loopback(&self) -> bool {
        self.listeners.iter().any(|listener| match listener.host.parse::<std::net::IpAddr>() {
            Ok(address) => !address.is_loopback(),
            Err(_) => listener.host != "localhost",
        })
    }
}

/// A number that `load` has checked; the default, which the table's test checks, otherwise.
fn number(given: &Given, name: &str) -> i64 {
    given.effective(name).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}
