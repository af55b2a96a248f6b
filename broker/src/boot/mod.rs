//! Starts a broker in order, and stops it: configuration, machine, directories, listeners, metadata, recovery, cores.
//!
//! Called by `main`. Each step either succeeds or ends the start with one line that says what, which limit and what to do.
//! Deliberately absent: what any room does once it runs.

mod controller;
mod core;
mod failed_dirs;
mod machine;
mod metrics;
mod recovery;

use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use corelog_logic::controller::{Command, Listener, Reply, TopicId, initial_features};
use corelog_storage::io::glommio::check_direct_io;
use corelog_storage::recovery::Recovered;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::core::{CoreSeed, Node};
use self::failed_dirs::{FailedDirs, UsableDirs};
use crate::cli::StartOptions;
use crate::config::{self, BrokerConfig, Flush};
use crate::control::{self, Control, ControlThread, Identity};
use crate::net::{BoundListener, SocketBuffers};
use crate::shard::balance::Balance;
use crate::shard::executor::{self, CoreSettings};
use crate::shard::mailbox::{self, Limits};
use crate::shard::message::Port;
use crate::shard::preflight::preflight;
use crate::shard::shutdown::{Shutdown, Stop};
use crate::shard::watchdog::{Pulse, Watchdog, WatchdogSettings};
use recovery::{is_any_missing, recover};

