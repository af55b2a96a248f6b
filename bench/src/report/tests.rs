//! Medians, rounds that did not run, and a whole report of made-up rounds.

use super::*;

fn result(records_per_s: f64, stable: bool, errors: &str) -> String {
    let latency = r#"{"count":1,"mean_us":1,"p50_us":10.0,"p90_us":1,"p99_us":99.0,"p999_us":1,"p9999_us":1,"max_us":1}"#;
    format!(
        r#"{{"command":"produce","ran":true,"settings":{{"connections":4}},"rate":null,"verified":null,
        "warmup":{{"seconds":8,"stable":{stable}}},"measured_s":10.0,
        "window":{{"records":10,"bytes":1000,"requests":1}},"records_per_s":{records_per_s},"mb_per_s":1.5,
        "requests_per_s":1,"latency":{latency},"generator_late":{latency},"records_each_s":[1],"generator_cpu_s":2.0,
        "broker":{{"cpu_s":5.0,"cpu_s_per_gb":0.75,"cpu_s_per_million_records":null,
        "memory":{{"resident_bytes":1,"resident_bytes_max":104857600}}}},
        "machine_idle_s":0,"machine_stolen_s":0,"errors":{errors},"unanswered":0}}"#
    )
}

#[test]
fn a_median_is_the_middle_or_the_middle_of_two() {
    let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
    assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, lowest: 1.0, highest: 3.0 }));
    assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, lowest: 1.0, highest: 4.0 }));
    assert_eq!(spread(&[f64::NAN]), None);
    assert_eq!(spread(&[]), None);
}

#[test]
fn a_round_without_a_result_says_why() {
    let reason = |json: &str| Round::parse("small", "corelog", 2, json).outcome.unwrap_err();
    assert_eq!(reason(""), "no result was written");
    assert_eq!(
        reason(r#"{"ran":false,"error":"the broker closed connection 3"}"#),
        "the broker closed connection 3"
    );
    assert!(reason(r#"{"ran":true}"#).starts_with("unreadable result"));
}

#[test]
fn what_weakens_a_figure_is_remarked_on() {
    let remarks = |json: &str| Round::parse("small", "kafka", 1, json).remarks();
    assert!(remarks(&result(5.0, true, "[]")).is_empty());
    assert_eq!(remarks(&result(5.0, false, "[[3,2]]")).len(), 2);
}

#[test]
fn a_report_divides_by_the_baseline_and_leaves_no_round_out() {
    let dir = std::env::temp_dir().join(format!("corelog-bench-report-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for (name, json) in [
        ("small.kafka.1.json", result(100.0, true, "[]")),
        ("small.kafka.2.json", result(300.0, true, "[]")),
        ("small.kafka.3.json", result(200.0, true, "[]")),
        ("small.corelog.1.json", result(640.0, true, "[]")),
        ("small.corelog.2.json", r#"{"ran":false,"error":"it fell over"}"#.to_string()),
        ("large.corelog.1.json", String::new()),
        ("machine.txt", "a machine".to_string()),
        ("ignored.json", "{".to_string()),
    ] {
        fs::write(dir.join(name), json).unwrap();
    }
    let text = report(&dir, "kafka").unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(text.contains("| small | kafka | 3 of 3 | 200 (100 to 300) | 1.5 | - | 10 | 99 | 1 |"), "{text}");
    assert!(text.contains("| small | corelog | 1 of 2 | 640 (640 to 640) | 1.5 | 3.20 | 10 |"), "{text}");
    assert!(text.contains("| large | corelog | 0 of 1 | did not run |"), "{text}");
    assert!(text.contains("- small on corelog, round 2: did not run: it fell over"), "{text}");
    assert!(text.contains("| small | kafka | 0.75 | - | 0.50 | 0.20 | 100 |"), "{text}");
    assert!(text.contains("a machine") && text.contains("disk.json is missing"), "{text}");
}
