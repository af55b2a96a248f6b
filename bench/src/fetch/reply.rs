//! A Fetch reply as a stream: walks heads, batch headers and records as they arrive and keeps nothing of them.
//!
//! Called for every read by `connection`; a reply of many megabytes passes through a small buffer, so that the generator
//! stays in its cache. Deliberately absent: other versions than 12, records one by one.

use anyhow::{Result, bail};
use corelog_storage::batch::{BatchHeader, HEADER_BYTES};

use crate::wire::Cursor;

/// Longest head (of a reply, topic or partition) that is waited for, in bytes. Topic names have at most 249.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// First byte of a batch that its CRC covers.
const CRC_FROM: usize = 21;

/// What the walk meets, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A reply begins.
    Reply { correlation: i32, error_code: i16 },
    /// A partition of it.
    Partition { partition: i32, error_code: i16 },
    /// A whole batch of the partition; `crc_ok` only when CRCs are verified.
    Batch { header: BatchHeader, crc_ok: Option<bool> },
    /// The reply is complete.
    End,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ReplyHead,
    TopicHead,
    PartitionHead,
    /// `left` bytes of the partition's records follow.
    Records {
        left: usize,
    },
    /// `skip` bytes of a batch's records follow, then `left` of other batches.
    Batch {
        header: BatchHeader,
        crc: u32,
        skip: usize,
        left: usize,
    },
    /// The end of a batch that the partition's limit has cut.
    Cut {
        left: usize,
    },
    PartitionTail,
}

/// The walk over the replies of one connection.
#[derive(Debug)]
pub(crate) struct Walk {
    state: State,
    verify_crc: bool,
    /// Bytes of the frame that have not come yet.
    frame_left: usize,
    topics_left: usize,
    partitions_left: usize,
}

/// What one step needs before it can be taken.
enum Step {
    Took(usize),
    NeedsMore,
}

impl Walk {
    pub(crate) fn new(verify_crc: bool) -> Self {
        Self { state: State::ReplyHead, verify_crc, frame_left: 0, topics_left: 0, partitions_left: 0 }
    }

    /// Walks over what is there. Returns how many bytes are done with; the rest must be offered again with more behind it.
    ///
    /// # Errors
    /// Bytes that are no reply to Fetch version 12, or whatever `see` refuses.
    pub(crate) fn feed(&mut self, input: &[u8], see: &mut dyn FnMut(Event) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        while at < input.len() || self.needs_nothing() {
            match self.step(&input[at..], see)? {
                Step::Took(count) => {
                    at += count;
                    self.charge(count)?;
                }
                Step::NeedsMore => {
                    if input.len() - at > HEAD_BYTES_MAX {
                        bail!("a Fetch reply has a head of more than {HEAD_BYTES_MAX} bytes");
                    }
                    break;
                }
            }
        }
        Ok(at)
    }

    /// Whether the next step takes no bytes: the end of an empty run of records or batches.
    fn needs_nothing(&self) -> bool {
        matches!(
            self.state,
            State::Records { left: 0 } | State::Batch { skip: 0, .. } | State::Cut { left: 0 }
        )
    }

    /// The frame's length and its contents must agree.
    fn charge(&mut self, count: usize) -> Result<()> {
        match self.frame_left.checked_sub(count) {
            Some(left) => self.frame_left = left,
            None => bail!(
                "the contents of a Fetch reply are {} bytes longer than its frame",
                count - self.frame_left
            ),
        }
        if self.state == State::ReplyHead && self.frame_left != 0 {
            bail!("{} bytes of a Fetch reply follow its end", self.frame_left);
        }
        Ok(())
    }

    fn step(&mut self, input: &[u8], see: &mut dyn FnMut(Event) -> Result<()>) -> Result<Step> {
        let mut cursor = Cursor::new(input);
        let done = match self.state {
            State::ReplyHead => self.reply_head(&mut cursor, see)?,
            State::TopicHead => self.topic_head(&mut cursor),
            State::PartitionHead => self.partition_head(&mut cursor, see)?,
            State::PartitionTail => self.partition_tail(&mut cursor, see)?,
            State::Records { left: 0 } => {
                self.state = State::PartitionTail;
                Some(())
            }
            State::Records { left } if left < HEADER_BYTES => {
                self.state = State::Cut { left };
                Some(())
            }
            State::Records { left } => self.batch_head(&mut cursor, left)?,
            State::Batch { header, crc, skip: 0, left } => {
                let crc_ok = self.verify_crc.then_some(crc == header.crc);
                see(Event::Batch { header, crc_ok })?;
                self.state = State::Records { left };
                Some(())
            }
            State::Batch { header, crc, skip, left } => {
                let count = skip.min(input.len());
                let crc = if self.verify_crc { crc32c::crc32c_append(crc, &input[..count]) } else { crc };
                self.state = State::Batch { header, crc, skip: skip - count, left };
                return Ok(Step::Took(count));
            }
            State::Cut { left } => {
                let count = left.min(input.len());
                self.state =
                    if count == left { State::PartitionTail } else { State::Cut { left: left - count } };
                return Ok(Step::Took(count));
            }
        };
        Ok(done.map_or(Step::NeedsMore, |()| Step::Took(cursor.position())))
    }

