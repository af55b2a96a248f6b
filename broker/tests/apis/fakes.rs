//! A broker of two cores without disks, sockets or threads: partitions in memory, the real controller logic, a clock that
//! stands still until it is told otherwise.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::api::Kafka;
use corelog::api::broker::{
    Broker, Controller, ControllerError, Cores, Local, ProducerIds, Quorum, Submitted,
};
use corelog::api::fetch::FetchSessions;
use corelog::api::service::{ConnectionInfo, Dispatched, Reply as WireReply, Service};
use corelog::config::{BrokerConfig, Given, Schema};
use corelog::drive::tasks::*;
use corelog::shard::Core;
use corelog::shard::budget::{Budget, Share};
use corelog::shard::mailbox::Gone;
use corelog_logic::controller::{
    Command, Context, Delta, FeatureLevelRecord, Listener, MetadataImage, Record, RegisterBrokerRecord,
    Reply, TopicId, decide,
};
use corelog_logic::group::GroupCoordinator;
use corelog_logic::partition::epoch_end::EpochsOfLog;
use corelog_logic::partition::producer_state::ActiveProducer;
use corelog_storage::batch::{
    ValidationLimits, assign_offsets, find_timestamp, max_timestamp_record, validate,
};
use futures_lite::future::block_on;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

pub(crate) const NODE_ID: i32 = 7;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<(i64, i64, Bytes)>,
    pub(crate) next_offset: i64,
    pub(crate) start_offset: i64,
    pub(crate) fails_with: Option<PartitionError>,
}

/// What the fakes share.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) image: RefCell<MetadataImage>,
    pub(crate) logs: RefCell<BTreeMap<PartitionId, Log>>,
    /// Every message: the core it went to, what it was, how many partitions it was for.
    pub(crate) messages: RefCell<Vec<(Core, &'static str, usize)>>,
    /// Group coordinators, by partition of `__consumer_offsets`.
    pub(crate) groups: RefCell<BTreeMap<PartitionId, GroupCoordinator>>,
    /// Who writes, to whatever partition.
    pub(crate) producers: RefCell<Vec<ActiveProducer>>,
    /// Fetch sessions that another core was told to end.
    pub(crate) ended_sessions: RefCell<Vec<(Core, i32)>>,
    /// Whether sleepers wake.
    pub(crate) time_is_up: Cell<bool>,
    /// Whether cores answer.
    pub(crate) cores_are_gone: Cell<bool>,
    /// Whether the controller answers.
    pub(crate) controller_hangs: Cell<bool>,
    pub(crate) random: Cell<u64>,
}

impl World {
    fn told<T: 'static>(
        self: &Rc<Self>,
        core: Core,
        what: &'static str,
        partitions: usize,
        outcome: T,
    ) -> Submitted<T> {
        self.messages.borrow_mut().push((core, what, partitions));
        let gone = self.cores_are_gone.get();
        Box::pin(async move {
            let outcome: Local<Result<T, Gone>> =
                Box::pin(async move { if gone { Err(Gone(core)) } else { Ok(outcome) } });
            Ok(outcome)
        })
    }

    fn on<T>(
        &self,
        id: &PartitionId,
        work: impl FnOnce(&mut Log) -> Result<T, PartitionError>,
    ) -> Result<T, PartitionError> {
        let mut logs = self.logs.borrow_mut();
        let log = logs.entry(*id).or_default();
        match &log.fails_with {
            Some(error) => Err(error.clone()),
            None => work(log),
        }
    }

    fn readable(&self, range: &FetchRange) -> usize {
        let logs = self.logs.borrow();
        let Some(log) = logs.get(&range.partition) else { return 0 };
        let bytes: usize = log
            .batches
            .iter()
            .filter(|(_, last, _)| *last >= range.fetch_offset)
            .map(|(_, _, bytes)| bytes.len())
            .sum();
        bytes.min(range.bytes_max)
    }
}

