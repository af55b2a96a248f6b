//! One partition's coordinator at work: requests and deadlines one after the other, each with its records appended before the next;
//! commits that wait together are appended together.
//!
//! What a decision says is told when everything appended before it is durable, so a reply never tells of what a crash could take back. An
//! append that is refused changed nothing but what `logic` takes back itself; one that fails on the disk ends the coordinator.
//! Deliberately absent: decisions (`logic`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use corelog_logic::controller::{Delta, MetadataImage};
use corelog_logic::group::{
    After, Context, GroupCoordinator, GroupErrorKind, Now, Outcome, Reply, ReplyId, Request,
};

use super::super::partition::now_ms;
use super::super::{Partition, Partitions};
use super::append::append;
use super::owed::{Owed, owed};
use super::pace::Pace;
use super::wait::Sleep;
use super::{GroupSettings, load};

/// Requests that are decided before deadlines are looked at again: a heartbeat that waits here must come before
/// the deadline that it moves, and a flood must not put deadlines off for ever.
const TURN_MAX: usize = 1_024;
/// Commits that are decided and appended together.
const COMMITS_TOGETHER_MAX: usize = 256;
/// How often at most the log tells of members that are refused for want of room, in milliseconds.
const REFUSALS_TOLD_EVERY_MS: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Ended,
}

enum Work {
    /// Somebody's offsets: records that count once they are appended, and nothing else.
    Commit(Request, Owed),
    Request(Request, Owed),
    TopicDeleted(Arc<str>),
    /// The metadata of topics has changed.
    Metadata(Arc<Delta>),
}

/// A partition's coordinator, as the rest of the core sees it.
pub(super) struct Coordinator {
    partition: Rc<Partition>,
    settings: Rc<GroupSettings>,
    pace: Rc<Pace>,
    image: Rc<RefCell<Arc<MetadataImage>>>,
    phase: Cell<Phase>,
    /// Bounded by the connections: each has one such request at a time, and the charge of its frame. Deleted topics wait while
    /// the partition loads; they are bounded by the topics.
    inbox: RefCell<VecDeque<Work>>,
    waker: Cell<Option<Waker>>,
    counts: Cell<(u64, u64)>,
}

