//! The arithmetic of a queue's statistics: depth over time, and time spent empty.
//!
//! Plain data under the queue's own lock; it reads no clock.

/// Times are nanoseconds of the pipeline's clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueMeter {
    pub(crate) put: u64,
    pub(crate) got: u64,
    pub(crate) depth_max: u64,
    opened_at: u64,
    /// When the depth last changed. Never goes back, although callers may bring a reading of the
    /// clock that is older than another thread's.
    changed_at: u64,
    depth: u64,
    /// Depth times time, up to `changed_at`.
    depth_ns: u128,
    /// Time with a depth of 0, up to `changed_at`.
    empty_ns: u64,
    ended_at: Option<u64>,
}

/// What a [`QueueMeter`] says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QueueTimes {
    pub(crate) measured_ns: u64,
    pub(crate) empty_ns: u64,
    pub(crate) depth_ns: u128,
}

impl QueueMeter {
    /// Measuring begins: the queue is empty.
    pub(crate) fn open(&mut self, now: u64) {
        self.opened_at = now;
        self.changed_at = now;
    }

    pub(crate) fn put(&mut self, now: u64) {
        self.elapse(now);
        self.put += 1;
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
    }

    pub(crate) fn got(&mut self, now: u64) {
        self.elapse(now);
        self.got += 1;
        self.depth -= 1;
    }

    /// Nothing will come any more and nothing is left: time stops here.
    pub(crate) fn end(&mut self, now: u64) {
        if self.ended_at.is_none() {
            self.elapse(now);
            self.ended_at = Some(self.changed_at);
        }
    }

    pub(crate) fn times(&self, now: u64) -> QueueTimes {
        let mut then = self.clone();
        then.elapse(now);
        QueueTimes {
            measured_ns: then.changed_at - then.opened_at,
            empty_ns: then.empty_ns,
            depth_ns: then.depth_ns,
        }
    }

    fn elapse(&mut self, now: u64) {
        let now = self.ended_at.unwrap_or(now).max(self.changed_at);
        let passed = now - self.changed_at;
        self.depth_ns += u128::from(self.depth) * u128::from(passed);
        if self.depth == 0 {
            self.empty_ns += passed;
        }
        self.changed_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(measured_ns: u64, empty_ns: u64, depth_ns: u128) -> QueueTimes {
        QueueTimes { measured_ns, empty_ns, depth_ns }
    }

    #[test]
    fn an_open_empty_interval_is_empty() {
        let mut meter = QueueMeter::default();
        meter.open(100);
        assert_eq!(meter.times(140), times(40, 40, 0));
        meter.put(150);
        assert_eq!(meter.times(160), times(60, 50, 10));
        meter.put(170);
        meter.got(190);
        meter.got(200);
        assert_eq!(meter.times(300), times(200, 150, 20 + 40 + 10));
        assert_eq!(meter.depth_max, 2);
    }

    #[test]
    fn time_stops_at_the_end() {
        let mut meter = QueueMeter::default();
        meter.open(0);
        meter.put(10);
        meter.got(30);
        meter.end(35);
        meter.end(90);
        assert_eq!(meter.times(1_000), times(35, 15, 20));
    }

    #[test]
    fn an_older_reading_of_the_clock_does_no_harm() {
        let mut meter = QueueMeter::default();
        meter.open(0);
        meter.put(50);
        meter.got(60);
        meter.put(55);
        assert_eq!(meter.times(58), times(60, 50, 10));
        assert_eq!(meter.times(70), times(70, 50, 20));
    }
}
