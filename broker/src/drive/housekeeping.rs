//! A core's housekeeping: what earlier processes left behind is swept up once, and retention is looked at again and again.
//!
//! Started by boot in the housekeeping class, ends with the core. Deliberately absent: what may go (`storage::retention`), and
//! removing it (the log).

use std::rc::Rc;
use std::time::Duration;

use corelog_storage::StorageError;

use super::partition::now_ms;
use super::{Partitions, Store};

/// How often retention is looked at, and when first.
#[derive(Debug, Clone, Copy)]
pub struct Housekeeping {
    /// Before the first look (`log.initial.task.delay.ms`).
    pub initial_delay: Duration,
    /// Between two (`log.retention.check.interval.ms`).
    pub retention_interval: Duration,
}

/// Keeps house for as long as the core runs.
pub async fn keep_house(partitions: Rc<Partitions>, store: Rc<Store>, settings: Housekeeping) {
    match store.sweep().await {
        Ok(0) => {}
        Ok(files) => tracing::info!("{files} files of removed segments swept up"),
        Err(error) => tracing::warn!("removed segments' files could not be swept up: {error}"),
    }
    glommio::timer::sleep(settings.initial_delay).await;
    loop {
        enforce_retention(&partitions).await;
        glommio::timer::sleep(settings.retention_interval).await;
    }
}

async fn enforce_retention(partitions: &Partitions) {
    for partition in partitions.online() {
        let log = partition.log();
        match log.enforce_retention(now_ms()).await {
            Ok(Some(log_start_offset)) => {
                tracing::info!("{} starts at {log_start_offset} by its retention", log.identity().dir_name());
            }
            Ok(None) => {}
            // Deleted meanwhile, or its directory failed, which has been said.
            Err(StorageError::Closed | StorageError::DirectoryFailed { .. }) => {}
            Err(error) => tracing::warn!("retention of {}: {error}", log.identity().dir_name()),
        }
        glommio::yield_if_needed().await;
    }
}
