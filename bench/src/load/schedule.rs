//! The intended times of an open loop: request k of the whole run is due at start + k / rate, whatever came before.
//!
//! Each connection walks its own share of the requests, so that nothing has to be queued when the broker falls behind
//! and a late answer counts from when its request should have been sent (no coordinated omission).

const SECOND_NS: u128 = 1_000_000_000;

/// One connection's share: requests `connection`, `connection + connections`, ….
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start_ns: u64,
    records_per_s: u64,
    records_per_request: u64,
    connections: u64,
    /// The run's number of the next request on this connection.
    next: u64,
}

impl Schedule {
    /// # Panics
    /// With a rate of 0, which the command line refuses.
    pub(crate) fn new(
        start_ns: u64,
        records_per_s: u64,
        records_per_request: u64,
        connections: usize,
        connection: usize,
    ) -> Self {
        assert!(records_per_s > 0, "an open loop needs a rate");
        Self {
            start_ns,
            records_per_s,
            records_per_request,
            connections: connections as u64,
            next: connection as u64,
        }
    }

    /// When the connection's next request is due. Computed from its number, so that rounding never adds up.
    pub(crate) fn due_ns(&self) -> u64 {
        let records = u128::from(self.next) * u128::from(self.records_per_request);
        let after_ns = records * SECOND_NS / u128::from(self.records_per_s);
        self.start_ns.saturating_add(u64::try_from(after_ns).unwrap_or(u64::MAX))
    }

    /// Steps to the next request.
    pub(crate) fn advance(&mut self) {
        self.next += self.connections;
    }
}
