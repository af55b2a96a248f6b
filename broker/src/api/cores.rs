//! The node's cores as the APIs ask them: [`Cores`] over this core's runtime.
//!
//! Deliberately absent: everything else; this is the plug between two rooms.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_logic::controller::MetadataImage;

use super::broker::{Cores, Local, Submitted};
use crate::drive::tasks::{
    AppendOutcome, AppendTask, DeleteRecordsOutcome, DeleteRecordsTask, FetchOutcome, FetchTask,
    GroupOutcome, GroupTask, InspectTask, Inspected, OffsetsOutcome, OffsetsTask, PartitionId, WatchOutcome,
    WatchTask,
};
use crate::shard::Core;
use crate::shard::mailbox::Gone;
use crate::shard::message::{Answer, Query};
use crate::shard::runtime::{Pending, Shard};

/// All cores, seen from one.
pub struct NodeCores(Rc<Shard>);

impl NodeCores {
    /// Asks through this core's runtime.
    pub fn new(shard: Rc<Shard>) -> Self {
        Self(shard)
    }

    fn submit<T: 'static>(&self, core: Core, query: Query, unwrap: fn(Answer) -> Option<T>) -> Submitted<T> {
        let shard = self.0.clone();
        Box::pin(async move {
            let pending = shard.submit(core, query).await?;
            let outcome: Local<Result<T, Gone>> = Box::pin(outcome(core, pending, unwrap));
            Ok(outcome)
        })
    }
}

/// The answer of a query is of the query's own kind; another one would be a fault that must not pass.
async fn outcome<T>(core: Core, pending: Pending, unwrap: fn(Answer) -> Option<T>) -> Result<T, Gone> {
    unwrap(pending.await?).ok_or(Gone(core))
}

impl Cores for NodeCores {
    fn image(&self) -> Arc<MetadataImage> {
        self.0.image()
    }

    fn owner(&self, partition: &PartitionId) -> Option<Core> {
        self.0.core_of(partition)
    }

    fn append(&self, core: Core, task: AppendTask) -> Submitted<AppendOutcome> {
        self.submit(core, Query::Append(task), |answer| match answer {
            Answer::Append(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn fetch(&self, core: Core, task: FetchTask) -> Submitted<FetchOutcome> {
        self.submit(core, Query::Fetch(task), |answer| match answer {
            Answer::Fetch(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn watch(&self, core: Core, task: WatchTask) -> Local<Result<WatchOutcome, Gone>> {
        let submitted = self.submit(core, Query::Watch(task), |answer| match answer {
            Answer::Watched(outcome) => Some(outcome),
            _ => None,
        });
        Box::pin(async move { submitted.await?.await })
    }

    fn end_fetch_session(&self, core: Core, session_id: i32) {
        self.0.end_fetch_session(core, session_id);
    }

    fn offsets(&self, core: Core, task: OffsetsTask) -> Submitted<OffsetsOutcome> {
        self.submit(core, Query::Offsets(task), |answer| match answer {
            Answer::Offsets(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn group(&self, core: Core, task: GroupTask) -> Submitted<GroupOutcome> {
        self.submit(core, Query::Group(Box::new(task)), |answer| match answer {
            Answer::Group(outcome) => Some(*outcome),
            _ => None,
        })
    }

    fn inspect(&self, core: Core, task: InspectTask) -> Submitted<Inspected> {
        self.submit(core, Query::Inspect(task), |answer| match answer {
            Answer::Inspected(inspected) => Some(inspected),
            _ => None,
        })
    }

    fn delete_records(&self, core: Core, task: DeleteRecordsTask) -> Submitted<DeleteRecordsOutcome> {
        self.submit(core, Query::DeleteRecords(task), |answer| match answer {
            Answer::DeleteRecords(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn is_degraded(&self) -> bool {
        self.0.is_degraded()
    }

    fn count(&self) -> u16 {
        self.0.cores()
    }

    fn sleep(&self, duration: Duration) -> Local<()> {
        Box::pin(async move {
            glommio::timer::sleep(duration).await;
        })
    }
}
