//! One axis: where a value lies between its ends, and which values are marked and how they are written.

use crate::units;

/// What an axis counts, which says how it is spaced and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Nanoseconds, each step ten times the one before.
    Nanoseconds,
    /// Seconds, evenly.
    Seconds,
    /// Bytes, evenly.
    Bytes,
    /// Bytes, each step twice the one before.
    Sizes,
    /// Bytes a second, evenly.
    BytesPerSecond,
    /// Things, evenly.
    Count,
    /// Parts of a whole, from 0 to 1, evenly.
    Share,
    /// How many nines: `-log10(1 - fraction)`, so that p90, p99 and p99.9 are as far apart.
    Nines,
}

/// An axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it is of, with its unit where the marks have none.
    pub label: String,
    /// What it counts.
    pub quantity: Quantity,
    /// Its first value.
    pub low: f64,
    /// Its last.
    pub high: f64,
}

impl Axis {
    /// Over these values. One that is evenly spaced begins at 0. There is always some distance between the ends.
    pub fn over(label: &str, quantity: Quantity, values: impl IntoIterator<Item = f64>) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        match quantity.base() {
            // To the next mark outwards, so that a line does not run along the edge.
            Some(base) => {
                let smallest = low.max(f64::MIN_POSITIVE);
                let (a, b) = (smallest.log(base), high.max(smallest).log(base));
                let part = if base == 10.0 { 10.0 } else { 1.0 };
                low = base.powf((a * part + 1e-9).floor() / part);
                high = base.powf((b * part - 1e-9).ceil() / part);
                if high <= low {
                    high = low * base;
                }
            }
            None => {
                low = 0.0;
                high = if high > 0.0 { high } else { 1.0 };
            }
        }
        Axis { label: label.to_owned(), quantity, low, high }
    }

    /// A little longer, so that the highest value does not touch the edge.
    #[must_use]
    pub fn with_room(mut self) -> Axis {
        if self.quantity.base().is_none() {
            self.high *= 1.06;
        }
        self
    }

    /// Where a value lies: 0 at the beginning, 1 at the end, values beyond held to these.
    pub fn place(&self, value: f64) -> f64 {
        let part = match self.quantity.base() {
            Some(_) => {
                let low = self.low.ln();
                (value.max(f64::MIN_POSITIVE).ln() - low) / (self.high.ln() - low)
            }
            None => (value - self.low) / (self.high - self.low),
        };
        if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) }
    }

    /// The values to mark, at most about so many, with what is written beside them.
    pub fn marks(&self, most: usize) -> Vec<(f64, String)> {
        let most = most.max(2);
        let mut values: Vec<f64> = match self.quantity {
            Quantity::Nines => {
                return NINES
                    .iter()
                    .map(|&(fraction, name)| (nines(fraction), name))
                    .filter(|&(value, _)| value <= self.high + 1e-9)
                    .map(|(value, name)| (value, name.to_owned()))
                    .collect();
            }
            Quantity::Nanoseconds => self.decades(most),
            Quantity::Sizes => {
                let (a, b) = (self.low.log2().round() as i32, self.high.log2().round() as i32);
                let step = ((b - a).unsigned_abs() as usize).div_ceil(most).max(1);
                (a..=b).step_by(step).map(|power| 2f64.powi(power)).collect()
            }
            Quantity::Bytes | Quantity::BytesPerSecond => self.even(most, &[1.0, 2.0, 4.0, 8.0], 16.0),
            Quantity::Seconds | Quantity::Count | Quantity::Share => self.even(most, &[1.0, 2.0, 5.0], 10.0),
        };
        values.retain(|value| *value >= self.low * (1.0 - 1e-9) && *value <= self.high * (1.0 + 1e-9));
        values.into_iter().map(|value| (value, self.quantity.write(value))).collect()
    }

    fn even(&self, most: usize, steps: &[f64], base: f64) -> Vec<f64> {
        let least = (self.high - self.low) / most as f64;
        let scale = base.powf(least.log(base).floor());
        let step = steps.iter().map(|step| step * scale).find(|step| *step >= least * (1.0 - 1e-9));
        let mut step = step.unwrap_or(base * scale);
        if self.quantity == Quantity::Count {
            step = step.max(1.0);
        }
        (0..=most).map(|i| (self.low / step).ceil() * step + i as f64 * step).collect()
    }

    fn decades(&self, most: usize) -> Vec<f64> {
        let (a, b) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let span = self.high.log10() - self.low.log10();
        let within: &[f64] = match span * 3.0 <= most as f64 {
            true if span < 0.8 => &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            true => &[1.0, 2.0, 5.0],
            false => &[1.0],
        };
        let step = (span / most as f64).ceil().max(1.0) as usize;
        (a..=b)
            .step_by(step)
            .flat_map(|power| within.iter().map(move |digit| digit * 10f64.powi(power)))
            .collect()
    }
}

