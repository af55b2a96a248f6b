//! When a round of write-back is due. Pure: the write-back task asks before it sleeps.

/// What the decision looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// Logs with something that no checkpoint covers.
    pub(crate) dirty_logs: usize,
    /// How long the oldest of it has waited, in ns.
    pub(crate) age_ns: u64,
    /// Somebody waits for the round.
    pub(crate) pressed: bool,
    /// The journal or the uncovered bytes are over their share.
    pub(crate) full: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing until something is appended.
    Idle,
    /// Nothing for this many ns, unless called earlier.
    InNs(u64),
    /// A round.
    Now,
}

/// Decides. `age_ns_max` is how long something may wait although nothing presses.
pub(crate) fn due(pressure: Pressure, age_ns_max: u64) -> Due {
    if pressure.dirty_logs == 0 {
        // Also with a full journal: what fills it is covered, and there is nothing to write.
        return Due::Idle;
    }
    if pressure.pressed || pressure.full || pressure.age_ns >= age_ns_max {
        return Due::Now;
    }
    Due::InNs(age_ns_max - pressure.age_ns)
}
