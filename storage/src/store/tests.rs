//! When a round is due.

use super::plan::{Due, Pressure, due};

const CALM: Pressure = Pressure { dirty_logs: 1, age_ns: 10, pressed: false, full: false };

#[test]
fn a_round_is_due_when_something_presses_or_has_waited_long_and_never_without_work() {
    assert_eq!(due(CALM, 100), Due::InNs(90));
    assert_eq!(due(Pressure { age_ns: 100, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { pressed: true, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { full: true, ..CALM }, 100), Due::Now);
    assert_eq!(due(Pressure { dirty_logs: 0, age_ns: 500, pressed: true, full: true }, 100), Due::Idle);
}
