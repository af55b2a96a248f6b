//! Balanced per topic and overall, stable, deterministic.

use super::*;
use proptest::prelude::*;

fn topic(n: u8) -> TopicId {
    [n; 16]
}

fn spread(counts: &[u32]) -> u32 {
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

#[test]
fn single_partition_topics_do_not_all_land_on_the_first_core() {
    let mut placement = Placement::new(4);
    let cores: Vec<_> = (0..4).map(|n| placement.place(topic(n), 0)).collect();
    assert_eq!(cores, [Core(0), Core(1), Core(2), Core(3)]);
}

#[test]
fn a_removed_partition_makes_room_and_is_forgotten() {
    let mut placement = Placement::new(2);
    placement.place(topic(1), 0);
    placement.place(topic(1), 1);
    assert_eq!(placement.remove(topic(1), 0), Some(Core(0)));
    assert_eq!(placement.remove(topic(1), 0), None);
    assert_eq!(placement.core_of(topic(1), 0), None);
    assert_eq!(placement.place(topic(2), 0), Core(0));
    placement.remove(topic(1), 1);
    placement.remove(topic(2), 0);
    assert_eq!(placement.load(), [0, 0]);
    assert!(placement.topics.is_empty());
}

proptest! {
    #[test]
    fn every_topic_and_the_node_are_balanced_and_nothing_moves(
        cores in 1_u16..17,
        topics in prop::collection::vec(1_i32..40, 1..40),
    ) {
        let mut placement = Placement::new(cores);
        let mut placed = Vec::new();
        for (n, partitions) in topics.iter().enumerate() {
            let mut of_topic = vec![0; usize::from(cores)];
            for partition in 0..*partitions {
                let core = placement.place(topic(n as u8), partition);
                of_topic[core.index()] += 1;
                placed.push((n as u8, partition, core));
            }
            prop_assert!(spread(&of_topic) <= 1);
            prop_assert!(spread(placement.load()) <= 1);
        }
        let mut again = Placement::new(cores);
        for (n, partition, core) in placed {
            prop_assert_eq!(placement.core_of(topic(n), partition), Some(core));
            prop_assert_eq!(placement.place(topic(n), partition), core);
            prop_assert_eq!(again.place(topic(n), partition), core);
        }
    }
}
