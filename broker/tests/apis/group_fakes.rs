//! Group coordinators without logs: everything is durable at once, and a reply that would wait is refused.

use corelog::drive::tasks::{GroupOutcome, GroupTask};
use corelog_logic::group::{Context, GroupConfig, GroupErrorKind, Now, Outcome, ReplyId};

use crate::fakes::World;

/// What the coordinator of a partition answers.
pub(crate) fn decide(world: &World, task: GroupTask) -> GroupOutcome {
    let image = world.image.borrow().clone();
    let mut coordinators = world.groups.borrow_mut();
    let groups = coordinators.entry(task.partition).or_default();
    let mut random = || {
        world.random.set(world.random.get() + 1);
        world.random.get()
    };
    let config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    let now = Now { wall_ms: 1_000_000, monotonic_ms: 0 };
    let mut context = Context { now, config: &config, image: &image, random: &mut random };
    let mut answer = None;
    let mut next = Some(groups.decide(&mut context, ReplyId(0), task.request));
    while let Some(Outcome { records, applied, replies, after }) = next.take() {
        for record in records.iter().filter(|_| !applied) {
            groups.replay(record, now.wall_ms);
        }
        answer =
            answer.or_else(|| replies.into_iter().find(|(id, _)| *id == ReplyId(0)).map(|(_, reply)| reply));
        next = match after {
            Some(after) => Some(groups.settle(&mut context, after, Ok(()))),
            None if answer.is_none() => groups.expire(&mut context),
            None => None,
        };
    }
    answer.ok_or(GroupErrorKind::CoordinatorNotAvailable)
}