struct FakeCores(Rc<World>);

impl Cores for FakeCores {
    fn image(&self) -> Arc<MetadataImage> {
        Arc::new(self.0.image.borrow().clone())
    }

    fn owner(&self, partition: &PartitionId) -> Option<Core> {
        Some(Core((partition.partition % 2) as u16))
    }

    fn append(&self, core: Core, task: AppendTask) -> Submitted<AppendOutcome> {
        let count = task.batches.len();
        let refused = |error| AppendRefused { error, log_start_offset: 0 };
        let append = |batch| append(&self.0, batch).map_err(refused);
        let outcome = task.batches.into_iter().map(append).collect();
        self.0.told(core, "append", count, outcome)
    }

    fn fetch(&self, core: Core, task: FetchTask) -> Submitted<FetchOutcome> {
        let mut left = task.bytes_max;
        let mut first = task.at_least_one;
        let outcome = task
            .partitions
            .iter()
            .map(|range| {
                self.0.on(&range.partition, |log| {
                    if range.from_follower {
                        return Err(PartitionError::NoSuchReplica);
                    }
                    if range.fetch_offset > log.next_offset || range.fetch_offset < 0 {
                        return Err(PartitionError::OffsetOutOfRange {
                            offset: range.fetch_offset,
                            log_start_offset: 0,
                            high_watermark: log.next_offset,
                        });
                    }
                    let mut batches = Vec::new();
                    let mut room = range.bytes_max.min(left);
                    for (_, last, bytes) in &log.batches {
                        if *last < range.fetch_offset || (bytes.len() > room && !first) {
                            continue;
                        }
                        first = false;
                        room = room.saturating_sub(bytes.len());
                        left = left.saturating_sub(bytes.len());
                        batches.push(bytes.clone());
                    }
                    Ok(Fetched {
                        high_watermark: log.next_offset,
                        last_stable_offset: log.next_offset,
                        log_start_offset: 0,
                        batches,
                        diverging: None,
                    })
                })
            })
            .collect();
        self.0.told(core, "fetch", task.partitions.len(), outcome)
    }

    fn watch(&self, core: Core, task: WatchTask) -> Local<Result<WatchOutcome, Gone>> {
        self.0.messages.borrow_mut().push((core, "watch", task.partitions.len()));
        let world = Rc::clone(&self.0);
        Box::pin(poll_fn(move |_| {
            let readable: Vec<usize> = task.partitions.iter().map(|range| world.readable(range)).collect();
            if readable.iter().sum::<usize>() < task.bytes_min {
                return Poll::Pending;
            }
            let places = readable.iter().zip(0..).filter(|(readable, _)| **readable > 0);
            Poll::Ready(Ok(places.map(|(_, place)| place).collect()))
        }))
    }

    fn end_fetch_session(&self, core: Core, session_id: i32) {
        self.0.ended_sessions.borrow_mut().push((core, session_id));
    }

    fn offsets(&self, core: Core, task: OffsetsTask) -> Submitted<OffsetsOutcome> {
        let outcome = task.queries.iter().map(|query| offset(&self.0, query)).collect();
        self.0.told(core, "offsets", task.queries.len(), outcome)
    }

    fn group(&self, core: Core, task: GroupTask) -> Submitted<GroupOutcome> {
        let outcome = crate::group_fakes::decide(&self.0, task);
        self.0.told(core, "group", 1, outcome)
    }

    fn inspect(&self, core: Core, task: InspectTask) -> Submitted<Inspected> {
        let (count, answer) = inspected(&self.0, core, task);
        self.0.told(core, "inspect", count, answer)
    }

    fn is_degraded(&self) -> bool {
        self.0.logs.borrow().values().any(|log| log.fails_with.is_some())
    }

    fn count(&self) -> u16 {
        2
    }

