//! Commands and replies of consumer groups (KIP-848) in scenarios: `consume` is their heartbeat, `topic` makes what they consume.
//!
//! Topics have their names as their ids, so that an assignment can be read. Deliberately absent: how commands are run (`world`).

use corelog_logic::controller::{
    ConfigRecord, ConfigResource, Delta, MetadataImage, PartitionRecord, Record, RemoveTopicRecord, TopicId,
    TopicRecord,
};
use corelog_logic::group::consumer::{ByPartition, ConsumerGroupHeartbeat, Member, Owned};
use corelog_logic::group::records::{ConsumerRecord, ConsumerRecordBody};
use corelog_logic::group::{Client, GroupId, InstanceId, Opaque, Reply};

use crate::script::{Command, shorten};

fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    TopicId(id)
}

fn topic_name(id: TopicId) -> String {
    let name: Vec<u8> = id.0.into_iter().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&name).into_owned()
}

/// `topic t partitions=2`: makes the topic, or adds partitions to it; with `partitions=0` it goes.
pub(crate) fn change_topic(image: &mut MetadataImage, command: &Command) -> Result<Delta, String> {
    let name = command.word(0)?;
    let partitions: i32 = command.number("partitions", 1)?;
    let topic_id = topic_id(name);
    let there = image.topic(&topic_id).map(|topic| topic.partitions.len() as i32);
    let mut records = Vec::new();
    if partitions == 0 {
        records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id }));
    } else if there.is_none() {
        records.push(Record::Topic(TopicRecord { name: name.to_owned(), topic_id }));
    }
    records.extend((there.unwrap_or(0)..partitions).map(|partition| {
        Record::Partition(PartitionRecord {
            topic_id,
            partition,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            log_id: 1,
        })
    }));
    let mut delta = Delta::default();
    for record in &records {
        image.replay(record, &mut delta).map_err(|error| error.to_string())?;
    }
    image.version += 1;
    Ok(delta)
}

/// `group-config g key=value`: what a group is given; an empty value takes it back.
pub(crate) fn configure_group(image: &mut MetadataImage, command: &Command) -> Result<Delta, String> {
    let mut delta = Delta::default();
    for (key, value) in command.pairs() {
        let record = Record::Config(ConfigRecord {
            resource: ConfigResource::group(command.word(0)?),
            name: key.to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
        });
        image.replay(&record, &mut delta).map_err(|error| error.to_string())?;
    }
    image.version += 1;
    Ok(delta)
}

/// `consume g label member=m epoch=0 topics=t,u regex=… owned=t-0 instance=i rack=r assignor=range rebalance=30000`.
pub(crate) fn heartbeat(command: &Command) -> Result<ConsumerGroupHeartbeat, String> {
    let member_epoch: i32 = command.number("epoch", 0)?;
    let owned = match command.text("owned") {
        None if member_epoch == 0 => Some(Owned::new()),
        None => None,
        Some(_) => Some(owned(command)?),
    };
    let rebalance_default = if member_epoch == 0 { 30_000 } else { -1 };
    Ok(ConsumerGroupHeartbeat {
        version: command.number("version", 1)?,
        group_id: GroupId::from(command.word(0)?),
        member_id: command.member("member").into(),
        member_epoch,
        instance_id: command.text("instance").map(InstanceId::from),
        rack_id: command.text("rack").map(Into::into),
        rebalance_timeout_ms: command.number("rebalance", rebalance_default)?,
        subscribed_topic_names: command
            .text("topics")
            .map(|_| command.list("topics").map(Into::into).collect()),
        subscribed_topic_regex: command.text("regex").map(Into::into),
        server_assignor: command.text("assignor").map(Into::into),
        owned,
        client: Client { id: command.text("client").unwrap_or("c").into(), host: "/10.0.0.1".into() },
    })
}

fn owned(command: &Command) -> Result<Owned, String> {
    let mut owned = Owned::new();
    for one in command.list("owned") {
        let (topic, number) = one.rsplit_once('-').ok_or(format!("{one} is no partition"))?;
        let number = number.parse().map_err(|_| format!("{one} is no partition"))?;
        owned.entry(topic_id(topic)).or_default().push(number);
    }
    Ok(owned)
}

fn partitions<V>(partitions: &ByPartition<V>) -> String {
    let all: Vec<String> =
        partitions.iter().map(|(topic, number, _)| format!("{}-{number}", topic_name(topic))).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(",") }
}

fn partitions_at(owned: &ByPartition<i32>) -> String {
    let all: Vec<String> = owned
        .iter()
        .map(|(topic, number, epoch)| format!("{}-{number}@{epoch}", topic_name(topic)))
        .collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(",") }
}

