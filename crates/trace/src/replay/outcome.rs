//! All that a replay came to, as commands and bindings tell it.

use super::{Mode, NoiseFloor, Prepared, ReplayOptions, noise_floor};
use crate::{Bounds, Fidelity};
use serde_json::{Value, json};
use std::time::Duration;

/// A replay that is over.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How true it was.
    pub fidelity: Fidelity,
    /// How late the machine was with nothing to do, right after, the thread scheduled alike; none where nothing said when
    /// operations are due, and where the replay was stopped: whoever did so wants to be told at once.
    pub floor: Option<NoiseFloor>,
    /// What was made before, if anything was to be.
    pub prepared: Option<Prepared>,
    /// How many operations of the plan are done: `skip` so many to go on.
    pub position: u64,
    /// The bounds that were exceeded, a sentence each.
    pub violations: Vec<String>,
}

/// The noise floor is measured as long as the replay lasted, within these.
const FLOOR: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Instants of a noise floor are not closer than this: closer ones would be noticed together.
const CLOSEST: Duration = Duration::from_micros(20);

impl Outcome {
    /// Measures the machine's noise floor, as often as the replay submitted, and holds the replay to `bounds`. To be called
    /// on the thread that replayed, right after.
    pub fn of(
        fidelity: Fidelity,
        options: &ReplayOptions,
        prepared: Option<Prepared>,
        bounds: &Bounds,
    ) -> Outcome {
        let paced = !matches!(options.mode, Mode::Closed { .. }) && !fidelity.stopped;
        let gap = Duration::from_nanos(fidelity.intended_gaps.mean() as u64).max(CLOSEST).min(FLOOR.0);
        let floor =
            paced.then(|| noise_floor(gap, fidelity.elapsed.clamp(FLOOR.0, FLOOR.1), options.priority));
        let violations = fidelity.violations(bounds);
        Outcome {
            position: options.skip + fidelity.submitted,
            fidelity,
            floor: floor.and_then(|floor| floor.ok()),
            prepared,
            violations,
        }
    }

    /// All of it, times in nanoseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "fidelity": self.fidelity.to_json(),
            "noise_floor_ns": self.floor.as_ref().map(NoiseFloor::to_json),
            "prepared": self.prepared.map(|prepared| prepared.to_json()),
            "violations": self.violations,
            "position": self.position,
        })
    }
}