    fn delete_records(&self, core: Core, task: DeleteRecordsTask) -> Submitted<DeleteRecordsOutcome> {
        let outcome = task
            .partitions
            .iter()
            .map(|asked| {
                self.0.on(&asked.partition, |log| {
                    let (offset, high_watermark) = (asked.offset.unwrap_or(log.next_offset), log.next_offset);
                    let log_start_offset = log.start_offset;
                    if offset < 0 || offset > high_watermark {
                        return Err(PartitionError::OffsetOutOfRange {
                            offset,
                            log_start_offset,
                            high_watermark,
                        });
                    }
                    log.start_offset = log_start_offset.max(offset);
                    Ok(log.start_offset)
                })
            })
            .collect();
        self.0.told(core, "delete records", task.partitions.len(), outcome)
    }

    fn sleep(&self, _: Duration) -> Local<()> {
        let world = Rc::clone(&self.0);
        Box::pin(poll_fn(move |_| if world.time_is_up.get() { Poll::Ready(()) } else { Poll::Pending }))
    }
}

fn append(world: &World, batch: AppendBatch) -> Result<Appended, PartitionError> {
    let mut records = batch.records;
    world.on(&batch.partition, |log| {
        let header = validate(&records, &ValidationLimits::default())?;
        let base_offset = log.next_offset;
        assign_offsets(&mut records, base_offset, 0);
        log.next_offset += i64::from(header.last_offset_delta) + 1;
        log.batches.push((base_offset, log.next_offset - 1, records.freeze()));
        Ok(Appended { base_offset, log_append_time_ms: -1, log_start_offset: 0 })
    })
}

fn offset(world: &World, query: &OffsetQuery) -> Result<FoundOffset, PartitionError> {
    world.on(&query.partition, |log| {
        let plain = |offset| FoundOffset { timestamp_ms: -1, offset, leader_epoch: 0 };
        let found = |found: Option<(i64, i64)>| match found {
            Some((offset, timestamp_ms)) => FoundOffset { timestamp_ms, offset, leader_epoch: 0 },
            None => FoundOffset { timestamp_ms: -1, offset: -1, leader_epoch: -1 },
        };
        Ok(match query.target {
            OffsetTarget::Latest => plain(log.next_offset),
            OffsetTarget::Earliest => plain(0),
            OffsetTarget::LatestTiered => found(None),
            OffsetTarget::AtOrAfter(time) => found(
                log.batches
                    .iter()
                    .find_map(|(_, _, bytes)| find_timestamp(bytes, time, 0).expect("a sound batch")),
            ),
            OffsetTarget::MaxTimestamp => found(
                log.batches
                    .iter()
                    .filter_map(|(_, _, bytes)| max_timestamp_record(bytes).expect("a sound batch"))
                    .max_by_key(|(_, timestamp)| *timestamp),
            ),
        })
    })
}

/// What a core of this world says: an epoch ends with its log, the producers are those of the world, every log is in one directory.
fn inspected(world: &World, core: Core, task: InspectTask) -> (usize, Inspected) {
    match task {
        InspectTask::Epochs { queries, .. } => {
            let end = |query: &EpochQuery| {
                world.on(&query.partition, |log| {
                    let epochs = EpochsOfLog {
                        entries: &[(0, 0)],
                        log_start_offset: 0,
                        log_end_offset: log.next_offset,
                        leader_epoch: 0,
                    };
                    Ok(epochs.end_of(query.leader_epoch))
                })
            };
            (queries.len(), Inspected::Epochs(queries.iter().map(end).collect()))
        }
        InspectTask::Producers { partitions, .. } => {
            let producers = |id: &PartitionId| world.on(id, |_| Ok(world.producers.borrow().clone()));
            (partitions.len(), Inspected::Producers(partitions.iter().map(producers).collect()))
        }
        InspectTask::Offline => {
            let logs = world.logs.borrow();
            let own = logs.iter().filter(|(id, _)| id.partition as u16 % 2 == core.0);
            let offline: Vec<_> =
                own.filter(|(_, log)| log.fails_with.is_some()).map(|(id, _)| *id).collect();
            (offline.len(), Inspected::Offline(offline))
        }
        InspectTask::Logs { with_space } => {
            let (image, dir) = (world.image.borrow(), PathBuf::from("corelog-data"));
            let logs = image.topics().flat_map(|topic| {
                let own = (0..topic.partitions.len() as i32).filter(|one| *one as u16 % 2 == core.0);
                own.map(|partition| LogSize {
                    dir: dir.clone(),
                    topic: topic.name.to_string(),
                    partition,
                    size_bytes: 100 + partition as u64,
                })
            });
            let logs: Vec<LogSize> = logs.collect();
            let space = DirectorySpace { dir: dir.clone(), total_and_usable_bytes: Some((5_000, 3_000)) };
            let space = if with_space { vec![space] } else { Vec::new() };
            (logs.len(), Inspected::Logs(LogSizes { logs, failed_dirs: Vec::new(), space }))
        }
    }
}

