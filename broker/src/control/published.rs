//! The newest image, who is told of it, and which core has it.
//!
//! The state machine publishes each committed image; cores acknowledge a version when they have opened its logs; the proposer
//! answers when all of them have. Deliberately absent: the way to a core, which is the publisher's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corelog_logic::controller::{Delta, MetadataImage};
use tokio::sync::Notify;

/// Hands an image and what changed in it to every core. Runs on the control thread: it must neither block nor call back.
pub type Publisher = Box<dyn Fn(Arc<MetadataImage>, Arc<Delta>) + Send>;

/// Shared by the control thread and the cores; locked for a moment once per image version, never on the way of a request.
#[derive(Default)]
pub struct Published {
    inner: Mutex<Inner>,
    acknowledged: Notify,
}

#[derive(Default)]
struct Inner {
    image: Arc<MetadataImage>,
    /// Version of the last image that differed in what a core looks at.
    version: u64,
    publisher: Option<Publisher>,
    /// The version that each core has. Empty until there are cores.
    cores: Vec<u64>,
}

impl Published {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest committed image.
    pub(super) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.lock().image)
    }

    /// The version that all cores should have by now.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Takes a newer image; the cores are told when something changed that they look at. The version that they should have.
    pub(super) fn publish(&self, image: Arc<MetadataImage>, delta: Delta) -> u64 {
        let mut inner = self.lock();
        inner.image = Arc::clone(&image);
        if !delta.is_empty() {
            inner.version = image.version;
            if let Some(publisher) = &inner.publisher {
                publisher(image, Arc::new(delta));
            }
        }
        inner.version
    }

    /// From now on `cores` cores are told through `publisher`: of the image of now at once.
    pub(super) fn attach(&self, cores: usize, publisher: Publisher) {
        let mut inner = self.lock();
        inner.version = inner.image.version;
        inner.cores = vec![0; cores];
        publisher(Arc::clone(&inner.image), Arc::new(Delta::whole()));
        inner.publisher = Some(publisher);
    }

    /// `core` has the image of this version, or a later one.
    pub(super) fn acknowledge(&self, core: usize, version: u64) {
        if let Some(has) = self.lock().cores.get_mut(core) {
            *has = version.max(*has);
        }
        self.acknowledged.notify_waiters();
    }

    /// Resolves when every core has this version.
    pub(super) async fn on_every_core(&self, version: u64) {
        loop {
            let mut notified = std::pin::pin!(self.acknowledged.notified());
            // Registered before looking, or an acknowledgement in between would be missed.
            notified.as_mut().enable();
            if self.lock().cores.iter().all(|has| *has >= version) {
                return;
            }
            notified.await;
        }
    }
}
