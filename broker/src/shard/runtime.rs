//! One data core at work: answers what other cores ask, asks them, and keeps its view of the metadata.
//!
//! Made by boot on the core's own executor; `api` asks it for everything that a partition must do. Deliberately absent: what a
//! request means on the wire (`api`), sockets (`net`), and what is done to a partition (`drive`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use corelog_logic::controller::MetadataImage;
use corelog_storage::StorageError;

use super::Core;
use super::balance::Handover;
use super::budget::Budget;
use super::mailbox::{Gone, Incoming, PendingReply, Refused};
use super::message::{Answer, Endpoint, Notice, Published, Query};
use super::view::View;
use crate::config::Given;
use crate::drive::tasks::PartitionId;
use crate::drive::{self, Groups, OFFSETS_TOPIC, Reconciler};
use crate::metrics::{CoreMetrics, CoreStats, NetworkStats};

/// How often another core is told that a directory failed, while its inbox is full, and the pause in between: ten seconds in all.
const NOTICE_TRIES_MAX: u32 = 1_000;
const NOTICE_PAUSE: Duration = Duration::from_millis(10);

/// A core's runtime. Shared by everything on the core.
pub struct Shard {
    endpoint: Endpoint,
    reconciler: Reconciler,
    groups: Rc<Groups>,
    view: RefCell<View>,
    /// Versions of the metadata are taken over one after the other.
    applying: glommio::sync::Semaphore,
    given: Given,
    budget: Budget,
    metrics: Rc<CoreMetrics>,
    network: RefCell<Box<dyn Fn() -> NetworkStats>>,
    session_ended: RefCell<Box<dyn Fn(i32)>>,
}

impl Shard {
    /// A core that has opened its store and knows no metadata yet. `given` is what the broker was started with.
    pub fn new(
        endpoint: Endpoint,
        view: View,
        reconciler: Reconciler,
        groups: Rc<Groups>,
        given: Given,
        budget: Budget,
        metrics: Rc<CoreMetrics>,
    ) -> Rc<Self> {
        Rc::new(Self {
            view: RefCell::new(view),
            endpoint,
            reconciler,
            groups,
            applying: glommio::sync::Semaphore::new(1),
            given,
            budget,
            metrics,
            network: RefCell::new(Box::new(NetworkStats::default)),
            session_ended: RefCell::new(Box::new(|_| ())),
        })
    }

    /// This core.
    pub fn core(&self) -> Core {
        self.endpoint.core()
    }

