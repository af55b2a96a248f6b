//! What one partition decides about the batches it is sent. The partition's driver on its core calls it.
//!
//! Deliberately absent: bytes on disk, offsets' assignment, replication.

pub mod epoch_end;
pub mod producer_state;