    fn reply_head(
        &mut self,
        cursor: &mut Cursor<'_>,
        see: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Option<()>> {
        let Some(len) = cursor.i32() else { return Ok(None) };
        let Ok(len) = usize::try_from(len) else { bail!("a Fetch reply claims a length of {len}") };
        let mut fields = || {
            let correlation = cursor.i32()?;
            cursor.skip_tags()?;
            let _throttle_time_ms = cursor.i32()?;
            let error_code = cursor.i16()?;
            let _session_id = cursor.i32()?;
            Some((correlation, error_code, cursor.compact_len()?.unwrap_or(0)))
        };
        let Some((correlation, error_code, topics)) = fields() else { return Ok(None) };
        self.topics_left = topics;
        if topics == 0 {
            let Some(()) = cursor.skip_tags() else { return Ok(None) };
        }
        // The four bytes of the length are not part of what it counts, and this step takes them.
        self.frame_left = len + 4;
        see(Event::Reply { correlation, error_code })?;
        if topics == 0 {
            see(Event::End)?;
        } else {
            self.state = State::TopicHead;
        }
        Ok(Some(()))
    }

    fn topic_head(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.compact_bytes()?;
        let partitions = cursor.compact_len()?.unwrap_or(0);
        self.partitions_left = partitions;
        self.state = State::PartitionHead;
        Some(())
    }

    fn partition_head(
        &mut self,
        cursor: &mut Cursor<'_>,
        see: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Option<()>> {
        if self.partitions_left == 0 {
            bail!("a Fetch reply names a topic without partitions");
        }
        let mut fields = || {
            let partition = cursor.i32()?;
            let error_code = cursor.i16()?;
            let _high_watermark = cursor.i64()?;
            let _last_stable_offset = cursor.i64()?;
            let _log_start_offset = cursor.i64()?;
            for _ in 0..cursor.compact_len()?.unwrap_or(0) {
                let _producer_id = cursor.i64()?;
                let _first_offset = cursor.i64()?;
                cursor.skip_tags()?;
            }
            let _preferred_read_replica = cursor.i32()?;
            Some((partition, error_code, cursor.compact_len()?.unwrap_or(0)))
        };
        let Some((partition, error_code, left)) = fields() else { return Ok(None) };
        see(Event::Partition { partition, error_code })?;
        self.state = State::Records { left };
        Ok(Some(()))
    }

    fn batch_head(&mut self, cursor: &mut Cursor<'_>, left: usize) -> Result<Option<()>> {
        let Some(bytes) = cursor.bytes(HEADER_BYTES) else { return Ok(None) };
        let header = BatchHeader::parse(bytes)?;
        let left = left - HEADER_BYTES;
        let skip = header.total_len() - HEADER_BYTES;
        self.state = match left.checked_sub(skip) {
            Some(left) => {
                let crc = if self.verify_crc { crc32c::crc32c(&bytes[CRC_FROM..]) } else { 0 };
                State::Batch { header, crc, skip, left }
            }
            None => State::Cut { left },
        };
        Ok(Some(()))
    }

    fn partition_tail(
        &mut self,
        cursor: &mut Cursor<'_>,
        see: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Option<()>> {
        let topic_ends = self.partitions_left == 1;
        let reply_ends = topic_ends && self.topics_left == 1;
        // Tagged fields of the partition, of the topic behind its last one, of the reply behind its last topic.
        for _ in 0..1 + usize::from(topic_ends) + usize::from(reply_ends) {
            let Some(()) = cursor.skip_tags() else { return Ok(None) };
        }
        self.partitions_left -= 1;
        self.topics_left -= usize::from(topic_ends);
        self.state = match (reply_ends, topic_ends) {
            (true, _) => State::ReplyHead,
            (false, true) => State::TopicHead,
            (false, false) => State::PartitionHead,
        };
        if reply_ends {
            see(Event::End)?;
        }
        Ok(Some(()))
    }
}
