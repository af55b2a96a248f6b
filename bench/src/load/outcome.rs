//! What a run found: amounts, latencies, and what the broker, the generator and the machine spent on it.
//!
//! Made by the loop in the parent out of two readings of /proc; serialised into every result. Deliberately absent: what
//! was asked for (each command adds its settings).

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Counts, LatencySummary, Plan, SECOND_NS, Tally, WarmupOutcome};
use crate::process::{self, MachineCpu, Memory};

/// What a broker used in the measured window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BrokerUse {
    pub(crate) cpu_s: f64,
    pub(crate) cpu_s_per_gb: Option<f64>,
    pub(crate) cpu_s_per_million_records: Option<f64>,
    pub(crate) memory: Memory,
}

/// All that the loop knows at the end of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) warmup: WarmupOutcome,
    /// Length of the measured window, seconds.
    pub(crate) measured_s: f64,
    /// What was answered within the window.
    pub(crate) window: Counts,
    pub(crate) records_per_s: f64,
    /// Bytes of record batches, millions per second.
    pub(crate) mb_per_s: f64,
    pub(crate) requests_per_s: f64,
    /// From the intended (closed loop: the actual) time of sending to the whole answer.
    pub(crate) latency: LatencySummary,
    /// How late the generator itself sent what was due and had room: the bench's own error, open loop only.
    pub(crate) generator_late: LatencySummary,
    /// Records in each second of the window.
    pub(crate) records_each_s: Vec<u64>,
    pub(crate) generator_cpu_s: f64,
    pub(crate) broker: Option<BrokerUse>,
    /// Seconds that all cores together had nothing to do, and that the hypervisor gave to others.
    pub(crate) machine_idle_s: f64,
    pub(crate) machine_stolen_s: f64,
    /// Requests that failed, by Kafka's error code, over the whole run.
    pub(crate) errors: Vec<(i16, u64)>,
    /// Requests still unanswered when the drain was given up; 0 is a complete run.
    pub(crate) unanswered: usize,
}

/// What was read from /proc at one end of the window.
pub(super) struct Reading {
    pub(super) at_ns: u64,
    counts: Counts,
    generator_cpu_s: f64,
    broker_cpu_s: Option<f64>,
    machine: MachineCpu,
}

impl Reading {
    pub(super) fn take(at_ns: u64, tally: &Tally, plan: &Plan) -> Result<Self> {
        Ok(Self {
            at_ns,
            counts: tally.total(),
            generator_cpu_s: process::cpu_s(std::process::id())?,
            broker_cpu_s: plan.broker_pid.map(process::cpu_s).transpose()?,
            machine: process::machine_cpu()?,
        })
    }
}

impl Outcome {
    /// The window between two readings.
    pub(super) fn between(
        plan: &Plan,
        warmup: WarmupOutcome,
        from: &Reading,
        to: &Reading,
        records_each_s: Vec<u64>,
        tally: &Tally,
    ) -> Result<Outcome> {
        let measured_s = (to.at_ns - from.at_ns) as f64 / SECOND_NS as f64;
        let window = to.counts - from.counts;
        let broker = match (plan.broker_pid, from.broker_cpu_s, to.broker_cpu_s) {
            (Some(pid), Some(before), Some(after)) => {
                let cpu_s = after - before;
                let per = |amount: f64| (amount > 0.0).then_some(cpu_s / amount);
                Some(BrokerUse {
                    cpu_s,
                    cpu_s_per_gb: per(window.bytes as f64 / 1e9),
                    cpu_s_per_million_records: per(window.records as f64 / 1e6),
                    memory: process::memory(pid)?,
                })
            }
            _ => None,
        };
        Ok(Outcome {
            warmup,
            measured_s,
            window,
            records_per_s: window.records as f64 / measured_s,
            mb_per_s: window.bytes as f64 / 1e6 / measured_s,
            requests_per_s: window.requests as f64 / measured_s,
            latency: tally.latency(),
            generator_late: tally.generator_late(),
            records_each_s,
            generator_cpu_s: to.generator_cpu_s - from.generator_cpu_s,
            broker,
            machine_idle_s: to.machine.idle_s - from.machine.idle_s,
            machine_stolen_s: to.machine.stolen_s - from.machine.stolen_s,
            errors: tally.errors(),
            unanswered: 0,
        })
    }

    /// The figures as a table on standard error.
    pub(crate) fn print_table(&self) {
        let latency = &self.latency;
        eprintln!(
            "  throughput      {:.0} records/s, {:.1} MB/s, {:.0} requests/s over {:.1} s",
            self.records_per_s, self.mb_per_s, self.requests_per_s, self.measured_s
        );
        let stable = match self.warmup.stable {
            None => "",
            Some(true) => ", stable",
            Some(false) => ", NOT stable",
        };
        eprintln!("  warm-up         {} s{stable}", self.warmup.seconds);
        eprintln!(
            "  latency us      p50 {} p90 {} p99 {} p99.9 {} p99.99 {} max {}",
            latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.p9999_us, latency.max_us
        );
        if self.generator_late.count > 0 {
            let late = &self.generator_late;
            eprintln!("  generator late  p50 {} p99 {} max {} us", late.p50_us, late.p99_us, late.max_us);
        }
        eprintln!("  generator CPU   {:.2} s", self.generator_cpu_s);
        if let Some(broker) = &self.broker {
            let told = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.2}"));
            eprintln!(
                "  broker CPU      {:.2} s: {} s/GB, {} s per million records",
                broker.cpu_s,
                told(broker.cpu_s_per_gb),
                told(broker.cpu_s_per_million_records)
            );
            let mib = |bytes: u64| bytes >> 20;
            eprintln!(
                "  broker memory   {} MiB, at most {} MiB",
                mib(broker.memory.resident_bytes),
                mib(broker.memory.resident_bytes_max)
            );
        }
        eprintln!(
            "  machine         idle {:.2} s, stolen {:.2} s of CPU",
            self.machine_idle_s, self.machine_stolen_s
        );
        if !self.errors.is_empty() {
            eprintln!("  ERRORS          (code, count) {:?}", self.errors);
        }
        if self.unanswered > 0 {
            eprintln!("  UNANSWERED      {} requests", self.unanswered);
        }
    }
}
