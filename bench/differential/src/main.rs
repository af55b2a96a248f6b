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

use anyhow::{Context, Result, ensure};
use clap::Parser;

use allowed::Allowed;
use generate::{FAMILIES, Family, World};
use random::Random;
use report::Report;
use run::Pair;

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
    /// Random requests go to every API that both brokers serve, also to those whose differences nobody has gone through yet.
    #[arg(long)]
    every_api: bool,
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

/// Whether nothing differed that may not.
#[allow(clippy::print_stdout, reason = "the differences are what it is for")]
fn run(arguments: &Arguments) -> Result<bool> {
    let begun = Instant::now();
    let allowed = Allowed::committed()?;
    let mut pair = Pair::connect(arguments.kafka, arguments.corelog, allowed.clone())?;
    let world = world(&mut pair, arguments)?;
    let mut report = Report::new(allowed);
    pair.run(&generate::fixtures(&world)?, true, &mut report).context("the fixtures")?;
    for (family, seed) in chosen(arguments, &world)? {
        let script = family.script(&world, seed)?;
        pair.run(&script, false, &mut report).with_context(|| format!("{} seed {seed}", family.name))?;
    }
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
    println!("{} passed, {differing} failed", requests - differing);
    Ok(differing == 0)
}

fn world(pair: &mut Pair, arguments: &Arguments) -> Result<World> {
    let (kafka, corelog) = pair.controls();
    kafka.clear()?;
    corelog.clear()?;
    let (kafka, corelog) = (kafka.versions()?, corelog.versions()?);
    let mut versions = std::collections::BTreeMap::new();
    for (key, (min, max)) in corelog {
        let Some((kafka_min, kafka_max)) = kafka.get(&key) else { continue };
        // Produce is told from 0 on and served from 3 on.
        let min = if key == 0 { 3 } else { min };
        let (min, max) = (min.max(*kafka_min), max.min(*kafka_max));
        if min <= max && decode::is_known(key) {
            versions.insert(key, (min, max));
        }
    }
    ensure!(!versions.is_empty(), "the brokers have no API in common");
    Ok(World { tag: arguments.tag.clone(), versions, every_api: arguments.every_api })
}

/// The scripts of this run.
fn chosen(arguments: &Arguments, world: &World) -> Result<Vec<(&'static Family, u64)>> {
    let families: Vec<&'static Family> = FAMILIES
        .iter()
        .filter(|family| {
            arguments.family.is_empty() || arguments.family.iter().any(|name| name == family.name)
        })
        .filter(|family| world.has(family) || !arguments.family.is_empty())
        .filter(|family| arguments.api.is_empty() || arguments.api.contains(&family.api))
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
