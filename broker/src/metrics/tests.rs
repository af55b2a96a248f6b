//! What a scrape looks like.

use super::*;

#[test]
fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
    let mut latency = Latency::default();
    for us in [1, 50, 51, 10_000_000] {
        latency.record_us(us);
    }
    let counts: Vec<u64> = latency.buckets().map(|(_, count)| count).collect();
    assert_eq!(counts[..2], [2, 1]);
    assert_eq!(counts.last(), Some(&1));
    assert_eq!((latency.count(), latency.sum_us()), (4, 10_000_102));
}

#[test]
fn a_scrape_names_requests_by_api_and_core() {
    let metrics = CoreMetrics::default();
    metrics.request(0, 100, 20, 300);
    metrics.request(0, 100, 20, 70_000_000);
    let core = CoreStats { core: 1, requests: metrics.requests(), ..CoreStats::default() };
    let watched = vec![WatchStats::default(), WatchStats { wakes: 3, stalls: 0 }];
    let stats = NodeStats { cores: vec![core], watched };
    let text = render(stats, |key| format!("api{key}")).unwrap();
    for line in [
        r#"corelog_requests_total{api="api0",core="1"} 2"#,
        r#"corelog_request_bytes_total{api="api0",core="1"} 200"#,
        r#"corelog_request_seconds_bucket{le="0.00035",api="api0",core="1"} 1"#,
        r#"corelog_request_seconds_bucket{le="+Inf",api="api0",core="1"} 2"#,
        r#"corelog_watchdog_wakes_total{core="1"} 3"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
