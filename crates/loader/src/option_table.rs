//! The one definition of the loader's options: names, kinds, ranges, defaults and words. Flags of the
//! command line, keys of a Python dict and the documentation are made from it.

use crate::{DeliveryOrder, LoaderOptions};
use forebay_io::{Budget, Error, PageCacheMode, Result, parse_size};
use serde_json::Value;

/// What kind of value an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// A whole number in a range, both ends included.
    Integer {
        /// The least valid value.
        min: u64,
        /// The greatest valid value.
        max: u64,
    },
    /// A size in bytes in a range, both ends included; a number or a text such as `64MiB`.
    Size {
        /// The least valid value.
        min: u64,
        /// The greatest valid value.
        max: u64,
    },
    /// True or false.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionInfo {
    /// Its name in Rust, Python and JSON; the command line writes `-` for `_`.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What its number counts, or "".
    pub unit: &'static str,
    /// What changes with it.
    pub help: &'static str,
    get: fn(&LoaderOptions) -> Value,
    put: fn(&mut LoaderOptions, &Value) -> Option<()>,
}

/// Far above what any job uses, and low enough that a slip of the keyboard is caught.
const MANY: u64 = 1 << 20;

/// Every option, in the order in which people meet them.
pub const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "batch_size",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "samples",
        help: "Samples in a batch. All of a batch must fit into max_bytes_in_flight",
        get: |o| o.batch_size.into(),
        put: |o, v| put(&mut o.batch_size, v),
    },
    OptionInfo {
        name: "num_workers",
        kind: OptionKind::Integer { min: 1, max: 1024 },
        unit: "batches",
        help: "Batches that are read at the same time. More hides the latency of slow storage",
        get: |o| o.num_workers.into(),
        put: |o, v| put(&mut o.num_workers, v),
    },
    OptionInfo {
        name: "prefetch",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "batches",
        help: "Finished batches that may wait for the consumer. More evens out a consumer that stalls",
        get: |o| o.prefetch.into(),
        put: |o, v| put(&mut o.prefetch, v),
    },
    OptionInfo {
        name: "shuffle",
        kind: OptionKind::Bool,
        unit: "",
        help: "A random order over the whole dataset, another one each epoch. Otherwise samples come in the \
               bytewise order of their names",
        get: |o| o.shuffle.into(),
        put: |o, v| set(&mut o.shuffle, v.as_bool()),
    },
    OptionInfo {
        name: "seed",
        kind: OptionKind::Integer { min: 0, max: u64::MAX },
        unit: "",
        help: "What shuffled orders are drawn from. Must be the same on every rank",
        get: |o| o.seed.into(),
        put: |o, v| set(&mut o.seed, v.as_u64()),
    },
    OptionInfo {
        name: "drop_last",
        kind: OptionKind::Bool,
        unit: "",
        help: "Leave out a last batch that is not full",
        get: |o| o.drop_last.into(),
        put: |o, v| set(&mut o.drop_last, v.as_bool()),
    },
    OptionInfo {
        name: "shard_rank",
        kind: OptionKind::Integer { min: 0, max: MANY - 1 },
        unit: "",
        help: "Which part of the dataset this process reads, from 0",
        get: |o| o.shard_rank.into(),
        put: |o, v| put(&mut o.shard_rank, v),
    },
    OptionInfo {
        name: "shard_world_size",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "ranks",
        help: "Into how many disjoint parts the dataset is split. Their lengths differ by one sample at most",
        get: |o| o.shard_world_size.into(),
        put: |o, v| put(&mut o.shard_world_size, v),
    },
    OptionInfo {
        name: "max_bytes_in_flight",
        kind: OptionKind::Size { min: 1, max: Budget::MAX },
        unit: "bytes",
        help: "Hard cap on the bytes that are arriving or waiting to be taken. The batch in the consumer's \
               hands is not counted",
        get: |o| o.max_bytes_in_flight.into(),
        put: |o, v| set(&mut o.max_bytes_in_flight, v.as_u64()),
    },
    OptionInfo {
        name: "page_cache_mode",
        kind: OptionKind::Choice(&[
            "default",
            "fadvise_sequential",
            "fadvise_random",
            "dont_need",
            "direct_io",
        ]),
        unit: "",
        help: "What the kernel is told about each file. Obeyed or refused, and what was used is reported; \
               direct_io needs a direct:// location",
        get: |o| o.page_cache_mode.name().into(),
        put: |o, v| set(&mut o.page_cache_mode, v.as_str()?.parse::<PageCacheMode>().ok()),
    },
    OptionInfo {
        name: "order",
        kind: OptionKind::Choice(&["ordered", "completion"]),
        unit: "",
        help: "ordered: batches come in the order of the sampler. completion: as they are finished",
        get: |o| o.order.name().into(),
        put: |o, v| set(&mut o.order, v.as_str()?.parse::<DeliveryOrder>().ok()),
    },
];

