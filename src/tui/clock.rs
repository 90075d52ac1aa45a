//! When the clock is looked at next.

use std::time::{Duration, Instant};

/// When the clock is looked at next: whatever comes in before then does not put it off.
#[derive(Debug, Default)]
pub struct Clock {
    due: Option<Instant>,
}

impl Clock {
    /// How long from `now` until it is looked at, at most so long as `patience`; `None` is never.
    pub fn left(&mut self, patience: Option<Duration>, now: Instant) -> Option<Duration> {
        self.due = patience.map(|patience| {
            let latest = now + patience;
            self.due.map_or(latest, |due| due.min(latest))
        });
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Whether it is looked at `now`; the next time is then counted from here.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_all_the_time_does_not_stop_the_clock() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let patience = Duration::from_millis(100);
        let looks = (0..100).filter(|beat| {
            // Something comes in every 30 ms.
            let now = start + Duration::from_millis(30 * beat);
            let is_due = clock.is_due(now);
            assert!(clock.left(Some(patience), now).unwrap() <= patience);
            is_due
        });
        // Every 120 ms of three seconds.
        assert_eq!(looks.count(), 24);
    }

    #[test]
    fn it_is_looked_at_when_there_is_something_to_time() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        let [short, long] = [100, 125].map(Duration::from_millis);
        assert_eq!(clock.left(None, start), None);
        assert_eq!(clock.left(Some(long), start), Some(long));
        assert_eq!(clock.left(Some(short), start), Some(short), "sooner, when it is wanted sooner");
        assert_eq!(clock.left(None, start), None);
        assert!(!clock.is_due(start + long), "not any more");
    }
}
