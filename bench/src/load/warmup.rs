//! Decides when a broker is warm: after a fixed time, or when two neighbouring stretches went equally fast.
//! Fed once a second by the loop. A JVM compiles for the better part of a minute; measuring it cold would be unfair.

use clap::Args;
use serde::{Deserialize, Serialize};

/// Length of a stretch that is compared with the one before it, in seconds.
const STRETCH_S: usize = 4;

/// How the warm-up ends.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WarmupArgs {
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 2)]
    pub(crate) warmup_s: u32,
    /// Go on until two neighbouring stretches of 4 s differ by no more than this, in percent.
    #[arg(long)]
    pub(crate) warmup_stable_percent: Option<f64>,
    /// But not longer than this, in seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) warmup_s_max: u32,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WarmupOutcome {
    pub(crate) seconds: u32,
    /// Whether two stretches agreed; nothing when that was not asked for.
    pub(crate) stable: Option<bool>,
}

/// A warm-up under way.
#[derive(Debug)]
pub(crate) struct Warmup {
    args: WarmupArgs,
    /// Records in each of the last two stretches' seconds.
    recent: Vec<u64>,
    seconds: u32,
}

impl Warmup {
    pub(crate) fn new(args: WarmupArgs) -> Self {
        Self { args, recent: Vec::new(), seconds: 0 }
    }

    /// The outcome of a warm-up of no length.
    pub(crate) fn not_wanted(&self) -> Option<WarmupOutcome> {
        (self.args.warmup_s == 0 && self.args.warmup_stable_percent.is_none()).then(|| self.so_far())
    }

    /// Another second has passed. Says how the warm-up ended when it has.
    pub(crate) fn second(&mut self, records: u64) -> Option<WarmupOutcome> {
        self.seconds += 1;
        if self.recent.len() == 2 * STRETCH_S {
            self.recent.remove(0);
        }
        self.recent.push(records);
        let over = match self.args.warmup_stable_percent {
            None => true,
            Some(percent) => self.agrees_within(percent) || self.seconds >= self.args.warmup_s_max,
        };
        (over && self.seconds >= self.args.warmup_s).then(|| self.so_far())
    }

    /// How it stands now.
    pub(crate) fn so_far(&self) -> WarmupOutcome {
        let stable = self.args.warmup_stable_percent.map(|percent| self.agrees_within(percent));
        WarmupOutcome { seconds: self.seconds, stable }
    }

    fn agrees_within(&self, percent: f64) -> bool {
        if self.recent.len() < 2 * STRETCH_S {
            return false;
        }
        let (before, after) = self.recent.split_at(STRETCH_S);
        let (before, after) = (before.iter().sum::<u64>() as f64, after.iter().sum::<u64>() as f64);
        // A broker that answers nothing is not warm.
        after > 0.0 && (after - before).abs() <= before.max(after) * percent / 100.0
    }
}
