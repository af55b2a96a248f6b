//! CreatePartitions: growing a topic, by hand and in turn, and what is refused.

use super::*;

fn more(name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>) -> MorePartitions {
    MorePartitions { name: name.to_owned(), count, assignments }
}

impl Controller {
    fn grow(&mut self, topics: Vec<MorePartitions>) -> Vec<Result<(), (CommandErrorKind, String)>> {
        match self.run(Command::CreatePartitions { topics, validate_only: false }) {
            Ok(Reply::PartitionsCreated(results)) => results
                .into_iter()
                .map(|(_, result)| result.map_err(|error| (error.kind, error.message)))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn partitions_of(&self, name: &str) -> usize {
        self.image.topic_by_name(name).unwrap().partitions.len()
    }
}

fn with_topic() -> Controller {
    let mut controller = Controller::with_broker(1);
    controller.create_one(NewTopic { num_partitions: 2, replication_factor: 1, ..topic("t") }).unwrap();
    controller
}

#[test]
fn a_topic_grows_and_its_new_partitions_have_logs_of_their_own() {
    let mut controller = with_topic();
    controller.delta = Delta::default();
    assert_eq!(controller.grow(vec![more("t", 5, None)]), [Ok(())]);
    let grown = controller.image.topic_by_name("t").unwrap().clone();
    assert_eq!(grown.partitions.len(), 5);
    let mut log_ids: Vec<u64> = grown.partitions.iter().map(|partition| partition.log_id).collect();
    log_ids.sort_unstable();
    log_ids.dedup();
    assert_eq!(log_ids.len(), 5);
    assert!(grown.partitions.iter().all(|one| one.leader == 1 && one.replicas == [1] && one.isr == [1]));
    assert!(controller.delta.topics_changed.contains(&grown.id), "the cores are told");
}

#[test]
fn new_partitions_may_be_assigned_by_hand() {
    let mut controller = with_topic();
    assert_eq!(controller.grow(vec![more("t", 3, Some(vec![vec![1]]))]), [Ok(())]);
    let invalid = |text: &str| Err((CommandErrorKind::InvalidReplicaAssignment, text.to_owned()));
    let mut by_hand = |count, replicas: &[&[i32]]| {
        let replicas = replicas.iter().map(|replicas| replicas.to_vec()).collect();
        controller.grow(vec![more("t", count, Some(replicas))]).remove(0)
    };
    assert_eq!(
        by_hand(5, &[&[1]]),
        invalid("Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.")
    );
    assert_eq!(
        by_hand(4, &[&[]]),
        invalid("The manual partition assignment includes an empty replica list.")
    );
    assert_eq!(
        by_hand(4, &[&[9]]),
        invalid("The manual partition assignment includes broker 9, but no such broker is registered.")
    );
    assert_eq!(
        by_hand(4, &[&[1, 1]]),
        invalid("The manual partition assignment includes the broker 1 more than once.")
    );
    controller.register(2);
    let two = controller.grow(vec![more("t", 4, Some(vec![vec![1, 2]]))]).remove(0);
    assert!(two.unwrap_err().1.contains("with 2 replica(s), but this is not consistent"));
    assert_eq!(controller.partitions_of("t"), 3);
}

#[test]
fn what_is_no_increase_is_refused_in_kafkas_words_topic_by_topic() {
    let mut controller = with_topic();
    let invalid = |text: &str| Err((CommandErrorKind::InvalidPartitions, text.to_owned()));
    let results = controller.grow(vec![more("none", 3, None), more("t", 2, None), more("t", 3, None)]);
    assert_eq!(results[0].as_ref().unwrap_err().0, CommandErrorKind::UnknownTopicOrPartition);
    let duplicate = (CommandErrorKind::InvalidRequest, "Duplicate topic name.".to_owned());
    assert_eq!(results[1..], [Err(duplicate)]);
    assert_eq!(controller.grow(vec![more("t", 2, None)]), [invalid("Topic already has 2 partition(s).")]);
    for count in [1, 0, -1] {
        let text = format!("The topic t currently has 2 partition(s); {count} would not be an increase.");
        assert_eq!(controller.grow(vec![more("t", count, None)]), [invalid(&text)]);
    }
    assert_eq!(controller.partitions_of("t"), 2);
}

#[test]
fn validating_grows_nothing() {
    let mut controller = with_topic();
    let command = Command::CreatePartitions { topics: vec![more("t", 9, None)], validate_only: true };
    let reply = controller.run(command);
    assert_eq!(reply, Ok(Reply::PartitionsCreated(vec![("t".to_owned(), Ok(()))])));
    assert_eq!(controller.partitions_of("t"), 2);
}

#[test]
fn one_request_grows_by_so_many_partitions_and_no_more() {
    let mut controller = with_topic();
    for count in [i32::MAX, 2 + PARTITIONS_PER_REQUEST_MAX as i32 + 1] {
        let command =
            Command::CreatePartitions { topics: vec![more("t", count, None)], validate_only: false };
        assert_eq!(controller.run(command).unwrap_err().kind, CommandErrorKind::PolicyViolation);
    }
    assert_eq!(controller.grow(vec![more("t", 2 + PARTITIONS_PER_REQUEST_MAX as i32, None)]), [Ok(())]);
}
