//! What a configuration accepts, refuses and says.

use corelog_logic::controller::MetadataImage;

use super::*;

fn build(overrides: &[&str]) -> Result<BrokerConfig, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    BrokerConfig::build(load(None, &overrides)?.given)
}

fn refusal(overrides: &[&str]) -> String {
    build(overrides).expect_err("must be refused").to_string()
}

#[test]
fn every_default_is_a_value_its_own_key_accepts() {
    for setting in broker_settings().chain(TOPIC_SETTINGS.iter().map(|topic| &topic.setting)) {
        if let Some(default) = setting.default {
            setting.check(default).unwrap_or_else(|error| panic!("{error}"));
        }
        assert!(setting.doc.ends_with('.'), "{} needs a documented sentence", setting.name);
    }
}

#[test]
fn every_topic_key_falls_back_to_a_broker_key_that_exists() {
    for topic in TOPIC_SETTINGS {
        if let Some(name) = topic.broker_name {
            assert!(broker_setting(name).is_some(), "{} -> {name}", topic.setting.name);
        }
    }
}

#[test]
fn without_any_configuration_it_listens_on_loopback_and_writes_below_the_current_directory() {
    let config = build(&[]).unwrap();
    assert_eq!(
        config.listeners,
        [Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }]
    );
    assert_eq!(config.log_dirs, [std::path::PathBuf::from("corelog-data")]);
    assert_eq!(config.flush, Flush::Always);
    assert!(!config.listens_beyond_loopback());
    assert!(config.advertised_listeners.is_none());
}

#[test]
fn a_send_buffer_is_the_kernels_unless_one_is_asked_for() {
    assert_eq!(build(&[]).unwrap().socket_send_buffer_bytes, None);
    assert_eq!(build(&["socket.send.buffer.bytes=-1"]).unwrap().socket_send_buffer_bytes, None);
    let asked_for = build(&["socket.send.buffer.bytes=102400"]).unwrap();
    assert_eq!(asked_for.socket_send_buffer_bytes, Some(102_400));
}

#[test]
fn kafkas_single_node_listeners_start_without_the_controllers() {
    let config = build(&["listeners=PLAINTEXT://:9092,CONTROLLER://:9093"]).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert!(config.listens_beyond_loopback());
}

#[test]
fn an_unknown_key_warns_with_the_nearest_known_one() {
    let loaded = load(None, &["num.partition=3".to_owned()]).unwrap();
    assert_eq!(
        loaded.warnings,
        ["unknown configuration key num.partition is ignored; did you mean num.partitions?"]
    );
    let loaded = load(None, &["zzz=3".to_owned()]).unwrap();
    assert_eq!(loaded.warnings, ["unknown configuration key zzz is ignored"]);
}

