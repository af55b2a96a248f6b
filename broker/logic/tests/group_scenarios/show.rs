//! How replies and records look in a scenario: one line each, with what matters.

use corelog_logic::group::{
    GroupErrorKind, GroupRecord, JoinGroupReply, Opaque, PartitionFetched, Reply, SyncGroupReply,
};

use crate::consumer;
use crate::script::shorten;

fn error(error: Option<GroupErrorKind>) -> String {
    error.map_or("ok".to_owned(), |error| format!("{error:?}"))
}

fn or_dash(text: Option<&std::sync::Arc<str>>) -> &str {
    text.map_or("-", |text| text)
}

/// Bytes as the scenario's commands made them: a subscription's topics, or a text.
fn opaque(bytes: &Opaque) -> String {
    if bytes.first() == Some(&0) && bytes.len() >= 6 {
        let mut topics = Vec::new();
        let mut rest = &bytes[6..];
        while let [_, len, after @ ..] = rest
            && topics.len() < usize::from(bytes[5])
        {
            let (topic, after) = after.split_at(usize::from(*len));
            topics.push(String::from_utf8_lossy(topic).into_owned());
            rest = after;
        }
        return topics.join("+");
    }
    if bytes.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(bytes).into_owned() }
}

/// What a leader or the coordinator assigned.
fn assignment(bytes: &Opaque) -> String {
    consumer::embedded_assignment(bytes).unwrap_or_else(|| opaque(bytes))
}

pub(crate) fn reply(label: &str, reply: &Reply) -> Vec<String> {
    let line = match reply {
        Reply::ConsumerGroupHeartbeat(_) | Reply::ConsumerGroupDescribe(_) => {
            return consumer::reply(label, reply);
        }
        Reply::JoinGroup(reply) => joined(reply),
        Reply::SyncGroup(SyncGroupReply { error: Some(kind), .. }) => format!("{kind:?}"),
        Reply::SyncGroup(reply) => format!(
            "ok assignment={} type={} protocol={}",
            assignment(&reply.assignment),
            or_dash(reply.protocol_type.as_ref()),
            or_dash(reply.protocol_name.as_ref())
        ),
        Reply::Heartbeat(result) => error(result.err()),
        Reply::LeaveGroup(Err(kind))
        | Reply::OffsetCommit(Err(kind))
        | Reply::OffsetFetch(Err(kind))
        | Reply::OffsetDelete(Err(kind))
        | Reply::ListGroups(Err(kind)) => format!("{kind:?}"),
        Reply::LeaveGroup(Ok(left)) => left
            .iter()
            .map(|member| {
                let instance = member.instance_id.as_deref().map_or(String::new(), |id| format!("/{id}"));
                format!("{}{instance}:{}", &*member.member_id, error(member.error))
            })
            .collect::<Vec<_>>()
            .join(" "),
        Reply::OffsetCommit(Ok(topics)) | Reply::OffsetDelete(Ok(topics)) => topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(move |(at, kind)| format!("{}-{at}:{}", topic.topic, error(*kind)))
            })
            .collect::<Vec<_>>()
            .join(" "),
        Reply::OffsetFetch(Ok(topics)) => {
            let all: Vec<String> = topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |found| fetched(&topic.topic, found)))
                .collect();
            if all.is_empty() { "nothing".to_owned() } else { all.join(" ") }
        }
        Reply::DescribeGroups(groups) => {
            return groups
                .iter()
                .flat_map(|group| {
                    let head = format!(
                        "{label} <- {} {} state={} type={} protocol={}",
                        &*group.group_id,
                        error(group.error),
                        group.state,
                        group.protocol_type,
                        group.protocol
                    );
                    let members = group.members.iter().map(|member| {
                        format!(
                            "     {} instance={} client={} host={} subscribes={} assignment={}",
                            &*member.member_id,
                            member.instance_id.as_deref().unwrap_or("-"),
                            member.client_id,
                            member.client_host,
                            opaque(&member.metadata),
                            assignment(&member.assignment)
                        )
                    });
                    std::iter::once(head).chain(members).map(|line| shorten(&line)).collect::<Vec<_>>()
                })
                .collect();
        }
        Reply::ListGroups(Ok(groups)) => groups
            .iter()
            .map(|group| {
                format!("{}:{}:{}:{}", &*group.group_id, group.group_type, group.state, group.protocol_type)
            })
            .collect::<Vec<_>>()
            .join(" "),
        Reply::DeleteGroups(groups) => groups
            .iter()
            .map(|(group_id, result)| format!("{}:{}", &**group_id, error(result.err())))
            .collect::<Vec<_>>()
            .join(" "),
    };
    vec![shorten(format!("{label} <- {line}").trim_end())]
}

fn joined(reply: &JoinGroupReply) -> String {
    if let Some(kind) = reply.error {
        return format!("{kind:?} member={}", &*reply.member_id);
    }
    let members: Vec<String> = reply
        .members
        .iter()
        .map(|member| {
            let instance = member.instance_id.as_deref().map_or(String::new(), |id| format!("/{id}"));
            format!("{}{instance}({})", &*member.member_id, opaque(&member.metadata))
        })
        .collect();
    format!(
        "ok generation={} type={} protocol={} leader={} member={}{}{}",
        reply.generation_id,
        or_dash(reply.protocol_type.as_ref()),
        or_dash(reply.protocol_name.as_ref()),
        &*reply.leader,
        &*reply.member_id,
        if members.is_empty() { String::new() } else { format!(" members={}", members.join(",")) },
        if reply.skip_assignment { " keeps-the-assignment" } else { "" }
    )
}

fn fetched(topic: &str, found: &PartitionFetched) -> String {
    let epoch = if found.leader_epoch == -1 { String::new() } else { format!("@{}", found.leader_epoch) };
    let metadata = if found.metadata.is_empty() { String::new() } else { format!("!{}", found.metadata) };
    let kind = found.error.map_or(String::new(), |kind| format!("?{kind:?}"));
    format!("{topic}-{}:{}{epoch}{metadata}{kind}", found.partition, found.offset)
}

pub(crate) fn record(record: &GroupRecord) -> String {
    let line = match record {
        GroupRecord::Consumer(record) => consumer::record(record),
        GroupRecord::OffsetCommit(key, value) => {
            let of = format!("offset {} {}-{}", &*key.group_id, key.partition.topic, key.partition.partition);
            match value {
                None => format!("{of} gone"),
                Some(value) => {
                    let expires = match value.expire_timestamp_ms {
                        -1 => String::new(),
                        at => format!(" expires={at}"),
                    };
                    format!(
                        "{of} {} epoch={} metadata={:?} at={}{expires}",
                        value.offset, value.leader_epoch, value.metadata, value.commit_timestamp_ms
                    )
                }
            }
        }
        GroupRecord::GroupMetadata(group_id, None) => format!("group {} gone", &**group_id),
        GroupRecord::GroupMetadata(group_id, Some(value)) => {
            let members: Vec<String> = value
                .members
                .iter()
                .map(|member| {
                    let instance = member.instance_id.as_deref().map_or(String::new(), |id| format!("/{id}"));
                    let assignment = assignment(&member.assignment);
                    format!("{}{instance}={assignment}", &*member.member_id)
                })
                .collect();
            format!(
                "group {} generation={} type={} protocol={} leader={} since={} members=[{}]",
                &**group_id,
                value.generation,
                value.protocol_type,
                or_dash(value.protocol.as_ref()),
                value.leader.as_deref().unwrap_or("-"),
                value.current_state_timestamp_ms,
                members.join(" ")
            )
        }
    };
    shorten(&format!("   + {line}"))
}
