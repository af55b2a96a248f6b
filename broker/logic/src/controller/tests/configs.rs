//! Changing configurations: set, delete, append, subtract, reset; all of a resource's changes or none.

use super::*;

const TOPIC: ResourceKind = ResourceKind::Topic;
const BROKER: ResourceKind = ResourceKind::Broker;

fn operation(kind: OperationKind, name: &str, value: Option<&str>) -> ConfigOperation {
    ConfigOperation { name: name.to_owned(), kind, value: value.map(str::to_owned) }
}

fn set(name: &str, value: &str) -> ConfigOperation {
    operation(OperationKind::Set, name, Some(value))
}

fn change(kind: ResourceKind, name: &str, operations: Vec<ConfigOperation>) -> ConfigChange {
    ConfigChange {
        resource: ConfigResource { kind, name: name.to_owned() },
        operations,
        resets_others: false,
    }
}

impl Controller {
    fn alter(&mut self, changes: Vec<ConfigChange>) -> Vec<Result<(), CommandError>> {
        match self.run(Command::AlterConfigs { changes, validate_only: false }) {
            Ok(Reply::ConfigsAltered(results)) => results,
            other => panic!("{other:?}"),
        }
    }

    /// One change of one resource: its text, when it is refused.
    fn alter_one(&mut self, change: ConfigChange) -> Result<(), (CommandErrorKind, String)> {
        self.alter(vec![change]).remove(0).map_err(|error| (error.kind, error.message))
    }

    fn topics_value(&self, name: &str) -> Option<String> {
        self.image.config(&ConfigResource::topic("t"), name).map(str::to_owned)
    }
}

fn with_topic() -> Controller {
    let mut controller = Controller::with_broker(1);
    controller.create_one(topic("t")).unwrap();
    controller
}

#[test]
fn each_resource_changes_as_a_whole_or_not_at_all_and_its_neighbours_do_not_mind() {
    let mut controller = with_topic();
    let results = controller.alter(vec![
        change(TOPIC, "t", vec![set("retention.ms", "7"), set("unknown", "1")]),
        change(BROKER, "1", vec![set("retention.ms", "7")]),
        change(BROKER, "", vec![set("anything", "x")]),
    ]);
    assert_eq!(results[0].as_ref().unwrap_err().kind, CommandErrorKind::InvalidConfig);
    assert_eq!(results[1..], [Ok(()), Ok(())]);
    assert_eq!(controller.topics_value("retention.ms"), None);
    assert_eq!(controller.image.config(&ConfigResource::broker(1), "retention.ms"), Some("7"));
}

#[test]
fn validating_changes_nothing_and_says_the_same() {
    let mut controller = with_topic();
    let changes = vec![change(TOPIC, "t", vec![set("retention.ms", "7")])];
    let reply = controller.run(Command::AlterConfigs { changes, validate_only: true });
    assert_eq!(reply, Ok(Reply::ConfigsAltered(vec![Ok(())])));
    assert_eq!(controller.topics_value("retention.ms"), None);
}

#[test]
fn a_key_is_set_and_deleted() {
    let mut controller = with_topic();
    controller.alter_one(change(TOPIC, "t", vec![set("retention.ms", "7")])).unwrap();
    assert_eq!(controller.topics_value("retention.ms").as_deref(), Some("7"));
    let delete = operation(OperationKind::Delete, "retention.ms", None);
    controller.alter_one(change(TOPIC, "t", vec![delete.clone()])).unwrap();
    assert_eq!(controller.topics_value("retention.ms"), None);
    // What was never set, or is not even known, can be deleted.
    controller.alter_one(change(TOPIC, "t", vec![delete])).unwrap();
    controller
        .alter_one(change(TOPIC, "t", vec![operation(OperationKind::Delete, "unknown", None)]))
        .unwrap();
}

#[test]
fn a_list_begins_with_its_default_and_holds_nothing_twice() {
    let mut controller = with_topic();
    let mut step = |kind, value| {
        let change = change(TOPIC, "t", vec![operation(kind, "cleanup.policy", Some(value))]);
        controller.alter_one(change).unwrap();
        controller.topics_value("cleanup.policy").unwrap()
    };
    assert_eq!(step(OperationKind::Append, "compact"), "delete,compact");
    assert_eq!(step(OperationKind::Append, "compact"), "delete,compact");
    assert_eq!(step(OperationKind::Subtract, "delete,nothing"), "compact");
    assert_eq!(step(OperationKind::Subtract, "compact"), "");
    // As Java splits: what is empty at the end does not count.
    assert_eq!(step(OperationKind::Append, "delete,,"), "delete");
    assert_eq!(step(OperationKind::Append, ","), "delete");
    assert_eq!(step(OperationKind::Append, ",compact"), "delete,,compact");
}

