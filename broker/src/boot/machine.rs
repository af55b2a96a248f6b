//! How much of the machine a broker takes: cores and memory, from the configuration or from what there is.

use crate::config::BrokerConfig;
use crate::shard::budget::default_memory_bytes;
use crate::shard::preflight::Granted;

/// The most cores that a process may have.
const CORES_MAX: usize = 1024;

/// Cores, and bytes of memory for all of them together.
pub(super) fn size(config: &BrokerConfig, granted: &Granted) -> anyhow::Result<(u16, u64)> {
    let available = granted.cpus.len();
    let wanted = if config.cores == 0 { available } else { config.cores };
    if wanted > available {
        tracing::warn!(
            "corelog.cores={wanted} is more than the {available} CPUs this process may use: they share them"
        );
    }
    anyhow::ensure!(wanted <= CORES_MAX, "corelog.cores={wanted} is more than {CORES_MAX}");
    let memory_bytes = match config.memory_bytes {
        0 => default_memory_bytes(machine_memory_bytes()?),
        bytes => bytes,
    };
    Ok((wanted.max(1) as u16, memory_bytes))
}

fn machine_memory_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let kib = total.ok_or_else(|| {
        anyhow::anyhow!("/proc/meminfo does not say how much memory there is; set corelog.memory.bytes")
    })?;
    Ok(kib * 1024)
}
