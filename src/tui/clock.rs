//! When the next tick is due.

use std::time::{Duration, Instant};

/// When the next tick is due. Inputs that arrive earlier do not postpone it.
#[derive(Debug, Default)]
pub struct Clock {
    due: Option<Instant>,
}

impl Clock {
    /// Time from `now` until the next tick, at most `patience`; `None`: no tick is due.
    pub fn left(&mut self, patience: Option<Duration>, now: Instant) -> Option<Duration> {
        self.due = patience.map(|patience| {
            let latest = now + patience;
            self.due.map_or(latest, |due| due.min(latest))
        });
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether a tick is due at `now`; if so, the next one is counted from here.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_inputs_do_not_stop_the_clock() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let patience = Duration::from_millis(100);
        let ticks = (0..100).filter(|beat| {
            // An input arrives every 30 ms.
            let now = start + Duration::from_millis(30 * beat);
            let is_due = clock.is_due(now);
            assert!(clock.left(Some(patience), now).unwrap() <= patience);
            is_due
        });
        // Every 120 ms for three seconds.
        assert_eq!(ticks.count(), 24);
    }

    #[test]
    fn ticks_follow_the_patience() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let [short, long] = [100, 125].map(Duration::from_millis);
        assert_eq!(clock.left(None, start), None);
        assert_eq!(clock.left(Some(long), start), Some(long));
        assert_eq!(clock.left(Some(short), start), Some(short), "a shorter patience moves the tick forward");
        assert_eq!(clock.left(None, start), None);
        assert!(!clock.is_due(start + long), "not any more");
    }
}
