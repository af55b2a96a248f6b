//! `corelog-bench report`: the JSON files of a comparison become report.md beside them.
//!
//! Called by `scripts/compare`, or by hand after its files were read. Files are named ROW.BROKER.ROUND.json. Deliberately
//! absent: judging the figures; rounds that failed or disagree are shown, never left out.

mod rounds;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::disk::DiskResult;
use rounds::{Round, Spread, rounds_of};

/// Options of `corelog-bench report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Directory with the JSON files
    dir: PathBuf,
    /// Broker that the others are divided by
    #[arg(long, default_value = "kafka")]
    baseline: String,
}

/// Writes report.md.
///
/// # Errors
/// The directory has no results, or cannot be written.
pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let path = args.dir.join("report.md");
    let text = report(&args.dir, &args.baseline)?;
    fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("{text}");
    Ok(())
}

/// One row of the comparison on one broker, in all its rounds.
struct Entry<'a> {
    row: &'a str,
    broker: &'a str,
    rounds: Vec<&'a Round>,
}

impl Entry<'_> {
    /// A figure over the rounds that ran and have it.
    fn spread(&self, figure: impl Fn(&crate::load::Outcome) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.outcome.as_ref().ok()).filter_map(figure))
    }

    fn records_per_s(&self) -> Option<Spread> {
        self.spread(|outcome| Some(outcome.records_per_s))
    }

    fn ran(&self) -> usize {
        self.rounds.iter().filter(|round| round.outcome.is_ok()).count()
    }
}

/// The whole text.
fn report(dir: &Path, baseline: &str) -> Result<String> {
    let rounds = rounds_of(dir)?;
    ensure!(!rounds.is_empty(), "{} has no files named ROW.BROKER.ROUND.json", dir.display());
    let entries = entries(&rounds);
    let mut text = String::from(
        "# Comparison\n\nMedians over the rounds; in brackets the lowest and the highest. MB are millions of bytes of record \
         batches. CPU seconds are the broker's process with all its threads; work that the kernel does for it in the background \
         (writing back a page cache) is in nobody's figure. Latency counts from the intended time of sending where a row \
         has a rate, otherwise from the time of sending.\n\n",
    );
    throughput(&mut text, &entries, baseline)?;
    cost(&mut text, &entries)?;
    members(&mut text, &entries)?;
    remarks(&mut text, &entries)?;
    loads(&mut text, &entries)?;
    disk(&mut text, dir)?;
    section(&mut text, dir, "Machine and versions", "machine.txt")?;
    for broker in brokers(&entries) {
        section(&mut text, dir, &format!("Settings of {broker}"), &format!("{broker}.settings"))?;
    }
    Ok(text)
}

fn entries(rounds: &[Round]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for round in rounds {
        match entries.iter_mut().find(|entry| (entry.row, entry.broker) == (&*round.row, &*round.broker)) {
            Some(entry) => entry.rounds.push(round),
            None => entries.push(Entry { row: &round.row, broker: &round.broker, rounds: vec![round] }),
        }
    }
    entries
}

fn brokers<'a>(entries: &[Entry<'a>]) -> Vec<&'a str> {
    let mut brokers: Vec<&str> = entries.iter().map(|entry| entry.broker).collect();
    brokers.sort_unstable();
    brokers.dedup();
    brokers
}

