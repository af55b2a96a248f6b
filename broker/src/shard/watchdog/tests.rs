//! A stuck core is noticed, an idle one is left alone.

use super::*;
use crate::shard::executor::{self, CoreSettings};
use crate::shard::preflight::preflight;
use crate::shard::shutdown::Shutdown;

fn core_with(pulse: Pulse, shutdown: Shutdown, work: impl FnOnce() + Send + 'static) -> executor::Cores {
    let settings = CoreSettings::new(1, preflight().unwrap().cpus);
    let work = Arc::new(Mutex::new(Some(work)));
    executor::start(&settings, vec![(pulse, shutdown)], move |_, (pulse, shutdown)| {
        let work = work.clone();
        async move {
            glommio::spawn_local(pulse.beat()).detach();
            futures_lite::future::yield_now().await;
            let work = work.lock().unwrap().take();
            if let Some(work) = work {
                work();
            }
            shutdown.requested().await;
        }
    })
    .unwrap()
}

fn until(wanted: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if wanted() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_stuck_core_is_counted_once_with_its_time() {
    let (pulse, shutdown) = (Pulse::default(), Shutdown::default());
    let _watchdog = Watchdog::start(vec![pulse.clone()], WatchdogSettings::default()).unwrap();
    let (release, stuck) = std::sync::mpsc::channel::<()>();
    let core = core_with(pulse.clone(), shutdown.clone(), move || {
        let _ = stuck.recv();
    });
    assert!(until(|| pulse.watched().longest_ms > 300));
    release.send(()).unwrap();
    assert!(until(|| pulse.is_answered()));
    assert_eq!(pulse.watched().stalls, 1);
    shutdown.request();
    core.join();
}

#[test]
fn an_idle_core_is_asked_seldom_and_one_that_has_ended_not_at_all() {
    let (pulse, shutdown) = (Pulse::default(), Shutdown::default());
    let settings =
        WatchdogSettings { quiet_interval: Duration::from_secs(600), ..WatchdogSettings::default() };
    let watchdog = Watchdog::start(vec![pulse.clone()], settings).unwrap();
    let core = core_with(pulse.clone(), shutdown.clone(), || ());
    // Once quiet, the next look is ten minutes away.
    assert!(until(|| pulse.watched().asked >= u64::from(QUIET_LOOKS)));
    shutdown.request();
    core.join();
    let asked = pulse.watched().asked;
    assert!(asked < 1_000, "{asked}");
    drop(watchdog);
}
