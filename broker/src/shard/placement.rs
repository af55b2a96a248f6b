//! Which core owns which partition on this node. Pure: the same calls in the same order give the same answer.
//!
//! Called by `view` when an image brings new partitions, and by boot for recovery. A local decision, never metadata: another start with another
//! number of cores places anew. Deliberately absent: moving a partition that is placed.

use std::collections::HashMap;

use super::Core;

#[cfg(test)]
mod tests;

/// Identity of a topic as Kafka has it (KIP-516): 16 bytes of a UUID.
pub type TopicId = [u8; 16];

/// The table of this node's partitions and their cores.
#[derive(Debug, Clone)]
pub struct Placement {
    cores: HashMap<(TopicId, i32), Core>,
    /// Partitions per core.
    load: Vec<u32>,
    /// Partitions per topic and core.
    topics: HashMap<TopicId, Vec<u32>>,
}

impl Placement {
    /// An empty table for `cores` cores (at least one).
    pub fn new(cores: u16) -> Self {
        assert!(cores > 0, "placement needs at least one core");
        Self { cores: HashMap::new(), load: vec![0; usize::from(cores)], topics: HashMap::new() }
    }

    /// The core of a partition, if it has one.
    pub fn core_of(&self, topic: TopicId, partition: i32) -> Option<Core> {
        self.cores.get(&(topic, partition)).copied()
    }

    /// The core of a partition; a new one goes to the core that has the fewest of its topic's partitions, and among
    /// those to the one with the fewest partitions in all. So every topic is spread evenly, and so is the node.
    pub fn place(&mut self, topic: TopicId, partition: i32) -> Core {
        if let Some(core) = self.core_of(topic, partition) {
            return core;
        }
        let of_topic = self.topics.entry(topic).or_insert_with(|| vec![0; self.load.len()]);
        let least = (0..self.load.len()).min_by_key(|core| (of_topic[*core], self.load[*core], *core));
        let index = least.unwrap_or(0);
        of_topic[index] += 1;
        self.load[index] += 1;
        let core = Core(index as u16);
        self.cores.insert((topic, partition), core);
        core
    }

    /// Forgets a partition that was deleted. Returns the core that had it.
    pub fn remove(&mut self, topic: TopicId, partition: i32) -> Option<Core> {
        let core = self.cores.remove(&(topic, partition))?;
        self.load[core.index()] -= 1;
        if let Some(of_topic) = self.topics.get_mut(&topic) {
            of_topic[core.index()] -= 1;
            if of_topic.iter().all(|partitions| *partitions == 0) {
                self.topics.remove(&topic);
            }
        }
        Some(core)
    }

    /// Partitions per core.
    pub fn load(&self) -> &[u32] {
        &self.load
    }
}