struct FakeController(Rc<World>, Arc<BrokerConfig>);

impl Controller for FakeController {
    fn quorum(&self) -> Quorum {
        Quorum { leader_epoch: 4, high_watermark: 9, log_end_offset: 10 }
    }

    fn call(&self, command: Command) -> Local<Result<Reply, ControllerError>> {
        if self.0.controller_hangs.get() {
            return Box::pin(std::future::pending());
        }
        let mut random = || {
            self.0.random.set(self.0.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            self.0.random.get()
        };
        let mut context = Context {
            num_partitions: 3,
            default_replication_factor: 1,
            configs: &Schema(Arc::clone(&self.1)),
            random: &mut random,
        };
        let mut image = self.0.image.borrow_mut();
        let decided = decide(&image, &command, &mut context);
        let answer = match decided {
            Ok((records, reply)) => {
                for record in &records {
                    image.replay(record, &mut Delta::default()).expect("a decided record fits");
                }
                image.version += records.len() as u64;
                Ok(reply)
            }
            Err(error) => Err(ControllerError::Refused(error)),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A broker to talk to.
pub(crate) struct Bench {
    pub(crate) world: Rc<World>,
    kafka: Kafka,
    config: Arc<BrokerConfig>,
    connection: Rc<ConnectionInfo>,
    budget: Budget,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With settings from `server.properties`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let mut given = Given::default();
        for (key, value) in settings {
            assert_eq!(given.set(key, value).expect("a value that is allowed"), None);
        }
        let world = Rc::new(World::default());
        let broker = Record::RegisterBroker(RegisterBrokerRecord {
            broker_id: NODE_ID,
            incarnation_id: TopicId([1; 16]),
            broker_epoch: 3,
            listeners: vec![Listener { name: "PLAINTEXT".into(), host: String::new(), port: 9092 }],
            rack: None,
        });
        let feature = |name: &str, feature_level| {
            Record::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level })
        };
        for record in [broker, feature("metadata.version", 30), feature("group.version", 1)] {
            world.image.borrow_mut().replay(&record, &mut Delta::default()).expect("an empty image takes it");
        }
        let config = Arc::new(BrokerConfig::build(given).expect("a configuration that agrees"));
        let memory = Budget::new(1 << 30);
        let fetch_sessions = FetchSessions::new(
            Core(0),
            2,
            config.fetch_session_slots_max,
            memory.pool(Share::FetchSessions).clone(),
        );
        let kafka = Kafka::new(Rc::new(Broker {
            node_id: NODE_ID,
            broker_epoch: 3,
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAA".into(),
            config: Arc::clone(&config),
            cores: Rc::new(FakeCores(Rc::clone(&world))),
            controller: Rc::new(FakeController(Rc::clone(&world), Arc::clone(&config))),
            metrics: Rc::default(),
            replies: memory.pool(Share::Replies).clone(),
            fetch_sessions: Rc::new(fetch_sessions),
            producer_ids: ProducerIds::default(),
        }));
        let connection = Rc::new(ConnectionInfo {
            id: 1,
            peer: "127.0.0.1:40000".parse().expect("an address"),
            local: "127.0.0.9:19092".parse().expect("an address"),
            listener: "PLAINTEXT".into(),
        });
        Self { world, kafka, config, connection, budget: Budget::new(64 << 20) }
    }

    /// Creates a topic with so many partitions.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> TopicId {
        let topic = corelog_logic::controller::NewTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
        block_on(FakeController(Rc::clone(&self.world), Arc::clone(&self.config)).call(command))
            .expect("created");
        self.world.image.borrow().topic_by_name(name).expect("it is there").id
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, name: &str) {
        let topic = corelog_logic::controller::TopicRef::Name(name.into());
        let command = Command::DeleteTopics { topics: vec![topic] };
        block_on(FakeController(Rc::clone(&self.world), Arc::clone(&self.config)).call(command))
            .expect("deleted");
    }

