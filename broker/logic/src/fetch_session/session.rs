//! One session: its partitions in the order in which they are read, and what was last told of each.
//!
//! Made and kept by the cache. A partition that gave records goes to the end of the order, so that a full response never starves the ones
//! behind it. Deliberately absent: ids and eviction.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::{Told, TopicKey, Wanted};

/// What a session without partitions takes in memory, in bytes, with its places in the cache's tables.
pub(super) const SESSION_BYTES: u64 = 512;
/// What a topic of a session takes beside its name.
const TOPIC_BYTES: u64 = 256;
/// What a partition of a session takes: its entry and its share of a table that is half empty.
const PARTITION_BYTES: u64 = (size_of::<Cached>() + 2 * (size_of::<(i32, u32)>() + 1)) as u64;

/// End of the list.
const NONE: u32 = u32::MAX;

/// A partition's place in its session; valid until the session's next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// A topic of a session.
#[derive(Debug)]
pub struct Topic {
    /// How requests name it.
    pub key: TopicKey,
    /// The name of a topic that is given by id, once it was known: a topic that is gone was another thing than one that never was.
    name: OnceCell<Rc<str>>,
}

impl Topic {
    /// The name that the topic was known by, where requests give its id.
    pub fn known_name(&self) -> Option<&Rc<str>> {
        self.name.get()
    }

    /// Remembers the topic's name.
    pub fn learn_name(&self, name: &str) {
        self.name.get_or_init(|| Rc::from(name));
    }
}

/// A partition of a session.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its topic.
    pub topic: Rc<Topic>,
    /// Its number.
    pub partition: i32,
    /// What the client asked last.
    pub wanted: Wanted,
}

#[derive(Debug)]
struct Cached {
    partition: Partition,
    told: Told,
    next: u32,
    previous: u32,
}

#[derive(Debug)]
struct TopicEntry {
    topic: Rc<Topic>,
    slots: HashMap<i32, u32>,
}

/// A session's state.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) uses_topic_ids: bool,
    pub(super) privileged: bool,
    pub(super) created_ms: i64,
    pub(super) last_used_ms: i64,
    pub(super) epoch: i32,
    /// Partitions when the cache last looked: the session's place in the order of eviction.
    pub(super) ranked_len: usize,
    /// Bytes when the cache last looked.
    pub(super) counted_bytes: u64,
    entries: Vec<Option<Cached>>,
    free: Vec<u32>,
    by_topic: HashMap<TopicKey, TopicEntry>,
    first: u32,
    last: u32,
    len: usize,
    name_bytes: u64,
}

impl Session {
    pub(super) fn new(uses_topic_ids: bool, privileged: bool, epoch: i32, now_ms: i64) -> Self {
        Self {
            uses_topic_ids,
            privileged,
            created_ms: now_ms,
            last_used_ms: now_ms,
            epoch,
            ranked_len: 0,
            counted_bytes: 0,
            entries: Vec::new(),
            free: Vec::new(),
            by_topic: HashMap::new(),
            first: NONE,
            last: NONE,
            len: 0,
            name_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        SESSION_BYTES
            + self.name_bytes
            + self.by_topic.len() as u64 * TOPIC_BYTES
            + self.entries.len() as u64 * PARTITION_BYTES
    }

    /// Adds a partition at the end, or takes over what is asked of one that is there.
    pub(super) fn want(&mut self, key: &TopicKey, partition: i32, wanted: Wanted, told: Told) {
        let topic = match self.by_topic.get_mut(key) {
            Some(topic) => topic,
            None => {
                self.name_bytes += name_len(key);
                let topic = Rc::new(Topic { key: key.clone(), name: OnceCell::new() });
                self.by_topic.entry(key.clone()).or_insert(TopicEntry { topic, slots: HashMap::new() })
            }
        };
        let place = match topic.slots.entry(partition) {
            Entry::Occupied(place) => {
                if let Some(Some(entry)) = self.entries.get_mut(*place.get() as usize) {
                    entry.partition.wanted = wanted;
                }
                return;
            }
            Entry::Vacant(place) => place,
        };
        let partition = Partition { topic: topic.topic.clone(), partition, wanted };
        let entry = Some(Cached { partition, told, next: NONE, previous: NONE });
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(free) = self.entries.get_mut(slot as usize) {
                    *free = entry;
                }
                slot
            }
            None => {
                self.entries.push(entry);
                // A request has at most 2^18 partitions, and the cache bounds what they add up to.
                (self.entries.len() - 1) as u32
            }
        };
        place.insert(slot);
        self.len += 1;
        self.link_last(slot);
    }

    /// Takes a partition out.
    pub(super) fn forget(&mut self, key: &TopicKey, partition: i32) {
        let Some(topic) = self.by_topic.get_mut(key) else { return };
        let Some(slot) = topic.slots.remove(&partition) else { return };
        if topic.slots.is_empty() {
            self.by_topic.remove(key);
            self.name_bytes = self.name_bytes.saturating_sub(name_len(key));
        }
        self.unlink(slot);
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            *entry = None;
        }
        self.free.push(slot);
        self.len -= 1;
        if self.len == 0 {
            self.entries.clear();
            self.free.clear();
        }
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.by_topic.values().map(|topic| &*topic.topic)
    }

    /// The partitions in the order in which they are to be read.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (Slot, &Partition)> {
        let mut at = self.first;
        std::iter::from_fn(move || {
            let slot = at;
            let entry = self.entries.get(slot as usize)?.as_ref()?;
            at = entry.next;
            Some((Slot(slot), &entry.partition))
        })
    }

    /// Whether the response must have this partition; notes what it says if so (Kafka's `maybeUpdateResponseData`).
    pub(super) fn tell(&mut self, slot: Slot, now: &Told) -> bool {
        let Some(Some(entry)) = self.entries.get_mut(slot.0 as usize) else { return true };
        let told = &mut entry.told;
        let changed = told.high_watermark != now.high_watermark
            || told.last_stable_offset != now.last_stable_offset
            || told.log_start_offset != now.log_start_offset;
        *told = *now;
        if now.failed {
            told.high_watermark = -1;
        }
        if now.has_records {
            self.unlink(slot.0);
            self.link_last(slot.0);
        }
        changed || now.has_records || now.must_tell || now.failed
    }

    fn link_last(&mut self, slot: u32) {
        let last = std::mem::replace(&mut self.last, slot);
        if let Some(Some(entry)) = self.entries.get_mut(slot as usize) {
            (entry.previous, entry.next) = (last, NONE);
        }
        match self.entries.get_mut(last as usize) {
            Some(Some(before)) => before.next = slot,
            _ => self.first = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(Some(entry)) = self.entries.get(slot as usize) else { return };
        let (previous, next) = (entry.previous, entry.next);
        match self.entries.get_mut(previous as usize) {
            Some(Some(before)) => before.next = next,
            _ => self.first = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(Some(after)) => after.previous = previous,
            _ => self.last = previous,
        }
    }
}

fn name_len(key: &TopicKey) -> u64 {
    match key {
        TopicKey::Name(name) => name.len() as u64,
        // The name that is learnt later, at its longest.
        TopicKey::Id(_) => 249,
    }
}
