//! What a coordinator sleeps on: the next deadline, the disk, and the moment up to which commits are collected.
//!
//! They are kept from one sleep to the next. A coordinator is woken by every request, and each of them moves a deadline a little: a timer of
//! its own for each sleep would be most of what a commit costs here. Deliberately absent: work, which `coordinator` looks for itself.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corelog_storage::StorageError;
use glommio::timer::Timer;

use super::super::Partition;

type Durable = Pin<Box<dyn Future<Output = Result<(), StorageError>>>>;

struct Alarm {
    at: Instant,
    timer: Timer,
    /// Whom the reactor will wake: it is told once.
    told: Option<Waker>,
}

/// A coordinator's alarm clock.
#[derive(Default)]
pub(super) struct Sleep {
    /// When the timer goes off, in milliseconds of the coordinator's clock: never after the deadline, perhaps before it.
    timer: Option<(i64, Alarm)>,
    linger: Option<Alarm>,
    /// Up to which offset the log must be durable.
    durable: Option<(i64, Durable)>,
}

impl Sleep {
    /// Wakes at this deadline, given with the present time, or a little early: deadlines mostly move away, and a timer that goes off before
    /// its time is set again once.
    pub(super) fn until_deadline(&mut self, deadline_and_now_ms: Option<(i64, i64)>) {
        let Some((deadline_ms, now_ms)) = deadline_and_now_ms else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_none_or(|(set_for_ms, _)| *set_for_ms > deadline_ms) {
            let in_ms = u64::try_from(deadline_ms.saturating_sub(now_ms)).unwrap_or(0);
            self.timer = Some((deadline_ms, Alarm::after(Duration::from_millis(in_ms))));
        }
    }

    /// Wakes at this moment, too.
    pub(super) fn until(&mut self, moment: Option<Instant>) {
        let Some(moment) = moment else {
            self.linger = None;
            return;
        };
        if self.linger.as_ref().is_none_or(|alarm| alarm.at < moment) {
            self.linger = Some(Alarm::after(moment.saturating_duration_since(Instant::now())));
        }
    }

    /// Wakes when the partition's log is durable up to this offset.
    pub(super) fn until_durable(&mut self, partition: &Rc<Partition>, next_offset: Option<i64>) {
        let Some(next_offset) = next_offset else {
            self.durable = None;
            return;
        };
        if self.durable.as_ref().is_none_or(|(waited_for, _)| *waited_for != next_offset) {
            let partition = Rc::clone(partition);
            let durable = async move { partition.log().durable(next_offset).await };
            self.durable = Some((next_offset, Box::pin(durable)));
        }
    }

    /// Ready when any of them has come, which is not waited for again.
    ///
    /// # Errors
    /// What is not and will not be durable.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StorageError>> {
        if let Some((_, durable)) = &mut self.durable
            && let Poll::Ready(result) = durable.as_mut().poll(cx)
        {
            self.durable = None;
            return Poll::Ready(result);
        }
        if self.timer.as_mut().is_some_and(|(_, alarm)| alarm.poll(cx).is_ready()) {
            self.timer = None;
            return Poll::Ready(Ok(()));
        }
        if self.linger.as_mut().is_some_and(|alarm| alarm.poll(cx).is_ready()) {
            self.linger = None;
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl Alarm {
    fn after(within: Duration) -> Self {
        Self { at: Instant::now() + within, timer: Timer::new(within), told: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_told = self.told.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if is_told && Instant::now() < self.at {
            return Poll::Pending;
        }
        self.told = Some(cx.waker().clone());
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}