#[test]
fn a_bad_value_says_key_value_allowed_and_example() {
    assert_eq!(
        refusal(&["num.partitions=many"]),
        "num.partitions=many: expected a whole number of 32 bits, at least 1 (for example num.partitions=1)"
    );
    assert_eq!(
        refusal(&["corelog.flush=sometimes"]),
        "corelog.flush=sometimes: expected a text: one of always, written (for example corelog.flush=always)"
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    assert!(refusal(&["message.max.bytes=40000000"]).contains("corelog.journal.bytes=268435456"));
    assert!(refusal(&["corelog.memory.bytes=1000"]).contains("at least 67108864"));
    assert!(refusal(&["listeners=SSL://:9093"]).contains("only PLAINTEXT is served"));
    assert!(refusal(&["listeners=PLAINTEXT://:70000"]).contains("0 to 65535"));
    assert!(refusal(&["listeners=127.0.0.1:9092"]).contains("expected NAME://host:port"));
    assert!(refusal(&["log.dirs=a,a"]).contains("named twice"));
    assert!(refusal(&["advertised.listeners=OTHER://h:1"]).contains("not among listeners"));
    assert!(refusal(&["corelog.metrics.listen=9644"]).contains("127.0.0.1:9644"));
    assert!(refusal(&["nonsense"]).contains("expected key=value"));
}

#[test]
fn a_properties_file_is_read_and_overrides_win() {
    let dir = std::env::temp_dir().join(format!("corelog-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("server.properties");
    std::fs::write(&path, "# a comment\nnum.partitions=3\nlog.dirs = /a, /b\n").unwrap();
    let loaded = load(Some(&path), &["num.partitions=5".to_owned()]).unwrap();
    let config = BrokerConfig::build(loaded.given).unwrap();
    assert_eq!(config.num_partitions, 5);
    assert_eq!(config.log_dirs.len(), 2);
    let missing = load(Some(&dir.join("absent")), &[]).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the configuration file"), "{missing}");
    std::fs::remove_dir_all(&dir).unwrap();
}

fn as_of(given: &Given) -> TopicConfig {
    TopicConfig::resolve(|_| None, &BrokerValues::new(&MetadataImage::default(), 1, given))
}

#[test]
fn a_topics_value_comes_from_itself_then_the_broker_then_the_default() {
    let image = MetadataImage::default();
    let given = load(None, &["log.roll.hours=2".to_owned(), "log.roll.ms=9".to_owned()]).unwrap().given;
    let topic = topic_setting("segment.ms").unwrap();
    let found = topic_synonyms(topic, Some("77"), &BrokerValues::new(&image, 1, &given));
    let seen: Vec<_> =
        found.iter().map(|one| (one.name.as_str(), one.value.as_deref(), one.source)).collect();
    assert_eq!(
        seen,
        [
            ("segment.ms", Some("77"), Source::Topic),
            ("log.roll.ms", Some("9"), Source::StaticBroker),
            ("log.roll.hours", Some("2"), Source::StaticBroker),
            ("log.roll.hours", Some("168"), Source::Default),
        ]
    );
    assert_eq!(as_of(&given).segment_ms, 9);
    let hours = load(None, &["log.roll.hours=2".to_owned()]).unwrap().given;
    assert_eq!(as_of(&hours).segment_ms, 7_200_000);
    assert_eq!(as_of(&Given::default()).segment_ms, 604_800_000);
    assert_eq!(as_of(&Given::default()).max_message_bytes, 1_048_588);
}

#[test]
fn every_key_is_listed_with_its_default_and_whether_it_does_anything() {
    let all = listing("").unwrap();
    for name in broker_settings().map(|one| one.name).chain(TOPIC_SETTINGS.iter().map(|one| one.setting.name))
    {
        assert!(all.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name}");
    }
    assert!(all.lines().all(|line| line.chars().count() <= 140), "a line is too long to read");
    assert!(listing("replica.fetch").unwrap().contains("NO EFFECT"));
    assert!(!listing("corelog.flush").unwrap().contains("NO EFFECT"));
    assert_eq!(listing("no such key"), None);
}

#[test]
fn no_key_is_in_two_sections() {
    let mut names: Vec<&str> = broker_settings().map(|one| one.name).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn values_are_shown_as_kafka_prints_them() {
    let shown = |name: &str, value: &str| topic_setting(name).unwrap().setting.shown(value);
    assert_eq!(shown("segment.ms", "  007 "), "7");
    assert_eq!(shown("min.cleanable.dirty.ratio", "1"), "1.0");
    assert_eq!(shown("preallocate", "TRUE"), "true");
    assert_eq!(shown("cleanup.policy", "compact , delete"), "compact,delete");
}

fn resolved(name: &str, value: &str, overrides: &[&str]) -> TopicConfig {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let (image, given) = (MetadataImage::default(), load(None, &overrides).unwrap().given);
    TopicConfig::resolve(|key| (key == name).then_some(value), &BrokerValues::new(&image, 1, &given))
}

#[test]
fn a_cleanup_policy_names_each_way_and_may_name_none() {
    for (text, delete, compact) in [
        ("delete", true, false),
        ("compact", false, true),
        ("compact, delete", true, true),
        ("", false, false),
    ] {
        let setting = &topic_setting("cleanup.policy").unwrap().setting;
        assert_eq!(setting.refusal(text), None);
        let config = resolved("cleanup.policy", text, &[]);
        assert_eq!(config.cleanup, CleanupPolicy { delete, compact }, "{text:?}");
    }
}

#[test]
fn retention_is_a_week_and_minus_one_is_for_ever() {
    let of = |overrides: &[&str]| {
        let config = resolved("", "", overrides);
        (config.retention_ms, config.retention_bytes)
    };
    assert_eq!(of(&[]), (Some(604_800_000), None));
    assert_eq!(of(&["log.retention.minutes=2"]), (Some(120_000), None));
    assert_eq!(of(&["log.retention.hours=-1", "log.retention.bytes=7"]), (None, Some(7)));
    assert_eq!(of(&["log.retention.ms=5", "log.retention.hours=1"]), (Some(5), None));
}

#[test]
fn what_the_cleaner_goes_by_is_kafkas_until_something_is_set() {
    let of = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let (image, given) = (MetadataImage::default(), load(None, &overrides).unwrap().given);
        CleanerConfig::resolve(&BrokerValues::new(&image, 1, &given))
    };
    assert_eq!(of(&[]), CleanerConfig::default());
    let slow = of(&["log.cleaner.backoff.ms=7", "log.cleaner.io.max.bytes.per.second=1.5E6"]);
    assert_eq!((slow.backoff_ms, slow.io_bytes_per_second), (7, 1.5e6));
}
