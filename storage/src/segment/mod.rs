//! Segments on the disk: Kafka's batches in `.log`, and beside it `.blocks` with hashes and an index (decision 0001).
//!
//! Called by the log, recovery and scrub. Deliberately absent: writing the `.log` itself, rolling, deleting and the cache of
//! tables, all of which are the log's; nothing here decides when a page is written.

mod check;
mod names;
mod page;
mod reader;
mod rebuild;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use check::{Damage, SegmentCheck};
pub use names::{
    SegmentFile, SegmentName, aside_file_name, blocks_file_name, file_name, is_aside_file_name,
    log_file_name, parse_file_name,
};
pub use page::{PAGE_BYTES, PAGE_CHUNKS};
pub use reader::{ColdBatches, Found, SegmentReader};
pub(crate) use rebuild::complete_slowly;
pub use rebuild::{Completed, Expected, complete, load, read_pages};
pub(crate) use stream::BatchStream;
pub use stream::SegmentBytes;
pub use table::{BatchStart, BlockTable, CHUNK_BYTES, Lookup};
