//! The topics that every script may read: one with three partitions (batches of every codec, nothing, one large
//! batch), one whose times are the broker's.

use corelog_storage::batch::{BatchBuilder, Compression};

use super::batches::MADE_MS;
use super::{Maker, fetch, produce, topics};
use crate::script::Step;

/// Creates and fills them.
pub(super) fn all(maker: &mut Maker<'_>) {
    let names: Vec<String> = maker.world.fixtures().into_iter().map(|(name, _)| name).collect();
    let [orders, events] = &names[..] else { return };
    topics::create_one(maker, orders, 3, &[]);
    topics::create_one(maker, events, 1, &[("message.timestamp.type", "LogAppendTime")]);
    maker.steps.push(Step::Exist(names.clone()));
    for (batch, codec) in Compression::ALL.into_iter().cycle().take(10).enumerate() {
        let base = MADE_MS + batch as i64 * 1_000;
        let records = (0..=batch % 4).fold(BatchBuilder::new().compression(codec), |builder, record| {
            // Later records may be older.
            let timestamp = base + if record == 2 { -500 } else { record as i64 };
            builder.record(timestamp, Some(b"key"), Some(format!("value {batch} {record}").as_bytes()))
        });
        produce_one(maker, orders, 0, records);
    }
    let large = (0..30).fold(BatchBuilder::new(), |builder, record| {
        builder.record(MADE_MS + record, None, Some(&[b'x'; 400]))
    });
    produce_one(maker, orders, 2, large);
    for codec in Compression::ALL {
        let records = BatchBuilder::new().compression(codec).record(MADE_MS, None, Some(b"event"));
        produce_one(maker, events, 0, records);
    }
    for partition in 0..3 {
        fetch::all_of(maker, orders, partition);
    }
    fetch::all_of(maker, events, 0);
}

fn produce_one(maker: &mut Maker<'_>, topic: &str, partition: i32, records: BatchBuilder) {
    maker.send(0, 8, &produce::request(8, topic, -1, vec![(partition, Some(records.build()))]));
}
