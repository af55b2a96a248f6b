//! Producing on a real log: when a batch may be acknowledged. What storage itself promises is proved there.

use std::path::Path;

use corelog_logic::controller::{MetadataImage, TopicId};
use corelog_storage::batch::BatchBuilder;
use corelog_storage::io::glommio::GlommioIo;
use corelog_storage::log::{LogConfig, NoTenant};
use corelog_storage::recovery::{Advisors, RecoveryOptions, recover};
use corelog_storage::store::StoreOptions;
use futures_util::FutureExt;
use glommio::{LocalExecutorBuilder, Placement};

use super::*;
use crate::config::{BrokerValues, Given, TopicConfig};
use crate::drive::tasks::PartitionId;
use crate::drive::{Bugs, Degraded, ProducerTenant, Settings, Store, log_identity};

const ID: PartitionId = PartitionId { topic_id: TopicId([7; 16]), partition: 0 };

/// A partition of an empty store in `dir`.
async fn partition(dir: &Path, bugs: Bugs) -> (Rc<Store>, Rc<Partitions>) {
    let io = GlommioIo::new();
    let options = RecoveryOptions { dirs: vec![dir.to_owned()], cores: 1, bugs: Default::default() };
    let mut advisors =
        Advisors { is_live: &mut |_| true, assign: &mut |_| 0, tenant: &mut |_| Box::new(NoTenant) };
    let recovered = recover(&io, &options, &mut advisors).await.unwrap();
    let core = recovered.cores.into_iter().next().unwrap();
    let options = StoreOptions::new(1, 4 << 20);
    let store =
        Store::open(io, options, core, &mut |_| unreachable!(), &mut |_| LogConfig::default()).await.unwrap();
    let producers = Rc::new(std::cell::RefCell::new(ProducerTenant::default()));
    let identity = log_identity("topic", &ID, 1);
    let log = store.create_log(identity, 0, LogConfig::default(), producers.clone()).await.unwrap();
    let settings =
        Settings { record_validation: RecordValidation::Full, producer_id_expiration_ms: i64::MAX, bugs };
    let partitions = Partitions::new(settings, Degraded::default());
    let (image, given) = (MetadataImage::default(), Given::default());
    let config = TopicConfig::resolve(|_| None, &BrokerValues::new(&image, 1, &given));
    partitions.insert(ID, Ok(Rc::new(Partition::new(log, producers, 0, config))));
    (store, partitions)
}

/// Batch number `sequence` of the one producer.
fn task(sequence: i32) -> AppendTask {
    let batch = BatchBuilder::new().producer(1, 0, sequence).record(now_ms(), None, Some(b"value")).build();
    let records = BytesMut::from(&batch[..]);
    let batch = AppendBatch { partition: ID, backing_bytes: records.len(), records };
    AppendTask { batches: vec![batch], wait_durable: true, image_version: 0 }
}

/// Sends a batch twice without letting the disk have a turn in between. Says whether the second was answered before anything of it was
/// durable.
fn a_repeated_batch_is_answered_early(bugs: Bugs) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
        let (store, partitions) = partition(&path, bugs).await;
        // The first append also makes the segment; from the second on nothing waits before the journal has the batch.
        produce(partitions.clone(), task(0)).await[0].clone().unwrap();
        let mut original = Box::pin(produce(partitions.clone(), task(1)));
        assert!(original.as_mut().now_or_never().is_none(), "the disk has had no turn");
        let mut repeated = Box::pin(produce(partitions.clone(), task(1)));
        let early = repeated.as_mut().now_or_never();
        let log = store.logs()[0].clone();
        assert_eq!(
            (log.log_end_offset(), log.visible_end_offset()),
            (2, 1),
            "appended once, and not durable"
        );
        let is_early = early.is_some();
        let repeated = match early {
            Some(outcome) => outcome,
            None => repeated.await,
        };
        assert_eq!(repeated[0].clone().unwrap().base_offset, 1, "the original's offset");
        assert_eq!(original.await[0].clone().unwrap().base_offset, 1);
        assert_eq!(log.visible_end_offset(), 2);
        store.close().await.unwrap();
        is_early
    });
    executor.unwrap().join().unwrap()
}

#[test]
fn a_repeated_batch_is_answered_when_its_original_is_durable() {
    assert!(!a_repeated_batch_is_answered_early(Bugs::default()));
}

#[test]
fn answering_a_repeated_batch_early_is_noticed() {
    assert!(a_repeated_batch_is_answered_early(Bugs { answer_duplicates_early: true }));
}