impl Coordinator {
    pub(super) fn new(
        partition: Rc<Partition>,
        settings: Rc<GroupSettings>,
        pace: Rc<Pace>,
        image: Rc<RefCell<Arc<MetadataImage>>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            partition,
            settings,
            pace,
            image,
            phase: Cell::new(Phase::Loading),
            inbox: RefCell::default(),
            waker: Cell::default(),
            counts: Cell::default(),
        })
    }

    /// Answers a request when its turn and its time have come.
    ///
    /// # Errors
    /// While the partition loads, and once the coordinator has ended.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, GroupErrorKind> {
        match self.phase.get() {
            Phase::Active => {}
            // Kafka lets members live while it loads, without knowing them.
            Phase::Loading if matches!(request, Request::Heartbeat(_)) => {
                return Ok(Reply::Heartbeat(Ok(())));
            }
            Phase::Loading => return Err(GroupErrorKind::CoordinatorLoadInProgress),
            Phase::Ended => return Err(GroupErrorKind::NotCoordinator),
        }
        let (owed, awaited) = owed();
        self.push(match request {
            Request::OffsetCommit(_) => Work::Commit(request, owed),
            _ => Work::Request(request, owed),
        });
        awaited.await.ok_or(GroupErrorKind::NotCoordinator)
    }

    /// A topic is gone, and the offsets committed for it are of no use to one of the same name.
    pub(super) fn topic_deleted(&self, topic: Arc<str>) {
        if self.phase.get() != Phase::Ended {
            self.push(Work::TopicDeleted(topic));
        }
    }

    /// The metadata of topics has changed: groups look at what they consume again.
    pub(super) fn metadata_changed(&self, delta: Arc<Delta>) {
        if self.phase.get() == Phase::Active {
            self.push(Work::Metadata(delta));
        }
    }

    /// Ends it: whoever waits is told to look elsewhere.
    pub(super) fn end(&self) {
        self.phase.set(Phase::Ended);
        self.wake();
    }

    /// Whether its partition can be used.
    pub(super) fn is_online(&self) -> bool {
        self.partition.is_online()
    }

    /// Groups and committed offsets.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.counts.get()
    }

    fn push(&self, work: Work) {
        self.inbox.borrow_mut().push_back(work);
        self.wake();
    }

    /// Whether there is nothing but commits, and room for more of them.
    fn can_linger(&self) -> bool {
        let inbox = self.inbox.borrow();
        inbox.len() < COMMITS_TOGETHER_MAX && inbox.iter().all(|work| matches!(work, Work::Commit(..)))
    }

    /// Takes a commit out of the inbox, if one comes next.
    fn next_commit(&self) -> Option<(Request, Owed)> {
        let mut inbox = self.inbox.borrow_mut();
        match inbox.pop_front()? {
            Work::Commit(request, owed) => Some((request, owed)),
            other => {
                inbox.push_front(other);
                None
            }
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Loads the partition, then serves until the core stops or the log ends. Run by one task.
    pub(super) async fn run(self: Rc<Self>, partitions: Rc<Partitions>) {
        let name = self.partition.log().identity().dir_name();
        let started = Instant::now();
        match load::load(&self.partition).await {
            Ok(groups) => {
                let mut running = Running::new(self.clone(), groups);
                if self.phase.get() == Phase::Loading {
                    self.phase.set(Phase::Active);
                    running.with_context(GroupCoordinator::loaded);
                    running.count();
                    let (groups, offsets) = self.counts();
                    if groups > 0 {
                        let ms = started.elapsed().as_millis() as u64;
                        tracing::info!(name, groups, offsets, ms, "groups loaded");
                    }
                }
                running.serve(pin!(partitions.interrupt().interrupted())).await;
                running.unload();
            }
            Err(why) => tracing::error!(
                "{name} cannot be loaded, and its groups cannot be used: {why}. Other partitions' groups are not affected"
            ),
        }
        self.phase.set(Phase::Ended);
        self.inbox.borrow_mut().clear();
    }
}

/// What was appended up to an offset, and what is to happen when that is durable.
struct Unsettled {
    next_offset: i64,
    replies: Vec<(ReplyId, Reply)>,
    after: Option<After>,
}

struct Running {
    me: Rc<Coordinator>,
    groups: GroupCoordinator,
    /// Before this moment nobody is told again that there is no room.
    quiet_until_ms: i64,
    /// Bounded by the requests that wait: members that join or sync, and what is on its way to the disk.
    owed: HashMap<ReplyId, Owed>,
    unsettled: VecDeque<Unsettled>,
    next_id: u64,
    started: Instant,
    sleep: Sleep,
    /// Until when the commits in the inbox wait for others.
    lingers_until: Option<Instant>,
}

impl Running {
    fn new(me: Rc<Coordinator>, groups: GroupCoordinator) -> Self {
        Self {
            me,
            groups,
            quiet_until_ms: i64::MIN,
            owed: HashMap::new(),
            unsettled: VecDeque::new(),
            next_id: 0,
            started: Instant::now(),
            sleep: Sleep::default(),
            lingers_until: None,
        }
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn with_context<T>(&mut self, decide: impl FnOnce(&mut GroupCoordinator, &mut Context<'_>) -> T) -> T {
        let now = Now { wall_ms: now_ms(), monotonic_ms: self.monotonic_ms() };
        let image = self.me.image.borrow().clone();
        let mut random = rand::random::<u64>;
        let config = &self.me.settings.config;
        let mut context = Context { now, config, image: &image, random: &mut random };
        decide(&mut self.groups, &mut context)
    }

    /// Works until the core stops, the topic is gone, or the log has failed.
    async fn serve(&mut self, mut stopping: Pin<&mut impl Future<Output = ()>>) {
        while self.me.phase.get() == Phase::Active {
            let mut idle = true;
            for _ in 0..TURN_MAX {
                self.settle_durable().await;
                if self.lingers() {
                    break;
                }
                let Some(work) = self.me.inbox.borrow_mut().pop_front() else { break };
                self.work(work).await;
                idle = false;
                glommio::executor().yield_if_needed().await;
            }
            while let Some(outcome) = self.with_context(GroupCoordinator::expire) {
                self.carry_out(outcome).await;
                idle = false;
            }
            self.count();
            if idle && self.wait(stopping.as_mut()).await.is_break() {
                return;
            }
        }
    }

    /// Whether what is in the inbox waits for others to be appended with.
    fn lingers(&mut self) -> bool {
        if self.me.inbox.borrow().is_empty() || !self.me.can_linger() {
            self.lingers_until = None;
            return false;
        }
        let now = Instant::now();
        match self.lingers_until {
            None => self.lingers_until = self.me.pace.waits_until(now),
            // What comes from now on is not what has waited.
            Some(until) if now >= until => {
                self.lingers_until = None;
                return false;
            }
            Some(_) => {}
        }
        self.lingers_until.is_some()
    }

    async fn work(&mut self, work: Work) {
        let outcome = match work {
            Work::Commit(request, owed) => self.commit_together(request, owed),
            Work::Request(request, owed) => {
                let outcome = self.decide(request, owed);
                self.tell_of_refusals();
                outcome
            }
            Work::TopicDeleted(topic) => self.groups.topic_deleted(&topic),
            Work::Metadata(delta) => {
                let image = self.me.image.borrow().clone();
                self.groups.metadata_changed(&delta, &image);
                return;
            }
        };
        self.carry_out(outcome).await;
    }

    fn decide(&mut self, request: Request, owed: Owed) -> Outcome {
        let id = ReplyId(self.next_id);
        self.next_id += 1;
        self.owed.insert(id, owed);
        self.with_context(|groups, context| groups.decide(context, id, request))
    }

    /// This commit and those right behind it as one decision: one batch in the log, one wait for the disk. None of them sees another's
    /// offsets, as if all had come at the same moment; whoever sent them has nothing else under way.
    fn commit_together(&mut self, request: Request, owed: Owed) -> Outcome {
        let mut together = self.decide(request, owed);
        for _ in 1..COMMITS_TOGETHER_MAX {
            let Some((request, owed)) = self.me.next_commit() else { break };
            let Outcome { records, applied, replies, after } = self.decide(request, owed);
            debug_assert!(!applied && after.is_none(), "a commit is records and a reply");
            together.records.extend(records);
            together.replies.extend(replies);
        }
        together
    }

    /// Says in the log that members are refused for want of room: a classic member is told a number only.
    fn tell_of_refusals(&mut self) {
        let Some((group, limit_bytes)) = self.groups.take_refused_for_room() else { return };
        let now_ms = self.monotonic_ms();
        if now_ms >= self.quiet_until_ms {
            self.quiet_until_ms = now_ms + REFUSALS_TOLD_EVERY_MS;
            let bytes = self.groups.metadata_bytes();
            tracing::warn!(
                group = &*group,
                bytes,
                limit_bytes,
                "a member is refused because the metadata of this coordinator's members takes too much: subscribe to fewer topics, or let fewer members join"
            );
        }
    }

    /// Appends what a decision says, and tells it when that is durable.
    async fn carry_out(&mut self, outcome: Outcome) {
        let mut next = Some(outcome);
        while let Some(Outcome { records, applied, replies, after }) = next.take() {
            let partition = self.me.partition.clone();
            let appended = append(&partition, &records, self.me.settings.compression).await;
            if !applied {
                let now_ms = now_ms();
                for record in records.iter().take(appended.records) {
                    self.groups.replay(record, now_ms);
                }
            }
            match appended.result {
                Ok(()) => {
                    let next_offset = partition.log().log_end_offset();
                    self.unsettled.push_back(Unsettled { next_offset, replies, after });
                }
                Err(error) => {
                    for (id, reply) in replies {
                        self.give(id, reply.refuse(error));
                    }
                    next = after.map(|after| {
                        self.with_context(|groups, context| groups.settle(context, after, Err(error)))
                    });
                }
            }
        }
    }

    /// Gives the replies that nothing can take back any more.
    async fn settle_durable(&mut self) {
        let visible_end = |running: &Self| running.me.partition.log().visible_end_offset();
        // What is added meanwhile has its turn after those who wait: a word may be handed back many times, for long work in steps.
        for _ in 0..self.unsettled.len() {
            if self.unsettled.front().is_none_or(|first| first.next_offset > visible_end(self)) {
                return;
            }
            let Some(Unsettled { replies, after, .. }) = self.unsettled.pop_front() else { return };
            for (id, reply) in replies {
                self.give(id, reply);
            }
            if let Some(after) = after {
                let outcome = self.with_context(|groups, context| groups.settle(context, after, Ok(())));
                self.carry_out(outcome).await;
                glommio::executor().yield_if_needed().await;
            }
        }
    }

    fn give(&mut self, id: ReplyId, reply: Reply) {
        if let Some(owed) = self.owed.remove(&id) {
            owed.give(reply);
        }
    }

    fn count(&self) {
        self.me.counts.set((self.groups.groups().len() as u64, self.groups.offsets().len() as u64));
    }

    /// Sleeps until there is something to do: work, a deadline, or something durable. Breaks when there will be nothing more.
    async fn wait(&mut self, mut stopping: Pin<&mut impl Future<Output = ()>>) -> ControlFlow<()> {
        let in_ms = self.groups.next_deadline_ms().map(|deadline_ms| (deadline_ms, self.monotonic_ms()));
        self.sleep.until_deadline(in_ms);
        self.sleep.until(self.lingers_until);
        self.sleep.until_durable(&self.me.partition, self.unsettled.front().map(|first| first.next_offset));
        poll_fn(|cx| {
            if stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(ControlFlow::Break(()));
            }
            let waits =
                self.me.inbox.borrow().is_empty() || self.lingers_until.is_some() && self.me.can_linger();
            if !waits || self.me.phase.get() != Phase::Active {
                return Poll::Ready(ControlFlow::Continue(()));
            }
            if let Poll::Ready(durable) = self.sleep.poll(cx) {
                // What was appended may or may not be found again: only the log can say, at the next start.
                return Poll::Ready(durable.map_or(ControlFlow::Break(()), ControlFlow::Continue));
            }
            self.me.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Tells everybody who waits that this is no coordinator any more.
    fn unload(mut self) {
        let error = GroupErrorKind::NotCoordinator;
        for Unsettled { replies, .. } in std::mem::take(&mut self.unsettled) {
            for (id, reply) in replies {
                self.give(id, reply.refuse(error));
            }
        }
        for (id, reply) in self.with_context(GroupCoordinator::unload) {
            self.give(id, reply);
        }
        // Those who are left find nobody who owes them anything, which means the same.
    }
}