    /// The newest metadata that this core has taken over.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.view.borrow().image().clone()
    }

    /// The core that owns a partition, as far as this core knows.
    pub fn core_of(&self, partition: &PartitionId) -> Option<Core> {
        self.view.borrow().core_of(partition)
    }

    /// How many cores there are.
    pub fn cores(&self) -> u16 {
        self.view.borrow().cores()
    }

    /// This core's partitions and their store.
    pub fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    /// This core's memory.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// This core's counters.
    pub fn metrics(&self) -> &Rc<CoreMetrics> {
        &self.metrics
    }

    /// Says where the figures of this core's connections come from.
    pub fn set_network_stats(&self, network: impl Fn() -> NetworkStats + 'static) {
        *self.network.borrow_mut() = Box::new(network);
    }

    /// Says who forgets fetch sessions.
    pub fn set_session_ended(&self, session_ended: impl Fn(i32) + 'static) {
        *self.session_ended.borrow_mut() = Box::new(session_ended);
    }

    /// Tells the core of a fetch session that it has ended; a core that is full or gone is not told.
    pub fn end_fetch_session(&self, to: Core, session_id: i32) {
        // There are no ids of cores beyond these, but clients may make them up.
        if to != self.core() && to.0 < self.cores() {
            let _full_or_gone = self.endpoint.notify(to, Notice::EndFetchSession(session_id));
        }
    }

    /// Sends a request to a core, which may be this one. When this resolves, the request's order at that core is fixed: it comes
    /// after everything this core sent there before. The outcome is what the returned future resolves to.
    ///
    /// # Errors
    /// [`Gone`] when the other core is stopping.
    pub async fn submit(self: &Rc<Self>, to: Core, query: Query) -> Result<Pending, Gone> {
        if to != self.core() {
            return Ok(Pending::Remote(self.endpoint.submit(to, query).await?));
        }
        let mut answering = self.clone().answer(query);
        match poll_fn(|cx| Poll::Ready(answering.as_mut().poll(cx))).await {
            Poll::Ready(answer) => Ok(Pending::Ready(Some(answer))),
            // What has begun must go on whether or not its turn to be answered has come: others may be waiting behind it.
            Poll::Pending => Ok(Pending::Local(glommio::spawn_local(answering))),
        }
    }

    /// Serves the other cores for ever: `adopt` takes the connections that are handed over, `applied` hears of each version of the
    /// metadata that was taken over. Run by one task of the core.
    pub async fn serve(
        self: Rc<Self>,
        mut adopt: impl FnMut(Handover),
        applied: impl Fn(u64) + Clone + 'static,
    ) {
        let endpoint = self.endpoint.clone();
        let handle = |incoming: Incoming<Query, Answer, Notice>| match incoming {
            Incoming::Request { query, reply, .. } => {
                let answering = self.clone().answer(query);
                glommio::spawn_local(async move { reply.send(answering.await) }).detach();
            }
            Incoming::Notice(Notice::Connection(handover)) => adopt(handover),
            Incoming::Notice(Notice::Metadata(published)) => {
                let (shard, applied) = (self.clone(), applied.clone());
                glommio::spawn_local(async move { applied(shard.apply(published).await) }).detach();
            }
            Incoming::Notice(Notice::DirectoryFailed(dir, cause)) => {
                self.reconciler.store().fail_directory(dir, &cause);
            }
            Incoming::Notice(Notice::EndFetchSession(id)) => (self.session_ended.borrow())(id),
            Incoming::Notice(Notice::Stats(tell)) => tell(self.stats()),
        };
        endpoint.serve(handle).await;
    }

    /// Hands a connection to another core. Hands it back when that core's inbox is full or closed.
    ///
    /// # Errors
    /// The handover that was not taken.
    pub fn hand_over(&self, to: Core, handover: Handover) -> Result<(), Handover> {
        match self.endpoint.notify(to, Notice::Connection(handover)) {
            Err(Refused(Notice::Connection(handover))) => Err(handover),
            _ => Ok(()),
        }
    }

    fn answer(self: Rc<Self>, query: Query) -> Pin<Box<dyn Future<Output = Answer>>> {
        let partitions = self.reconciler.partitions().clone();
        match query {
            Query::Append(task) => {
                Box::pin(async move { Answer::Append(drive::produce(partitions, task).await) })
            }
            Query::Fetch(task) => {
                Box::pin(async move { Answer::Fetch(drive::fetch(partitions, task).await) })
            }
            Query::Watch(task) => {
                Box::pin(async move { Answer::Watched(drive::watch(partitions, task).await) })
            }
            Query::Offsets(task) => {
                Box::pin(async move { Answer::Offsets(drive::list_offsets(partitions, task).await) })
            }
            Query::Group(task) => {
                let groups = self.groups.clone();
                Box::pin(async move { Answer::Group(Box::new(groups.handle(*task).await)) })
            }
            Query::Inspect(task) => {
                Box::pin(async move { Answer::Inspected(drive::inspect(&self.reconciler, task).await) })
            }
            Query::DeleteRecords(task) => {
                Box::pin(async move { Answer::DeleteRecords(drive::delete_records(partitions, task).await) })
            }
        }
    }

    /// Takes a version of the metadata over: first the logs, then the view that requests are routed with.
    pub async fn apply(&self, published: Published) -> u64 {
        // Never closed, so never an error; in the order of the calls, for the semaphore is fair.
        let _turn = self.applying.acquire_permit(1).await;
        let version = published.image.version;
        let change = self.view.borrow_mut().plan(&published, &self.given);
        let coordinated = change.assigned.iter().filter(|partition| partition.topic == OFFSETS_TOPIC);
        let coordinated: Vec<PartitionId> = coordinated.map(|partition| partition.id).collect();
        let before = self.image();
        let name = |topic_id| before.topic(topic_id).map(|topic| (*topic_id, topic.name.clone()));
        let removed: Vec<_> = change.removed.iter().filter_map(name).collect();
        if let Some(expiration_ms) = change.producer_id_expiration_ms {
            self.reconciler.partitions().set_producer_id_expiration(expiration_ms);
        }
        self.reconciler.partitions().set_cleaner(change.cleaner);
        self.reconciler.apply(change.assigned, &change.removed, version).await;
        self.groups.apply(published.image.clone(), &published.delta, &coordinated, &removed);
        self.view.borrow_mut().show(published.image);
        version
    }

    /// Follows this core's log directories for ever: whatever fails here fails on every core, as their disk is the same one. `told` hears of
    /// each directory, with its index. Run by one task of the core.
    pub async fn follow_failures(self: Rc<Self>, told: impl Fn(usize, &StorageError)) {
        loop {
            for (dir, error) in self.reconciler.store().failed_directories().await {
                self.reconciler.partitions().degraded().set();
                self.groups.end_offline();
                told(dir, &error);
                for core in (0..self.cores()).map(Core).filter(|core| *core != self.core()) {
                    // A full inbox is served in a moment; one that is gone needs to know nothing.
                    for _ in 0..NOTICE_TRIES_MAX {
                        let notice = Notice::DirectoryFailed(dir, error.clone());
                        if self.endpoint.notify(core, notice).is_ok() {
                            break;
                        }
                        glommio::timer::sleep(NOTICE_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Whether some core has partitions that cannot be used.
    pub fn is_degraded(&self) -> bool {
        self.reconciler.partitions().degraded().is_set()
    }

    /// What this core has done so far.
    pub fn stats(&self) -> CoreStats {
        let mailbox = self.endpoint.counters();
        let (groups, group_offsets) = self.groups.counts();
        let store = self.reconciler.store();
        let (log_bytes, log_segments) = store.log_sizes();
        CoreStats {
            core: self.core().0,
            requests: self.metrics.requests(),
            flush: self.metrics.flushes(),
            network: (self.network.borrow())(),
            store: store.stats(),
            offline_dirs: self.reconciler.offline_dirs(),
            log_bytes,
            log_segments,
            partitions: self.reconciler.partitions().len() as u64,
            offline_partitions: self.reconciler.partitions().offline().len() as u64,
            groups,
            group_offsets,
            cross_core_requests: mailbox.requests_sent,
            cross_core_waits: mailbox.credit_waits,
            memory_bytes: self.budget.used(),
        }
    }
}

/// The outcome of a request that was sent.
pub enum Pending {
    /// It is there already.
    Ready(Option<Answer>),
    /// This core is at it. Dropping it gives the request up where it has not taken effect.
    Local(glommio::Task<Answer>),
    /// Another core is at it. Dropping it drops the answer, not the request.
    Remote(PendingReply<Query, Answer, Notice>),
}

impl Future for Pending {
    type Output = Result<Answer, Gone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(answer) => match answer.take() {
                Some(answer) => Poll::Ready(Ok(answer)),
                None => Poll::Pending,
            },
            Self::Local(task) => Pin::new(task).poll(cx).map(Ok),
            Self::Remote(reply) => Pin::new(reply).poll(cx),
        }
    }
}
