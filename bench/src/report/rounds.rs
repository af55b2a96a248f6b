//! The files of a comparison as they lie in its directory, and what several rounds of the same thing amount to.
//! Read by `report`. A file that is empty or no result is a round that did not run, and says so.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::load::Outcome;

/// Share of the machine that may be stolen before a round is remarked on.
const STOLEN_SHARE_MAX: f64 = 0.02;

/// One file.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) row: String,
    pub(super) broker: String,
    pub(super) number: u32,
    /// Why it did not run, if it did not.
    pub(super) outcome: Result<Outcome, String>,
    pub(super) settings: Option<Value>,
    /// What a record is, where it is no record of a topic.
    pub(super) unit: Option<String>,
    /// Of idle members of groups: bytes of the broker's resident memory.
    pub(super) bytes_per_member: Option<f64>,
    rate_reached: Option<bool>,
}

impl Round {
    /// What a file holds.
    pub(super) fn parse(row: &str, broker: &str, number: u32, json: &str) -> Self {
        let value: Value = serde_json::from_str(json).unwrap_or(Value::Null);
        let outcome = match (value.get("ran").and_then(Value::as_bool), value.get("error")) {
            (Some(true), _) => {
                Outcome::deserialize(&value).map_err(|error| format!("unreadable result: {error}"))
            }
            (_, Some(error)) => Err(error.as_str().unwrap_or("no reason given").to_string()),
            _ => Err("no result was written".to_string()),
        };
        Self {
            row: row.to_string(),
            broker: broker.to_string(),
            number,
            outcome,
            settings: value.get("settings").cloned(),
            unit: value.get("unit").and_then(Value::as_str).map(str::to_string),
            bytes_per_member: value.pointer("/idle/bytes_per_member").and_then(Value::as_f64),
            rate_reached: value
                .pointer("/rate/reached")
                .or_else(|| value.pointer("/settings/rate_reached"))
                .and_then(Value::as_bool),
        }
    }

    /// What a reader must know before believing its figures.
    pub(super) fn remarks(&self) -> Vec<String> {
        let outcome = match &self.outcome {
            Ok(outcome) => outcome,
            Err(reason) => return vec![format!("did not run: {reason}")],
        };
        let mut remarks = Vec::new();
        if !outcome.errors.is_empty() {
            remarks.push(format!("failed requests, by error code and count: {:?}", outcome.errors));
        }
        if outcome.unanswered > 0 {
            remarks.push(format!("{} requests were never answered", outcome.unanswered));
        }
        if outcome.warmup.stable == Some(false) {
            remarks.push(format!("not level after {} s of warm-up", outcome.warmup.seconds));
        }
        if self.rate_reached == Some(false) {
            remarks.push("the rate was not reached; its latencies are too low".to_string());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if outcome.machine_stolen_s > outcome.measured_s * cores as f64 * STOLEN_SHARE_MAX {
            remarks.push(format!("the hypervisor stole {:.1} s of CPU", outcome.machine_stolen_s));
        }
        remarks
    }
}

/// All rounds in a directory, by row, broker and number.
pub(super) fn rounds_of(dir: &Path) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('.').collect();
        if let [row, broker, number, "json"] = parts[..]
            && let Ok(number) = number.parse()
        {
            let json = fs::read_to_string(entry.path()).with_context(|| format!("reading {name}"))?;
            rounds.push(Round::parse(row, broker, number, &json));
        }
    }
    rounds.sort_by(|a, b| (&a.row, &a.broker, a.number).cmp(&(&b.row, &b.broker, b.number)));
    Ok(rounds)
}

/// The middle of several figures and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    /// Nothing when there are none.
    pub(super) fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, lowest, highest })
    }

    /// `median (lowest to highest)`.
    pub(super) fn text(&self, decimals: usize) -> String {
        format!("{:.decimals$} ({:.decimals$} to {:.decimals$})", self.median, self.lowest, self.highest)
    }
}