/// The percentiles that people name.
const NINES: [(f64, &str); 9] = [
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999999, "99.9999 %"),
    (0.9999999, "99.99999 %"),
];

/// A fraction below 1 on the axis of nines.
pub(crate) fn nines(fraction: f64) -> f64 {
    -(1.0 - fraction).log10()
}

impl Quantity {
    /// By which factor steps grow, where they do.
    fn base(self) -> Option<f64> {
        match self {
            Quantity::Nanoseconds => Some(10.0),
            Quantity::Sizes => Some(2.0),
            _ => None,
        }
    }

    /// A value of this kind, for people.
    pub fn write(self, value: f64) -> String {
        match self {
            Quantity::Nanoseconds => short(&units::duration(value)),
            Quantity::Seconds if value == 0.0 => "0 s".to_owned(),
            Quantity::Seconds => short(&units::duration(value * 1e9)),
            // What holds nothing is drawn half a step below one byte.
            Quantity::Sizes if value < 1.0 => "0 B".to_owned(),
            Quantity::Sizes => units::whole_bytes(value.round() as u64),
            Quantity::Bytes => short(&units::bytes(value.round() as u64)),
            Quantity::BytesPerSecond => {
                let text = short(&units::bytes(value.round() as u64));
                format!("{text}/s")
            }
            Quantity::Count => units::count(value.round() as u64),
            Quantity::Share => format!("{} %", short(&units::number(value * 100.0))),
            Quantity::Nines => format!("{} %", (1.0 - 10f64.powf(-value)) * 100.0),
        }
    }
}

/// Without the zeros behind a decimal point: `5.00 ms` is `5 ms` on an axis.
fn short(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_as_far_apart_as_their_nines() {
        let axis = Axis { label: String::new(), quantity: Quantity::Nines, low: 0.0, high: 3.0 };
        let marks = axis.marks(8);
        assert_eq!(
            marks.iter().map(|mark| &*mark.1).collect::<Vec<_>>(),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %"]
        );
        let places: Vec<f64> = marks.iter().map(|mark| axis.place(mark.0)).collect();
        assert!((places[3] - places[2] - (places[4] - places[3])).abs() < 1e-9, "{places:?}");
    }

    #[test]
    fn marks_are_round_and_say_their_unit() {
        let names = |axis: Axis, most| axis.marks(most).into_iter().map(|mark| mark.1).collect::<Vec<_>>();
        let latency = Axis::over("", Quantity::Nanoseconds, [1_000.0, 5e6]);
        assert_eq!(names(latency, 6), ["1 µs", "10 µs", "100 µs", "1 ms"]);
        let time = Axis::over("", Quantity::Seconds, [0.1, 9.0]);
        assert_eq!(names(time, 6), ["0 s", "2 s", "4 s", "6 s", "8 s"]);
        let bytes = Axis::over("", Quantity::Bytes, [64e6]);
        assert_eq!(names(bytes, 5), ["0 B", "16 MiB", "32 MiB", "48 MiB"]);
        let sizes = Axis::over("", Quantity::Sizes, [0.5, 4.0]);
        assert_eq!(names(sizes, 8), ["0 B", "1 B", "2 B", "4 B"]);
    }

    proptest! {
        #[test]
        fn values_between_the_ends_are_placed_in_their_order(
            values in proptest::collection::vec(1e-3f64..1e15, 1..20),
            quantity in prop_oneof![
                Just(Quantity::Nanoseconds), Just(Quantity::Bytes), Just(Quantity::Sizes), Just(Quantity::Count)
            ],
        ) {
            let axis = Axis::over("", quantity, values.iter().copied());
            prop_assert!(axis.low < axis.high);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let places: Vec<f64> = sorted.iter().map(|value| axis.place(*value)).collect();
            prop_assert!(places.is_sorted(), "{:?}", places);
            for most in [2, 5, 9] {
                let marks = axis.marks(most);
                prop_assert!(marks.len() <= 3 * most + 2, "{} marks", marks.len());
                prop_assert!(marks.iter().all(|mark| (0.0..=1.0).contains(&axis.place(mark.0))));
            }
        }
    }
}