fn throughput(text: &mut String, entries: &[Entry<'_>], baseline: &str) -> Result<()> {
    writeln!(
        text,
        "| row | broker | rounds | records/s | MB/s | x {baseline} | p50 us | p99 us | p99.9 us |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|")?;
    for entry in entries {
        let ratio = entries
            .iter()
            .find(|other| (other.row, other.broker) == (entry.row, baseline))
            .and_then(|base| Some(entry.records_per_s()?.median / base.records_per_s()?.median))
            .filter(|_| entry.broker != baseline);
        let records = entry.records_per_s().map_or("did not run".to_string(), |spread| spread.text(0));
        writeln!(
            text,
            "| {} | {} | {} of {} | {records} | {} | {} | {} | {} | {} |",
            entry.row,
            entry.broker,
            entry.ran(),
            entry.rounds.len(),
            median(entry, 1, |outcome| Some(outcome.mb_per_s)),
            ratio.map_or("-".to_string(), |ratio| format!("{ratio:.2}")),
            median(entry, 0, |outcome| Some(outcome.latency.p50_us)),
            median(entry, 0, |outcome| Some(outcome.latency.p99_us)),
            median(entry, 0, |outcome| Some(outcome.latency.p999_us)),
        )?;
    }
    Ok(())
}

fn cost(text: &mut String, entries: &[Entry<'_>]) -> Result<()> {
    writeln!(
        text,
        "\n| row | broker | CPU-s/GB | CPU-s per million records | broker's CPU | generator's CPU | memory, most MiB |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for entry in entries {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            entry.row,
            entry.broker,
            median(entry, 2, |outcome| outcome.broker.as_ref()?.cpu_s_per_gb),
            median(entry, 2, |outcome| outcome.broker.as_ref()?.cpu_s_per_million_records),
            median(entry, 2, |outcome| Some(outcome.broker.as_ref()?.cpu_s / outcome.measured_s)),
            median(entry, 2, |outcome| Some(outcome.generator_cpu_s / outcome.measured_s)),
            median(entry, 0, |outcome| Some(mib(outcome.broker.as_ref()?.memory.resident_bytes_max))),
        )?;
    }
    writeln!(text, "\nA process's CPU is given in cores: 1.00 is one core kept busy all the time.")?;
    Ok(())
}

/// What idle members of groups take, where they were measured.
fn members(text: &mut String, entries: &[Entry<'_>]) -> Result<()> {
    let rounds =
        |entry: &Entry<'_>| Spread::of(entry.rounds.iter().filter_map(|round| round.bytes_per_member));
    if entries.iter().all(|entry| rounds(entry).is_none()) {
        return Ok(());
    }
    writeln!(
        text,
        "\n## Memory of idle members\n\nHow much the broker's resident memory grew while they joined and sent heartbeats, divided by \
         their number. Of a Java process this tells how far its heap has been touched, and not what it needs.\n"
    )?;
    writeln!(text, "| row | broker | bytes per member |\n|---|---|---|")?;
    for entry in entries {
        if let Some(spread) = rounds(entry) {
            writeln!(text, "| {} | {} | {} |", entry.row, entry.broker, spread.text(0))?;
        }
    }
    Ok(())
}

/// All that makes a figure less than it seems.
fn remarks(text: &mut String, entries: &[Entry<'_>]) -> Result<()> {
    let mut lines = Vec::new();
    for round in entries.iter().flat_map(|entry| &entry.rounds) {
        for remark in round.remarks() {
            lines.push(format!("- {} on {}, round {}: {remark}", round.row, round.broker, round.number));
        }
    }
    writeln!(text, "\n## Remarks\n")?;
    if lines.is_empty() {
        lines.push("Every round ran, without an error, on a warm broker.".to_string());
    }
    writeln!(text, "{}", lines.join("\n"))?;
    Ok(())
}

fn loads(text: &mut String, entries: &[Entry<'_>]) -> Result<()> {
    writeln!(text, "\n## Loads\n")?;
    let mut told: Vec<&str> = Vec::new();
    for entry in entries {
        let settings = entry.rounds.iter().find_map(|round| round.settings.as_ref());
        if let Some(settings) = settings
            && !told.contains(&entry.row)
        {
            told.push(entry.row);
            let unit = entry.rounds.iter().find_map(|round| round.unit.as_ref());
            let unit = unit.map_or(String::new(), |unit| format!(" (what counts as records are {unit})"));
            writeln!(text, "- {}{unit}: `{settings}`", entry.row)?;
        }
    }
    Ok(())
}

fn disk(text: &mut String, dir: &Path) -> Result<()> {
    writeln!(text, "\n## Disk\n")?;
    let measured = fs::read_to_string(dir.join("disk.json"))
        .map_err(anyhow::Error::from)
        .and_then(|json| Ok(serde_json::from_str::<DiskResult>(&json)?));
    let Ok(result) = measured else {
        writeln!(text, "Not measured: disk.json is missing or holds no result.")?;
        return Ok(());
    };
    writeln!(text, "| access | operations/s | MB/s | p50 us | p99 us | flush p50 us | flush p99 us |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for row in &result.rows {
        let (p50, p99) = row.flush.as_ref().map_or(("-".to_string(), "-".to_string()), |flush| {
            (flush.p50_us.to_string(), flush.p99_us.to_string())
        });
        writeln!(
            text,
            "| {} | {:.0} | {:.1} | {} | {} | {p50} | {p99} |",
            row.name, row.operations_per_s, row.mb_per_s, row.latency.p50_us, row.latency.p99_us
        )?;
    }
    Ok(())
}

fn section(text: &mut String, dir: &Path, title: &str, file: &str) -> Result<()> {
    let content = fs::read_to_string(dir.join(file)).unwrap_or_else(|_| format!("({file} is missing)"));
    writeln!(text, "\n## {title}\n\n```\n{}\n```", content.trim_end())?;
    Ok(())
}

fn median(
    entry: &Entry<'_>,
    decimals: usize,
    figure: impl Fn(&crate::load::Outcome) -> Option<f64>,
) -> String {
    entry.spread(figure).map_or("-".to_string(), |spread| format!("{:.decimals$}", spread.median))
}