#[test]
fn only_lists_are_appended_to_and_subtracted_from() {
    let mut controller = with_topic();
    let mut refused = |kind: ResourceKind, name: &str, what| {
        let change = change(kind, name, vec![operation(what, "retention.ms", Some("1"))]);
        controller.alter_one(change).unwrap_err()
    };
    let invalid = |text: &str| (CommandErrorKind::InvalidConfig, text.to_owned());
    assert_eq!(
        refused(TOPIC, "t", OperationKind::Append),
        invalid("Can't APPEND to key retention.ms because its type is not LIST.")
    );
    assert_eq!(
        refused(TOPIC, "t", OperationKind::Subtract),
        invalid("Can't SUBTRACT to key retention.ms because its type is not LIST.")
    );
    assert_eq!(
        refused(BROKER, "1", OperationKind::Append),
        invalid("Config value append is not allowed for config key: retention.ms")
    );
}

#[test]
fn the_old_way_resets_what_it_does_not_name() {
    let mut controller = with_topic();
    controller
        .alter_one(change(TOPIC, "t", vec![set("retention.ms", "7"), set("cleanup.policy", "compact")]))
        .unwrap();
    let only = change(TOPIC, "t", vec![set("cleanup.policy", "delete")]);
    controller.alter_one(ConfigChange { resets_others: true, ..only }).unwrap();
    let resource = ConfigResource::topic("t");
    let left: Vec<(&str, &str)> = controller.image.configs(&resource).collect();
    assert_eq!(left, [("cleanup.policy", "delete")]);
}

#[test]
fn what_cannot_be_meant_is_refused_in_kafkas_words() {
    let mut controller = with_topic();
    let mut refused = |change| controller.alter_one(change).unwrap_err();
    let request = |text: &str| (CommandErrorKind::InvalidRequest, text.to_owned());
    let seven = || vec![set("retention.ms", "7")];
    assert_eq!(
        refused(change(TOPIC, "t", vec![set("retention.ms", "1"), set("retention.ms", "2")])),
        request("Error due to duplicate config keys")
    );
    assert_eq!(
        refused(change(TOPIC, "t", vec![operation(OperationKind::Set, "retention.ms", None)])),
        request("Null value not supported for : retention.ms")
    );
    assert_eq!(refused(change(TOPIC, "", seven())), request("Default topic resources are not allowed."));
    assert_eq!(refused(change(TOPIC, "a/b", seven())).0, CommandErrorKind::InvalidTopicException);
    assert_eq!(
        refused(change(TOPIC, "none", seven())),
        (CommandErrorKind::UnknownTopicOrPartition, "The topic 'none' does not exist.".to_owned())
    );
    assert_eq!(
        refused(change(BROKER, "5", seven())),
        request("Unexpected broker id, expected 1, but received 5")
    );
    assert_eq!(
        refused(change(BROKER, "five", seven())),
        request("Node id must be an integer, but it is: five")
    );
    let long = "x".repeat(CONFIG_VALUE_BYTES_MAX + 1);
    assert_eq!(refused(change(BROKER, "1", vec![set("anything", &long)])).0, CommandErrorKind::InvalidConfig);
}

#[test]
fn a_resource_that_occurs_twice_is_refused_each_time() {
    let mut controller = with_topic();
    let twice = || change(TOPIC, "t", vec![set("retention.ms", "7")]);
    let results = controller.alter(vec![twice(), twice()]);
    for result in results {
        assert_eq!(result.unwrap_err().message, "Each resource must appear at most once.");
    }
    assert_eq!(controller.topics_value("retention.ms"), None);
}

#[test]
fn a_resource_has_so_many_configurations_and_no_more() {
    let mut controller = with_topic();
    let many = |count: usize| (0..count).map(|n| set(&format!("key.{n}"), "v")).collect();
    controller.alter_one(change(BROKER, "1", many(CONFIGS_PER_RESOURCE_MAX))).unwrap();
    let one_more = change(BROKER, "1", vec![set("another", "v")]);
    assert_eq!(controller.alter_one(one_more).unwrap_err().0, CommandErrorKind::InvalidConfig);
}
