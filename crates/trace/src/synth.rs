//! Traces from a model: arrivals, objects and sizes. The same model and seed give the same trace.

use crate::error::{Error, Result};
use crate::{Action, Record};
use forebay_io::parse_size;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal};
use std::str::FromStr;

/// When operations are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Independent of each other (a Poisson process): so many a second on average.
    Poisson {
        /// Operations a second.
        rate: f64,
    },
    /// Poisson for a while, then silence, again and again.
    Bursty {
        /// Operations a second while a burst lasts.
        rate: f64,
        /// Seconds that a burst lasts.
        on: f64,
        /// Seconds between bursts.
        off: f64,
    },
    /// As a training loop asks: a batch at once, then the time of a step, and a longer pause after each epoch.
    Epochs {
        /// Operations of a batch.
        batch: u64,
        /// Seconds from one batch to the next.
        step: f64,
        /// Seconds between epochs. An epoch asks for every object once.
        pause: f64,
    },
}

impl FromStr for Arrivals {
    type Err = Error;

    /// `poisson:RATE`, `bursty:RATE,ON,OFF` or `epochs:BATCH,STEP,PAUSE`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(':').and_then(|(name, rest)| match name {
            "poisson" => numbers::<1>(rest).map(|[rate]| Arrivals::Poisson { rate }),
            "bursty" => numbers::<3>(rest).map(|[rate, on, off]| Arrivals::Bursty { rate, on, off }),
            "epochs" => numbers::<3>(rest)
                .filter(|[batch, ..]| batch.fract() == 0.0 && *batch >= 1.0)
                .map(|[batch, step, pause]| Arrivals::Epochs { batch: batch as u64, step, pause }),
            _ => None,
        });
        parsed.ok_or_else(|| {
            Error::Invalid(format!(
                "{text:?} is not a model of arrivals; write poisson:RATE, bursty:RATE,ON,OFF or epochs:BATCH,STEP,PAUSE"
            ))
        })
    }
}

fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let numbers: Vec<f64> = text.split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// How large the objects are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizes {
    /// All alike.
    Fixed(u64),
    /// Lognormal.
    LogNormal {
        /// Half of the objects are smaller, in bytes.
        median: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
}

impl FromStr for Sizes {
    type Err = Error;

    /// `fixed:64KiB` or `lognormal:MEDIAN,SIGMA`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(':').and_then(|(name, rest)| match name {
            "fixed" => parse_size(rest).ok().map(Sizes::Fixed),
            "lognormal" => {
                let (median, sigma) = rest.split_once(',')?;
                let median = parse_size(median).ok()? as f64;
                Some(Sizes::LogNormal { median, sigma: sigma.trim().parse().ok()? })
            }
            _ => None,
        });
        parsed.ok_or_else(|| {
            Error::Invalid(format!(
                "{text:?} is not a rule for sizes; write fixed:64KiB or lognormal:MEDIAN,SIGMA, as lognormal:128KiB,1.0"
            ))
        })
    }
}

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// When operations are asked for.
    pub arrivals: Arrivals,
    /// How large objects are.
    pub sizes: Sizes,
    /// How many objects there are.
    pub objects: u64,
    /// What their names begin with; a number and `.bin` follow.
    pub prefix: String,
    /// How many operations.
    pub operations: u64,
    /// What everything is drawn from.
    pub seed: u64,
}

