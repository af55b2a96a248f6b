//! Sends the same frames to Apache Kafka and to Corelog and tells where their replies differ. Started by
//! `scripts/differential`, which starts the brokers.
//!
//! Deliberately absent: brokers, and opinions of its own about what is right: Kafka's answer is.

mod allowed;
mod compare;
mod control;
mod decode;
mod generate;
mod names;
mod peer;
mod random;
mod records;
mod report;
mod run;
mod script;
#[cfg(test)]
mod tests;
mod tree;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use corelog::api::name_of;

use allowed::Allowed;
use generate::{FAMILIES, Family, World};
use random::Random;
use report::Report;
use run::Pair;

/// Scripts of one API in one version that are tried until it has been answered.
const COVERING_SEEDS_MAX: u64 = 8;

/// Sends the same frames to both brokers and compares the replies.
#[derive(Debug, Parser)]
struct Arguments {
    /// Apache Kafka's address.
    #[arg(long)]
    kafka: SocketAddr,
    /// Corelog's address.
    #[arg(long)]
    corelog: SocketAddr,
    /// How many scripts are run, families taking turns by weight.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed; with --family, only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these families of scripts.
    #[arg(long)]
    family: Vec<String>,
    /// Only families about these APIs, by key.
    #[arg(long)]
    api: Vec<i16>,
    /// KEY:VERSION, with --family and --seed: requests of this API have this version, as in the scripts that see to it that
    /// every version has been asked.
    #[arg(long, value_parser = pin)]
    pin: Option<(i16, i16)>,
    /// Tells every request and both replies.
    #[arg(long)]
    show: bool,
    /// Where the report goes.
    #[arg(long)]
    report: PathBuf,
    /// Part of all topics' names; runs on the same brokers need different ones.
    #[arg(long, default_value = "d0")]
    tag: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("corelog-differential: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn pin(text: &str) -> Result<(i16, i16)> {
    let (key, version) = text.split_once(':').context("KEY:VERSION is expected")?;
    Ok((key.parse()?, version.parse()?))
}

/// Whether nothing differed that may not, and everything that is advertised was asked.
#[allow(clippy::print_stdout, reason = "the differences are what it is for")]
fn run(arguments: &Arguments) -> Result<bool> {
    let begun = Instant::now();
    let allowed = Allowed::committed()?;
    let mut pair = Pair::connect(arguments.kafka, arguments.corelog, allowed.clone())?;
    let world = world(&mut pair, arguments)?;
    pair.prepare()?;
    if arguments.show {
        pair.show();
    }
    let mut report = Report::new(allowed);
    pair.run(&generate::fixtures(&world)?, true, &mut report).context("the fixtures")?;
    for (family, seed) in chosen(arguments, &world)? {
        let script = family.script(&world, seed, arguments.pin)?;
        pair.run(&script, false, &mut report).with_context(|| format!("{} seed {seed}", family.name))?;
    }
    let uncovered = if arguments.is_whole() { cover(&world, &mut pair, &mut report)? } else { Vec::new() };
    let (requests, differing) = (report.requests(), report.differing());
    let differences = report.differences()?;
    let stale = report.stale();
    let head = format!(
        "# Differential test\n\n{requests} requests, {differing} with differences that are not allowed, {} s.\n\n",
        begun.elapsed().as_secs()
    );
    std::fs::create_dir_all(&arguments.report)?;
    std::fs::write(arguments.report.join("report.md"), head + &report.summary()?)?;
    std::fs::write(arguments.report.join("differences.txt"), &differences)?;
    std::fs::write(arguments.report.join("lines.txt"), report.lines())?;
    print!("{differences}");
    for path in &stale {
        println!("allowed and not seen in this run: {path}");
    }
    for (key, version) in &uncovered {
        println!("{} version {version} is advertised, and no generator asks it", name_of(*key));
    }
    println!("{} passed, {} failed", requests - differing, differing + uncovered.len());
    Ok(differing == 0 && uncovered.is_empty())
}

impl Arguments {
    /// Whether the run is about everything that is advertised.
    fn is_whole(&self) -> bool {
        self.family.is_empty() && self.api.is_empty()
    }
}

/// Asks every version of every API that chance has left out, and tells what nobody asks.
fn cover(world: &World, pair: &mut Pair, report: &mut Report) -> Result<Vec<(i16, i16)>> {
    for (key, version) in world.all() {
        let Some(family) = FAMILIES.iter().find(|family| family.apis.contains(&key)) else { continue };
        for seed in 1..=COVERING_SEEDS_MAX {
            if report.was_answered(key, version) {
                break;
            }
            let script = family.script(world, seed, Some((key, version)))?;
            let what = || format!("{} seed {seed}, key {key} version {version}", family.name);
            pair.run(&script, false, report).with_context(what)?;
        }
    }
    Ok(world.all().filter(|(key, version)| !report.was_answered(*key, *version)).collect())
}

fn world(pair: &mut Pair, arguments: &Arguments) -> Result<World> {
    let (kafka, corelog) = pair.controls();
    kafka.clear()?;
    corelog.clear()?;
    let (kafka, corelog) = (kafka.versions()?, corelog.versions()?);
    let mut versions = std::collections::BTreeMap::new();
    for (key, (min, max)) in corelog {
        ensure!(decode::is_known(key), "key {key} is advertised, and its replies cannot be read here");
        let Some((kafka_min, kafka_max)) = kafka.get(&key) else {
            bail!("key {key} is advertised, and Kafka does not have it");
        };
        // Produce is told from 0 on and served from 3 on.
        let min = if key == 0 { 3 } else { min };
        let (min, max) = (min.max(*kafka_min), max.min(*kafka_max));
        ensure!(min <= max, "key {key} has no version in common with Kafka's");
        versions.insert(key, (min, max));
    }
    ensure!(!versions.is_empty(), "the brokers have no API in common");
    Ok(World { tag: arguments.tag.clone(), versions })
}

/// The scripts of this run.
fn chosen(arguments: &Arguments, world: &World) -> Result<Vec<(&'static Family, u64)>> {
    let families: Vec<&'static Family> = FAMILIES
        .iter()
        .filter(|family| {
            arguments.family.is_empty() || arguments.family.iter().any(|name| name == family.name)
        })
        .filter(|family| {
            family.apis.is_empty() || family.apis.iter().any(|key| world.versions.contains_key(key))
        })
        .filter(|family| {
            arguments.api.is_empty() || arguments.api.iter().any(|key| family.apis.contains(key))
        })
        .collect();
    ensure!(
        !families.is_empty(),
        "no such family; there are {:?}",
        FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>()
    );
    if let (Some(seed), false) = (arguments.seed, arguments.family.is_empty()) {
        return Ok(families.into_iter().map(|family| (family, seed)).collect());
    }
    let weights: Vec<usize> =
        families.iter().enumerate().flat_map(|(place, family)| vec![place; family.weight]).collect();
    let first = arguments.seed.unwrap_or(1);
    let seeds = first..first + arguments.seeds;
    Ok(seeds
        .filter_map(|seed| {
            // Every family has its turn before chance decides.
            let place = match usize::try_from(seed - first) {
                Ok(turn) if turn < families.len() => turn,
                _ => Random::new(seed, "families").pick(&weights),
            };
            Some((*families.get(place)?, seed))
        })
        .collect())
}
