//! Groups the partitions of a request by the core that owns them, so that each core gets one message.
//!
//! Used by Produce, Fetch and ListOffsets. A slot is a partition's place in the request, where its outcome goes.

use crate::shard::Core;

/// What one core is asked.
pub(super) struct Group<T> {
    pub(super) core: Core,
    /// Slots of the items, in the same order.
    pub(super) slots: Vec<usize>,
    pub(super) items: Vec<T>,
}

/// Items by owning core, cores in the order of their first item.
pub(super) struct Groups<T>(pub(super) Vec<Group<T>>);

impl<T> Groups<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the item of one slot. Cores are few: a linear search beats a map.
    pub(super) fn push(&mut self, core: Core, slot: usize, item: T) {
        match self.0.iter_mut().find(|group| group.core == core) {
            Some(group) => {
                group.slots.push(slot);
                group.items.push(item);
            }
            None => self.0.push(Group { core, slots: vec![slot], items: vec![item] }),
        }
    }
}