fn put(field: &mut usize, value: &Value) -> Option<()> {
    set(field, usize::try_from(value.as_u64()?).ok())
}

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

impl OptionInfo {
    /// The option of this name.
    ///
    /// # Errors
    /// `InvalidConfig` naming the nearest option there is.
    pub fn find(name: &str) -> Result<&'static OptionInfo> {
        OPTIONS.iter().find(|option| option.name == name).ok_or_else(|| {
            let names = OPTIONS.iter().map(|option| option.name);
            let nearest = names
                .clone()
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let all = names.collect::<Vec<_>>().join(", ");
            let guess = match nearest.filter(|near| strsim::jaro_winkler(near, name) > 0.7) {
                Some(nearest) => format!("; did you mean {nearest:?}? All options: {all}"),
                None => format!("; the options are: {all}"),
            };
            Error::invalid(format!("unknown option {name:?}{guess}"))
        })
    }

    /// The value that it has when it is not given.
    pub fn default_value(&self) -> Value {
        self.get(&LoaderOptions::default())
    }

    /// Its value in `options`.
    pub fn get(&self, options: &LoaderOptions) -> Value {
        (self.get)(options)
    }

    /// What would be valid, in words.
    pub fn valid(&self) -> String {
        match self.kind {
            OptionKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            OptionKind::Size { min, max } => {
                format!("a size from {min} to {max} bytes, such as 67108864 or \"64MiB\"")
            }
            OptionKind::Bool => "true or false".to_owned(),
            OptionKind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    pub(crate) fn set(&self, options: &mut LoaderOptions, value: &Value) -> Result<()> {
        let value = match (self.kind, value) {
            (OptionKind::Size { .. }, Value::String(text)) => {
                Value::from(parse_size(text).map_err(|e| e.context(self.name))?)
            }
            (_, value) => value.clone(),
        };
        self.check(&value)?;
        (self.put)(options, &value).ok_or_else(|| self.refuse(&value))
    }

    /// Checks kind and range.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        let valid = match self.kind {
            OptionKind::Integer { min, max } | OptionKind::Size { min, max } => {
                value.as_u64().is_some_and(|n| (min..=max).contains(&n))
            }
            OptionKind::Bool => value.is_boolean(),
            OptionKind::Choice(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        };
        if valid { Ok(()) } else { Err(self.refuse(value)) }
    }

    /// Reads text as it stands on a command line into a value of this option's kind.
    pub(crate) fn read_text(&self, text: &str) -> Result<Value> {
        Ok(match self.kind {
            OptionKind::Integer { .. } => match text.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => return Err(self.refuse(&Value::from(text))),
            },
            OptionKind::Bool => match text {
                "true" => true.into(),
                "false" => false.into(),
                _ => return Err(self.refuse(&Value::from(text))),
            },
            OptionKind::Size { .. } | OptionKind::Choice(_) => text.into(),
        })
    }

    fn refuse(&self, value: &Value) -> Error {
        Error::invalid(format!("{} must be {}, is {value}", self.name, self.valid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, value: Value) -> Result<LoaderOptions> {
        let Value::Object(map) = json!({ name: value }) else { unreachable!() };
        LoaderOptions::from_json(&map)
    }

    #[test]
    fn every_option_is_written_and_read_back() {
        let other = [
            ("batch_size", json!(7)),
            ("num_workers", json!(9)),
            ("prefetch", json!(3)),
            ("shuffle", json!(true)),
            ("seed", json!(u64::MAX)),
            ("drop_last", json!(true)),
            ("shard_rank", json!(2)),
            ("shard_world_size", json!(4)),
            ("max_bytes_in_flight", json!(123)),
            ("page_cache_mode", json!("dont_need")),
            ("order", json!("completion")),
        ];
        assert_eq!(
            other.each_ref().map(|o| o.0).as_slice(),
            OPTIONS.iter().map(|o| o.name).collect::<Vec<_>>()
        );
        let map = other.iter().cloned().map(|(name, value)| (name.to_owned(), value)).collect();
        let options = LoaderOptions::from_json(&map).unwrap();
        assert_eq!(options.to_json(), map);
        for (option, (_, value)) in OPTIONS.iter().zip(&other) {
            assert_ne!(&option.default_value(), value, "{} was not seen to change", option.name);
        }
    }

    #[test]
    fn choices_are_those_of_the_types() {
        let modes = PageCacheMode::ALL.map(PageCacheMode::name);
        let OptionKind::Choice(words) = OptionInfo::find("page_cache_mode").unwrap().kind else { panic!() };
        assert_eq!(words, modes);
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        for (name, value) in [
            ("batch_size", json!(0)),
            ("batch_size", json!(-1)),
            ("batch_size", json!(1e30)),
            ("batch_size", json!("32")),
            ("batch_size", json!(2.5)),
            ("num_workers", json!(0)),
            ("num_workers", json!(u64::MAX)),
            ("prefetch", json!(null)),
            ("shuffle", json!("yes")),
            ("seed", json!(-1)),
            ("max_bytes_in_flight", json!(0)),
            ("max_bytes_in_flight", json!("64 elephants")),
            ("page_cache_mode", json!("none")),
            ("order", json!(1)),
        ] {
            let text = set(name, value.clone()).unwrap_err().to_string();
            assert!(text.starts_with(name), "{text}");
        }
        assert_eq!(
            set("batch_size", json!(-1)).unwrap_err().to_string(),
            "batch_size must be a whole number from 1 to 1048576, is -1"
        );
    }

    #[test]
    fn unknown_names_get_the_nearest() {
        let text = set("batchsize", json!(1)).unwrap_err().to_string();
        assert!(text.contains("did you mean \"batch_size\"?"), "{text}");
        let text = set("xyzzy", json!(1)).unwrap_err().to_string();
        assert!(!text.contains("did you mean") && text.contains("batch_size, num_workers"), "{text}");
    }

    #[test]
    fn sizes_may_be_text() {
        assert_eq!(set("max_bytes_in_flight", json!("64MiB")).unwrap().max_bytes_in_flight, 64 << 20);
        let mut options = LoaderOptions::default();
        options.set_text("max_bytes_in_flight", "1GiB").unwrap();
        options.set_text("shuffle", "true").unwrap();
        assert!(options.shuffle && options.max_bytes_in_flight == 1 << 30);
        assert!(options.set_text("batch_size", "1e3").is_err());
    }

    #[test]
    fn a_rank_outside_the_world_is_refused() {
        let options = LoaderOptions { shard_rank: 4, shard_world_size: 4, ..Default::default() };
        assert_eq!(
            options.validate().unwrap_err().to_string(),
            "shard_rank must be from 0 to 3, because shard_world_size is 4, is 4"
        );
        let options = LoaderOptions { batch_size: 0, ..Default::default() };
        assert!(options.validate().is_err(), "also when set by field");
    }
}