    pub(crate) fn partition(&self, name: &str, partition: i32) -> PartitionId {
        PartitionId {
            topic_id: self.world.image.borrow().topic_by_name(name).expect("it is there").id,
            partition,
        }
    }

    /// Creates `name` with one partition, and names that.
    pub(crate) fn partition_of_new_topic(&self, name: &str) -> PartitionId {
        PartitionId { topic_id: self.topic(name, 1), partition: 0 }
    }

    /// Appends behind the APIs' back.
    pub(crate) fn append(&self, batch: AppendBatch) {
        append(&self.world, batch).expect("a sound batch");
    }

    /// Hands a frame (without its length) to the service.
    pub(crate) fn dispatch(&self, frame: &[u8]) -> Dispatched {
        let charge = self.budget.pool(Share::Requests).charge_anyway(frame.len() as u64);
        self.kafka.dispatch(&self.connection, BytesMut::from(frame), charge)
    }

    /// Runs a frame to its reply.
    pub(crate) fn send(&self, frame: &[u8]) -> WireReply {
        let dispatched = self.dispatch(frame);
        block_on(async { dispatched.start.await.await })
    }

    /// Sends a request and decodes its response, checking frame, correlation id and that nothing is left over.
    pub(crate) fn ask<Q: Encodable + HeaderVersion, S: Decodable + HeaderVersion>(
        &self,
        key: i16,
        version: i16,
        request: &Q,
    ) -> S {
        decode_reply(self.send(&frame(key, version, request)), version)
    }
}

/// A frame without its length.
pub(crate) fn frame<Q: Encodable + HeaderVersion>(key: i16, version: i16, request: &Q) -> BytesMut {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).expect("a request its version can carry");
    frame_of(key, version, Q::header_version(version), &body)
}

pub(crate) const CORRELATION_ID: i32 = 0x0102_0304;

pub(crate) fn frame_of(key: i16, version: i16, header_version: i16, body: &[u8]) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION_ID)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, header_version).expect("a header");
    frame.extend_from_slice(body);
    frame
}

/// The bytes of a reply, whose length prefix must be true.
pub(crate) fn bytes_of(reply: WireReply) -> Bytes {
    assert!(!reply.close_after, "the connection would be closed");
    let mut all = reply.segments.expect("a response").concat();
    let len = u32::from_be_bytes(all[..4].try_into().expect("a length"));
    assert_eq!(len as usize, all.len() - 4, "the frame's length");
    Bytes::from(all.split_off(4))
}

pub(crate) fn decode_reply<S: Decodable + HeaderVersion>(reply: WireReply, version: i16) -> S {
    let mut bytes = bytes_of(reply);
    let header = ResponseHeader::decode(&mut bytes, S::header_version(version)).expect("a response header");
    assert_eq!(header.correlation_id, CORRELATION_ID);
    let response = S::decode(&mut bytes, version).expect("a response of this version");
    assert!(bytes.is_empty(), "{} bytes are left over", bytes.len());
    response
}