pub(crate) fn reply(label: &str, reply: &Reply) -> Vec<String> {
    match reply {
        Reply::ConsumerGroupHeartbeat(Ok(reply)) => {
            let assignment = reply.assignment.as_ref().map_or("unchanged".to_owned(), partitions);
            vec![shorten(&format!(
                "{label} <- ok member={} epoch={} assignment={assignment}{}",
                &*reply.member_id,
                reply.member_epoch,
                match reply.heartbeat_interval_ms {
                    // A farewell has none; the broker's default.
                    0 | 5_000 => String::new(),
                    ms => format!(" heartbeat={ms}"),
                }
            ))]
        }
        Reply::ConsumerGroupHeartbeat(Err(error)) => {
            vec![shorten(format!("{label} <- {:?} {}", error.kind, error.message).trim_end())]
        }
        Reply::ConsumerGroupDescribe(groups) => {
            let mut lines = Vec::new();
            for (group_id, described) in groups {
                match described {
                    Err(error) => {
                        lines.push(format!("{label} <- {} {:?} {}", &**group_id, error.kind, error.message));
                    }
                    Ok(group) => {
                        lines.push(format!(
                            "{label} <- {} state={} epoch={} assignment-epoch={} assignor={}",
                            &**group_id,
                            group.state,
                            group.group_epoch,
                            group.assignment_epoch,
                            group.assignor
                        ));
                        lines.extend(group.members.iter().map(|described| {
                            let Member { member_id, member_epoch, instance_id, classic, .. } =
                                &described.member;
                            format!(
                                "     {} epoch={member_epoch} instance={} protocol={} assigned={} target={}",
                                &**member_id,
                                instance_id.as_deref().unwrap_or("-"),
                                if classic.is_some() { "classic" } else { "consumer" },
                                partitions(&described.assigned),
                                partitions(&described.target)
                            )
                        }));
                    }
                }
            }
            lines.iter().map(|line| shorten(line)).collect()
        }
        _ => Vec::new(),
    }
}

pub(crate) fn record(ConsumerRecord { group_id, body }: &ConsumerRecord) -> String {
    use ConsumerRecordBody as Body;
    let group = &**group_id;
    match body {
        Body::Epoch(Some(value)) => {
            format!("consumers {group} epoch={} hash={:016x}", value.epoch, value.metadata_hash)
        }
        Body::Epoch(None) => format!("consumers {group} gone"),
        Body::PartitionMetadata(there) => {
            format!("consumers {group} partition-metadata{}", if *there { "" } else { " gone" })
        }
        Body::Member(member, None) => format!("member {group} {} gone", &**member),
        Body::Member(member, Some(value)) => {
            let mut line = format!(
                "member {group} {} topics={} regex={:?} rebalance={}",
                &**member,
                value.subscribed_topic_names.join(","),
                value.subscribed_topic_regex,
                value.rebalance_timeout_ms
            );
            let optional = [
                ("instance", value.instance_id.as_deref()),
                ("rack", value.rack_id.as_deref()),
                ("assignor", value.server_assignor.as_deref()),
            ];
            for (key, text) in optional {
                if let Some(text) = text {
                    line.push_str(&format!(" {key}={text}"));
                }
            }
            if let Some(classic) = &value.classic {
                let names: Vec<&str> = classic.protocols.iter().map(|protocol| &*protocol.name).collect();
                line.push_str(&format!(
                    " classic={} session={}",
                    names.join(","),
                    classic.session_timeout_ms
                ));
            }
            line
        }
        Body::TargetEpoch(Some(value)) => {
            format!("target {group} epoch={} at={}", value.epoch, value.timestamp_ms)
        }
        Body::TargetEpoch(None) => format!("target {group} gone"),
        Body::TargetMember(member, None) => format!("target {group} {} gone", &**member),
        Body::TargetMember(member, Some(value)) => {
            format!("target {group} {} {}", &**member, partitions(value))
        }
        Body::CurrentAssignment(member, None) => format!("current {group} {} gone", &**member),
        Body::CurrentAssignment(member, Some(value)) => format!(
            "current {group} {} epoch={} previous={} {:?} owns={} gives-up={}",
            &**member,
            value.member_epoch,
            value.previous_member_epoch,
            value.state,
            partitions_at(&value.assigned),
            partitions_at(&value.pending_revocation)
        ),
        Body::RegularExpression(regex, None) => format!("regex {group} {regex:?} gone"),
        Body::RegularExpression(regex, Some(value)) => format!(
            "regex {group} {regex:?} topics={} version={} at={}",
            value.topics.join(","),
            value.version,
            value.timestamp_ms
        ),
    }
}

/// An assignment that the coordinator wrote for a classic member; None for other bytes.
pub(crate) fn embedded_assignment(bytes: &Opaque) -> Option<String> {
    fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
        let (head, tail) = rest.split_at_checked(len)?;
        *rest = tail;
        Some(head)
    }
    fn number(rest: &mut &[u8]) -> Option<i32> {
        take(rest, 4).and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)))
    }
    let mut rest: &[u8] = bytes.get(2..)?;
    let mut all = Vec::new();
    for _ in 0..number(&mut rest)? {
        let len = take(&mut rest, 2)?;
        let name = String::from_utf8_lossy(take(&mut rest, len[1].into())?).into_owned();
        for _ in 0..number(&mut rest)? {
            all.push(format!("{name}-{}", number(&mut rest)?));
        }
    }
    let ends = number(&mut rest)? == -1 && rest.is_empty();
    ends.then(|| if all.is_empty() { "nothing".to_owned() } else { all.join(",") })
}
