//! What a process and the machine used, from /proc: CPU seconds, memory, time stolen by the hypervisor.
//!
//! Read by `load` at both ends of a measured window. Deliberately absent: anything per thread; kernel threads that
//! write back a page cache belong to no broker and show only in the machine's figures.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// The most it ever was (VmHWM).
    pub(crate) resident_bytes_max: u64,
}

/// CPU seconds of the whole machine since it was started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MachineCpu {
    pub(crate) idle_s: f64,
    pub(crate) stolen_s: f64,
}

/// User and system seconds of a process with all its threads.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("reading {path}: is process {pid} there?"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} is not as proc(5) has it"))?;
    Ok(ticks as f64 / ticks_per_s())
}

/// Memory of a process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status =
        fs::read_to_string(&path).with_context(|| format!("reading {path}: is process {pid} there?"))?;
    memory_of(&status).with_context(|| format!("{path} is not as proc(5) has it"))
}

/// What the machine's cores did not work, and what they were not given.
pub(crate) fn machine_cpu() -> Result<MachineCpu> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let (idle, stolen) = machine_ticks(&stat).context("/proc/stat is not as proc(5) has it")?;
    Ok(MachineCpu { idle_s: idle as f64 / ticks_per_s(), stolen_s: stolen as f64 / ticks_per_s() })
}

fn ticks_per_s() -> f64 {
    // 100 on every Linux that does not answer.
    sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

/// utime + stime. The command's name may hold spaces and parentheses: fields are counted from its last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn memory_of(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { resident_bytes: field("VmRSS:")?, resident_bytes_max: field("VmHWM:")? })
}

/// Idle (with waiting for the disk) and stolen ticks of all cores together.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    Some((fields.get(3)? + fields.get(4)?, *fields.get(7)?))
}

#[cfg(test)]
mod tests;
