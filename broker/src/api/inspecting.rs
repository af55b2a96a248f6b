//! Asks the owning cores about the partitions of a request and puts each answer in its slot.
//!
//! Used by the APIs that look at partitions without reading records. Deliberately absent: what is asked.

use super::broker::Broker;
use super::error_code::{ErrorCode, Refusal};
use super::grouping::Groups;
use crate::drive::tasks::{InspectTask, Inspected, PartitionError};

/// Sends each core its items and fills `slots` with what comes back.
pub(super) async fn inspect<T, A>(
    broker: &Broker,
    groups: Groups<T>,
    task: impl Fn(Vec<T>) -> InspectTask,
    answers: impl Fn(Inspected) -> Option<Vec<Result<A, PartitionError>>>,
    slots: &mut [Result<A, Refusal>],
) {
    let mut pending = Vec::new();
    for group in groups.0 {
        pending.push((group.slots, broker.cores.inspect(group.core, task(group.items)).await));
    }
    for (group_slots, submitted) in pending {
        let inspected = match submitted {
            Ok(inspected) => inspected.await.ok().and_then(&answers),
            Err(_) => None,
        };
        match inspected {
            Some(answers) => {
                for (slot, answer) in group_slots.into_iter().zip(answers) {
                    set(slots, slot, answer.map_err(|error| (&error).into()));
                }
            }
            // The core is stopping with the process: the client will find the next leader.
            None => group_slots
                .into_iter()
                .for_each(|slot| set(slots, slot, Err(ErrorCode::NotLeaderOrFollower.into()))),
        }
    }
}

fn set<A>(slots: &mut [A], slot: usize, value: A) {
    if let Some(place) = slots.get_mut(slot) {
        *place = value;
    }
}
