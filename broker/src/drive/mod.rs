//! Runs the state machines on a core: its partitions, what is appended to them, read from them and asked of them.
//!
//! Called by `shard` for messages from other cores and for requests of its own connections. Stands on `logic` (decisions)
//! and `storage` (logs). Deliberately absent: the protocol's encoding and error codes (`api`), and other cores (`shard`).

mod cleaner;
mod convert;
mod degraded;
mod delete_records;
mod fetch;
mod group;
mod housekeeping;
mod inspect;
mod interrupt;
mod list_offsets;
mod partition;
mod partitions;
mod produce;
mod reconcile;
mod scrubber;
pub mod tasks;

pub use cleaner::clean_logs;
pub use degraded::Degraded;
pub use delete_records::delete_records;
pub use fetch::{fetch, watch};
pub use group::{GroupSettings, Groups, OFFSETS_TOPIC};
pub use housekeeping::{Housekeeping, keep_house};
pub use inspect::inspect;
pub use interrupt::Interrupt;
pub use list_offsets::list_offsets;
pub use partition::{Partition, ProducerTenant};
pub use partitions::{Bugs, Partitions, Settings};
pub use produce::produce;
pub use reconcile::{Assignment, LogDirs, Reconciler, Tenants, log_identity};
pub use scrubber::{ScrubSettings, scrub_logs};

/// The storage of a core, on the real disk.
pub type Store = corelog_storage::store::Store<corelog_storage::io::glommio::GlommioIo>;
/// A partition's log, on the real disk.
pub type Log = corelog_storage::log::Log<corelog_storage::io::glommio::GlommioIo>;
