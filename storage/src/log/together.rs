//! Runs a handful of futures at once on the task that waits for them: no spawning, first error wins.
//!
//! Used by rounds of write-back and by recovery, whose opens, truncations and flushes are mostly waiting. The caller bounds how many.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use crate::Result;

/// Resolves when all have, or with the first error; what is unfinished then is dropped.
pub(crate) async fn together<F: Future<Output = Result<()>>>(
    futures: impl IntoIterator<Item = F>,
) -> Result<()> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        let mut failed = None;
        running.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                failed = failed.take().or(result.err());
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if running.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

/// Does something to each item, up to `at_once` of them at the same time; ends with the first error.
pub(crate) async fn each<T>(
    items: impl IntoIterator<Item = T>,
    at_once: usize,
    act: impl AsyncFn(T) -> Result<()>,
) -> Result<()> {
    let items = RefCell::new(items.into_iter());
    together((0..at_once).map(|_| async {
        loop {
            let next = items.borrow_mut().next();
            let Some(item) = next else { return Ok(()) };
            act(item).await?;
        }
    }))
    .await
}