impl Model {
    /// The operations, in the order of asking.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a model that makes no sense, naming the number.
    pub fn records(&self) -> Result<impl Iterator<Item = Record> + Send + use<>> {
        let positive = |name: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::Invalid(format!("{name} must be a number above 0, is {value}"))),
        };
        let from_zero = |name: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(Error::Invalid(format!("{name} must be a number of 0 or more, is {value}"))),
        };
        match self.arrivals {
            Arrivals::Poisson { rate } => positive("rate", rate)?,
            Arrivals::Bursty { rate, on, off } => {
                positive("rate", rate)?;
                positive("on", on)?;
                from_zero("off", off)?;
            }
            Arrivals::Epochs { batch, step, pause } => {
                positive("batch", batch as f64)?;
                from_zero("step", step)?;
                from_zero("pause", pause)?;
            }
        }
        if let Sizes::LogNormal { median, sigma } = self.sizes {
            positive("median", median)?;
            from_zero("sigma", sigma)?;
        }
        if self.objects == 0 {
            return Err(Error::Invalid("objects must be 1 or more, is 0".into()));
        }
        let model = self.clone();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut clock = 0.0;
        Ok((0..self.operations).map(move |n| {
            clock = model.next_time(clock, n, &mut random);
            let object = match model.arrivals {
                Arrivals::Epochs { .. } => n % model.objects,
                _ => random.random_range(0..model.objects),
            };
            let mut record =
                Record::asked(Action::Get, format!("{}{object:08}.bin", model.prefix), (clock * 1e9) as u64);
            record.bytes = Some(model.size_of(object));
            record.sample_id = Some(object);
            if let Arrivals::Epochs { .. } = model.arrivals {
                record.epoch = Some(n / model.objects);
            }
            record
        }))
    }

    fn next_time(&self, clock: f64, n: u64, random: &mut ChaCha8Rng) -> f64 {
        let gap = |rate: f64, random: &mut ChaCha8Rng| Exp::new(rate).map_or(0.0, |exp| exp.sample(random));
        match self.arrivals {
            Arrivals::Poisson { rate } => clock + gap(rate, random),
            Arrivals::Bursty { rate, on, off } => {
                let next = clock + gap(rate, random);
                // A gap that reaches beyond the burst goes on in the next one.
                let period = on + off;
                let (burst, into) = ((next / period).floor(), next % period);
                if into < on { next } else { (burst + 1.0) * period }
            }
            Arrivals::Epochs { batch, step, pause } => {
                let (epoch, within) = (n / self.objects, n % self.objects);
                let batches = self.objects.div_ceil(batch);
                let epoch_long = batches as f64 * step + pause;
                epoch as f64 * epoch_long + (within / batch) as f64 * step
            }
        }
    }

    /// An object has one size, however often it is read.
    fn size_of(&self, object: u64) -> u64 {
        match self.sizes {
            Sizes::Fixed(bytes) => bytes,
            Sizes::LogNormal { median, sigma } => {
                let mut random =
                    ChaCha8Rng::seed_from_u64(self.seed ^ object.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let drawn = LogNormal::new(median.ln(), sigma).map_or(median, |d| d.sample(&mut random));
                (drawn.round() as u64).max(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(arrivals: Arrivals) -> Model {
        Model {
            arrivals,
            sizes: Sizes::LogNormal { median: 65536.0, sigma: 1.0 },
            objects: 100,
            prefix: "mem://h/".into(),
            operations: 20_000,
            seed: 3,
        }
    }

    #[test]
    fn poisson_has_its_rate_and_its_spread() {
        let records: Vec<_> = model(Arrivals::Poisson { rate: 1000.0 }).records().unwrap().collect();
        let gaps: Vec<f64> =
            records.windows(2).map(|w| (w[1].t_submit - w[0].t_submit) as f64 / 1e9).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean * 1000.0 - 1.0).abs() < 0.03 && (spread / mean - 1.0).abs() < 0.03, "{mean} {spread}");
        let mut sizes: Vec<_> = records.iter().map(|r| r.bytes.unwrap()).collect();
        sizes.sort_unstable();
        let median = sizes[sizes.len() / 2] as f64;
        assert!((0.6..1.6).contains(&(median / 65536.0)), "{median}");
        assert_eq!(records, model(Arrivals::Poisson { rate: 1000.0 }).records().unwrap().collect::<Vec<_>>());
    }

    #[test]
    fn bursts_are_silent_between() {
        let bursty = model(Arrivals::Bursty { rate: 1000.0, on: 0.5, off: 1.5 });
        for record in bursty.records().unwrap() {
            assert!(record.t_submit % 2_000_000_000 <= 500_000_000, "{}", record.t_submit);
        }
    }

    #[test]
    fn an_epoch_asks_for_every_object_once_batch_by_batch() {
        let epochs = model(Arrivals::Epochs { batch: 30, step: 0.1, pause: 1.0 });
        let records: Vec<_> = epochs.records().unwrap().take(200).collect();
        assert_eq!(
            (records[29].t_submit, records[30].t_submit, records[100].t_submit),
            (0, 100_000_000, 1_400_000_000)
        );
        let mut first: Vec<_> = records[..100].iter().map(|r| &r.uri).collect();
        first.sort();
        first.dedup();
        assert_eq!((first.len(), records[150].epoch), (100, Some(1)));
    }

    #[test]
    fn models_are_read_from_text() {
        let bursty = Arrivals::Bursty { rate: 10.0, on: 0.5, off: 2.0 };
        assert_eq!("bursty:10, 0.5,2".parse::<Arrivals>().unwrap(), bursty);
        assert_eq!(
            "lognormal:4KiB,1.5".parse::<Sizes>().unwrap(),
            Sizes::LogNormal { median: 4096.0, sigma: 1.5 }
        );
        for text in ["poisson", "poisson:x", "poisson:1,2", "epochs:0,1,1", "epochs:1.5,1,1", "daily:1"] {
            assert!(text.parse::<Arrivals>().unwrap_err().to_string().contains("poisson:RATE"), "{text}");
        }
        for text in ["fixed", "fixed:x", "lognormal:1KiB", "list:1"] {
            assert!(text.parse::<Sizes>().unwrap_err().to_string().contains("fixed:64KiB"), "{text}");
        }
    }

    #[test]
    fn models_that_make_no_sense_are_refused() {
        for arrivals in [
            Arrivals::Poisson { rate: 0.0 },
            Arrivals::Bursty { rate: 1.0, on: f64::NAN, off: 1.0 },
            Arrivals::Epochs { batch: 0, step: 1.0, pause: 0.0 },
        ] {
            assert!(model(arrivals).records().is_err(), "{arrivals:?}");
        }
        assert!(Model { objects: 0, ..model(Arrivals::Poisson { rate: 1.0 }) }.records().is_err());
    }
}