/// Runs a broker until it is told to stop. What prevents the start is one line on stderr.
pub fn start(options: &StartOptions) -> ExitCode {
    log_to_stderr();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `{:#}`: every message of ours tells its cause already.
            let _closed_stderr = writeln!(std::io::stderr(), "corelog: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints every configuration key whose name contains `part`, and starts nothing.
pub fn list_config(part: &str) -> ExitCode {
    match config::listing(part) {
        Some(listing) => {
            // Whoever pages through it may leave early.
            let _closed_stdout = std::io::stdout().write_all(listing.as_bytes());
            ExitCode::SUCCESS
        }
        None => {
            let _closed_stderr = writeln!(std::io::stderr(), "corelog: no configuration key contains {part}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &StartOptions) -> anyhow::Result<()> {
    let begun = Instant::now();
    let config = Arc::new(load_config(options)?);
    let granted = preflight()?;
    let (cores, memory_bytes) = machine::size(&config, &granted)?;
    // Before a directory is made ours that could never be used.
    config.log_dirs.iter().try_for_each(|dir| check_direct_io(dir))?;
    let identity = control::open_log_dirs(&config.log_dirs, config.node_id_given.then_some(config.node_id))?;
    let reserve_bytes = control::reserve_bytes(cores);
    for dir in &identity.dirs {
        if let Err(error) = control::let_go_of_reserve(&dir.path, reserve_bytes) {
            // If it matters, recovery meets it too, and knows what it means.
            tracing::warn!(%error, "the reserve of a log directory was not looked at");
        }
    }
    let listeners = bind(&config, cores)?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();

    // The mailbox is made before anybody can send; what is sent before a core runs waits in its inbox.
    let ports: Vec<Port> = mailbox::mailbox(cores, Limits::default());
    let pulses: Vec<Pulse> = (0..cores).map(|_| Pulse::default()).collect();
    let (control, control_thread) = start_control(&config, &identity, &ports, &pulses)?;
    let broker_epoch = register(&control, &identity, &config, &listeners)?;
    let levels = initial_features(&control.image());
    if !levels.is_empty() {
        control.commit_blocking(Command::SetFeatures { levels })?;
    }
    let recovering = Instant::now();
    let image = control.image();
    let recovered = recover(&identity, cores, &image)?;
    let dirs = UsableDirs::of(&identity, &recovered);
    dirs.tell();
    // As long as a partition is missing, it may be in a directory that is.
    identity.remember(is_any_missing(&image, &recovered))?;
    if recovered.unclean {
        // Offsets that were handed out and lost must not come again in the same epoch (KIP-101).
        control.commit_blocking(Command::BumpLeaderEpochs { broker_id: identity.node_id })?;
    }
    let recovery_ms = recovering.elapsed().as_millis();
    tell_recovery(&recovered);

    let shutdown = Shutdown::default();
    let node = Arc::new(Node {
        config: config.clone(),
        control: control.clone(),
        cluster_id: identity.cluster_id.clone(),
        node_id: identity.node_id,
        broker_epoch,
        cores,
        memory_bytes,
        open_files_max: granted.open_files_max,
        listener_names: listeners.iter().map(|listener| listener.name.clone()).collect(),
        balance: Balance::new(cores),
        shutdown: shutdown.clone(),
        drained: Default::default(),
        degraded: Default::default(),
        failed_dirs: FailedDirs::new(dirs.used.len()),
        dirs: dirs.clone(),
    });
    let (ready, is_ready) = mpsc::channel();
    control.attach_cores(usize::from(cores), controller::publisher(&ports));
    let seeds = ports
        .into_iter()
        .zip(BoundListener::per_core(listeners))
        .zip(recovered.cores)
        .zip(pulses.clone())
        .map(|(((port, listeners), recovered), pulse)| CoreSeed {
            port,
            pulse,
            listeners,
            recovered,
            node: node.clone(),
            ready: ready.clone(),
        })
        .collect();
    drop(ready);
    let running =
        executor::start(&CoreSettings::new(cores, granted.cpus.clone()), seeds, |_, seed: CoreSeed| {
            seed.run()
        })?;
    let watchdog = Watchdog::start(pulses, WatchdogSettings::default())?;
    for _ in 0..cores {
        // A core that ends without a word has said why in the log.
        is_ready.recv().map_err(|_| anyhow::anyhow!("a core ended while it was starting"))??;
    }
    control::keep_reserves(dirs.used, reserve_bytes);
    // Before the word that it is ready: whoever hears it may stop it at once, and that is a clean stop too.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    tell_ready(&config, &addresses, cores, recovery_ms);
    tracing::info!(
        start_ms = begun.elapsed().as_millis() as u64,
        cluster_id = identity.cluster_id,
        "started"
    );

    wait_for_stop(signals, &shutdown);
    running.join();
    drop(watchdog);
    control_thread.stop();
    drop(identity);
    tracing::info!("stopped cleanly");
    Ok(())
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CORELOG_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,openraft=warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second broker in the same process (tests) keeps the first one's log.
    let _already_set = subscriber.try_init();
    executor::log_panics();
}

fn load_config(options: &StartOptions) -> anyhow::Result<BrokerConfig> {
    let loaded = config::load(options.file.as_deref(), &options.overrides)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = BrokerConfig::build(loaded.given)?;
    for clamped in config.clamped() {
        tracing::info!("{clamped}");
    }
    if config.flush == Flush::Written {
        tracing::warn!(
            "corelog.flush=written: records are acknowledged before the disk has flushed them. They survive a killed \
             process and NOT a power cut or a kernel crash; corelog.flush=always does both"
        );
    }
    if config.listens_beyond_loopback() {
        tracing::warn!(
            "a listener can be reached from other machines, and nothing asks who connects: there is no encryption, \
             authentication or authorization yet; use 127.0.0.1 or a network that you trust"
        );
    }
    Ok(config)
}

fn bind(config: &BrokerConfig, cores: u16) -> anyhow::Result<Vec<BoundListener>> {
    let buffers = SocketBuffers {
        send_bytes: config.socket_send_buffer_bytes,
        receive_bytes: config.socket_receive_buffer_bytes,
    };
    let mut bound = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
        let address =
            (host, listener.port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(
                || {
                    anyhow::anyhow!(
                        "listeners: the host {host} cannot be resolved; name an address of this machine"
                    )
                },
            )?;
        bound.push(BoundListener::bind(&listener.name, address, cores, buffers)?);
    }
    Ok(bound)
}

fn start_control(
    config: &Arc<BrokerConfig>,
    identity: &Identity,
    ports: &[Port],
    pulses: &[Pulse],
) -> anyhow::Result<(Control, ControlThread)> {
    let dir = identity.dirs.first().map(|dir| dir.path.join(control::METADATA_DIR)).unwrap_or_default();
    let started = Control::start(control::Options {
        dir,
        node_id: identity.node_id,
        policy: controller::policy(config),
        admin: config
            .metrics_listen
            .map(|address| control::Admin { address, metrics: metrics::text(ports, pulses) }),
        snapshot_after_bytes: control::SNAPSHOT_AFTER_BYTES,
    })?;
    if let Some(address) = started.1.admin_address() {
        tracing::info!("metrics are at http://{address}/metrics");
    }
    Ok(started)
}

fn register(
    control: &Control,
    identity: &Identity,
    config: &BrokerConfig,
    bound: &[BoundListener],
) -> anyhow::Result<i64> {
    let listeners = match &config.advertised_listeners {
        Some(advertised) => advertised
            .iter()
            .map(|one| Listener { name: one.name.clone(), host: one.host.clone(), port: one.port })
            .collect(),
        // An empty host stands for the address that the client dialled.
        None => bound
            .iter()
            .map(|one| Listener { name: one.name.clone(), host: String::new(), port: one.address.port() })
            .collect(),
    };
    let incarnation_id = TopicId(rand::random());
    let command = Command::RegisterBroker {
        broker_id: identity.node_id,
        incarnation_id,
        listeners,
        rack: config.rack.clone(),
    };
    match control.commit_blocking(command)? {
        Reply::BrokerRegistered { broker_epoch } => Ok(broker_epoch),
        other => anyhow::bail!("the controller answered a registration with {other:?}"),
    }
}

fn tell_recovery(recovered: &Recovered) {
    let report = &recovered.report;
    if recovered.unclean {
        tracing::info!(
            logs = report.logs,
            entries = report.replayed_entries,
            bytes = report.replayed_bytes,
            applied = report.applied_entries,
            load_ms = report.load_ns / 1_000_000,
            replay_ms = report.replay_ns / 1_000_000,
            publish_ms = report.publish_ns / 1_000_000,
            "recovered from the journals of a broker that was not stopped cleanly"
        );
    }
    if report.removed_logs > 0 {
        tracing::info!(logs = report.removed_logs, "removed logs of deleted topics");
    }
}

/// The one line that scripts wait for.
fn tell_ready(config: &BrokerConfig, addresses: &[SocketAddr], cores: u16, recovery_ms: u128) {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let flush = match config.flush {
        Flush::Always => "always",
        Flush::Written => "written",
    };
    let addresses = addresses.join(",");
    let mut stdout = std::io::stdout();
    let line = format!("ready address={addresses} cores={cores} flush={flush} recovery_ms={recovery_ms}\n");
    let _closed_stdout = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

/// Blocks until the first SIGTERM or SIGINT, and lets a second one end the process at once.
fn wait_for_stop(mut signals: Signals, shutdown: &Shutdown) {
    signals.forever().next();
    shutdown.request();
    tracing::info!("stopping: requests under way are finished; a second signal ends the process at once");
    let shutdown = shutdown.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if shutdown.request() == Stop::Now {
                // Nothing is lost by it: recovery reads the journals.
                signal_hook::low_level::exit(1);
            }
        }
    });
}
