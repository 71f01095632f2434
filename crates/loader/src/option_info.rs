//! What an option is: its name, what it takes, and how a value of it is read and checked.

use crate::{LoaderOptions, OPTIONS};
use forebay_io::{Error, Result, parse_size};
use serde_json::Value;
use std::time::Duration;

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
    /// A time in seconds, a microsecond or more; a number, with a fraction if need be.
    Seconds {
        /// The greatest valid value.
        max: u64,
    },
    /// True or false.
    Bool,
    /// One of these words. Where `true` and `false` are among them, a boolean means the same.
    Choice(&'static [&'static str]),
    /// A text of one of these forms, in which capitals stand for a number.
    Form(&'static [&'static str]),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionInfo {
    /// Its name in Rust, Python and files; the command line writes `-` for `_`.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What its number counts, or "".
    pub unit: &'static str,
    /// What changes with it.
    pub help: &'static str,
    /// Whether it may be left unset: null in JSON, `None` in Python, `none` on a command line.
    pub optional: bool,
    /// The option that this one is another spelling of.
    pub spells: Option<&'static str>,
    pub(crate) get: fn(&LoaderOptions) -> Value,
    /// None where the value is not valid, though its kind is.
    pub(crate) put: fn(&mut LoaderOptions, &Value) -> Option<()>,
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
        let valid = match self.kind {
            OptionKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            OptionKind::Size { min, max } => {
                format!("a size from {min} to {max} bytes, such as 67108864 or \"64MiB\"")
            }
            OptionKind::Seconds { max } => format!("a number from {} to {max}", SHORTEST.as_secs_f64()),
            OptionKind::Bool => "true or false".to_owned(),
            OptionKind::Choice(words) | OptionKind::Form(words) => format!("one of {}", words.join(", ")),
        };
        if self.optional { valid + ", or none (None in Python, null in a file)" } else { valid }
    }

    /// A value as it stands on a command line.
    pub fn text(&self, value: &Value) -> String {
        match value {
            Value::Null => UNSET.to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn set(&self, options: &mut LoaderOptions, value: &Value) -> Result<()> {
        let value = match (self.kind, value) {
            (OptionKind::Size { .. }, Value::String(text)) => {
                let bytes = parse_size(text).map_err(|e| match text == UNSET {
                    true => self.refuse(value),
                    false => e.context(self.name),
                });
                Value::from(bytes?)
            }
            (_, value) => value.clone(),
        };
        self.check(&value)?;
        (self.put)(options, &value).ok_or_else(|| self.refuse(&value))
    }

    /// Checks kind and range.
    pub(crate) fn check(&self, value: &Value) -> Result<()> {
        let valid = match self.kind {
            _ if value.is_null() => self.optional,
            OptionKind::Integer { min, max } | OptionKind::Size { min, max } => {
                value.as_u64().is_some_and(|n| (min..=max).contains(&n))
            }
            OptionKind::Seconds { max } => value
                .as_f64()
                .is_some_and(|seconds| seconds >= SHORTEST.as_secs_f64() && seconds <= max as f64),
            OptionKind::Bool => value.is_boolean(),
            OptionKind::Choice(words) => word(value).is_some_and(|word| words.contains(&word)),
            OptionKind::Form(_) => value.is_string(),
        };
        if valid { Ok(()) } else { Err(self.refuse(value)) }
    }

    /// Reads text as it stands on a command line into a value of this option's kind.
    pub(crate) fn read_text(&self, text: &str) -> Result<Value> {
        let bad = || self.refuse(&Value::from(text));
        Ok(match self.kind {
            _ if self.optional && text == UNSET => Value::Null,
            OptionKind::Integer { .. } => text.parse::<u64>().map_err(|_| bad())?.into(),
            // A number that is none has no form in JSON, where it would be null: unset.
            OptionKind::Seconds { .. } => {
                text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(bad)?.into()
            }
            OptionKind::Bool => text.parse::<bool>().map_err(|_| bad())?.into(),
            OptionKind::Size { .. } | OptionKind::Choice(_) | OptionKind::Form(_) => text.into(),
        })
    }

    fn refuse(&self, value: &Value) -> Error {
        Error::invalid(format!("{} must be {}, is {value}", self.name, self.valid()))
    }
}

/// How an option that is left unset is written on a command line.
const UNSET: &str = "none";

/// Far below what anybody waits for, and more than rounding to nanoseconds could make nothing of.
const SHORTEST: Duration = Duration::from_micros(1);

/// The word that a value is: a boolean has its words, too.
pub(crate) fn word(value: &Value) -> Option<&str> {
    match value {
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Wish;
    use forebay_io::PageCacheMode;
    use serde_json::{Map, json};

    fn set(name: &str, value: Value) -> Result<LoaderOptions> {
        let Value::Object(map) = json!({ name: value }) else { unreachable!() };
        LoaderOptions::from_json(&map)
    }

    /// A value for each option that is not its default.
    fn others() -> Vec<(&'static str, Value)> {
        vec![
            ("batch_size", json!(7)),
            ("num_workers", json!(9)),
            ("prefetch", json!(3)),
            ("shuffle", json!(true)),
            ("shuffle_window", json!(1000)),
            ("random_index_mode", json!("zipfian:1.5")),
            ("seed", json!(u64::MAX)),
            ("drop_last", json!(true)),
            ("shard_rank", json!(2)),
            ("shard_world_size", json!(4)),
            ("shard_remainder", json!("pad")),
            ("loading_mode", json!("completion")),
            ("reader_mode", json!("range")),
            ("target_request_bytes", json!(1 << 20)),
            ("max_bytes_in_flight", json!(123)),
            ("page_cache_mode", json!("fadvise_random")),
            ("cache_policy", json!("random")),
            ("on_error", json!("skip:5")),
            ("retries", json!(3)),
            ("deadline", json!(2.5)),
            ("timeout", json!(60.0)),
            ("persistent_workers", json!(false)),
            ("collate", json!("stack")),
            ("pin_memory", json!("auto")),
            ("non_blocking", json!(true)),
            ("multiprocessing_context", json!("spawn")),
        ]
    }

    #[test]
    fn every_option_is_written_and_read_back() {
        let other = others();
        let names: Vec<_> = other.iter().map(|o| o.0).collect();
        assert_eq!(names, OPTIONS.iter().map(|o| o.name).collect::<Vec<_>>());
        for (option, (name, value)) in OPTIONS.iter().zip(&other) {
            let mut options = LoaderOptions::default();
            options.set(name, value).unwrap();
            assert_eq!(&option.get(&options), value);
            assert_ne!(&option.default_value(), value, "{name} was not seen to change");
            let mut again = LoaderOptions::default();
            again.set_text(name, &option.text(value)).unwrap();
            assert_eq!(again, options, "{name} as text");
        }
        // All together but for the two that contradict each other.
        let all = |without: &str| {
            let map = other.iter().filter(|(name, _)| *name != without);
            map.cloned().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()
        };
        let mut map = all("random_index_mode");
        let options = LoaderOptions::from_json(&map).unwrap();
        map.remove("cache_policy");
        map.insert("random_index_mode".into(), json!("none"));
        assert_eq!(options.to_json(), map);
        assert_eq!(LoaderOptions::from_json(&options.to_json()).unwrap(), options);
    }

    #[test]
    fn what_may_be_unset_can_be_unset_again() {
        for option in OPTIONS.iter().filter(|option| option.optional && option.spells.is_none()) {
            let mut options = LoaderOptions::default();
            let (_, value) = others().into_iter().find(|(name, _)| *name == option.name).unwrap();
            options.set(option.name, &value).unwrap();
            options.set_text(option.name, "none").unwrap();
            assert_eq!(options, LoaderOptions::default(), "{}", option.name);
            let text = options.set(option.name, &json!("none")).unwrap_err().to_string();
            assert!(text.contains("null in a file"), "{text}");
        }
        assert!(set("batch_size", json!(null)).is_err());
    }

    #[test]
    fn two_spellings_of_one_option_must_agree() {
        let both = |policy: Value, mode: &str| {
            let map = json!({ "cache_policy": policy, "page_cache_mode": mode });
            LoaderOptions::from_json(map.as_object().unwrap()).map(|options| options.page_cache_mode)
        };
        assert_eq!(both(json!("direct"), "direct_io").unwrap(), PageCacheMode::DirectIO);
        assert_eq!(both(json!(null), "dont_need").unwrap(), PageCacheMode::DontNeed);
        for mode in ["default", "dont_need", "fadvise_sequential"] {
            let text = both(json!("direct"), mode).unwrap_err().to_string();
            assert!(text.contains("contradict") && text.contains(mode), "{text}");
        }
        let texts = [("page_cache_mode", "default"), ("cache_policy", "random")];
        assert!(LoaderOptions::from_texts(LoaderOptions::default(), texts).is_err());
    }

    #[test]
    fn booleans_and_their_words_mean_the_same() {
        for value in [json!(true), json!("true")] {
            assert_eq!(set("pin_memory", value).unwrap().pin_memory, Wish::Yes);
        }
        assert!(set("shuffle", json!("true")).is_err(), "where nothing but a boolean is meant");
    }

    #[test]
    fn a_preset_is_where_the_others_begin() {
        let map = json!({ "preset": "training", "drop_last": false });
        let options = LoaderOptions::from_json(map.as_object().unwrap()).unwrap();
        assert!(options.shuffle && !options.drop_last);
        let map = json!({ "preset": 5 });
        assert!(LoaderOptions::from_json(map.as_object().unwrap()).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (map, why) in [
            (json!({ "shuffle_window": 5 }), "shuffle is false"),
            (json!({ "shuffle": true, "random_index_mode": "uniform" }), "give one of them"),
            (json!({ "loading_mode": "completion", "prefetch": 1000 }), "num_workers + prefetch"),
        ] {
            let text = LoaderOptions::from_json(map.as_object().unwrap()).unwrap_err().to_string();
            assert!(text.contains(why), "{text}");
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
            ("shuffle_window", json!(0)),
            ("random_index_mode", json!("zipfian:3")),
            ("random_index_mode", json!(1)),
            ("timeout", json!(0)),
            ("timeout", json!(-1)),
            ("deadline", json!("soon")),
            ("on_error", json!("skip")),
            ("pin_memory", json!(1)),
            ("collate", json!("default")),
            ("shuffle", json!("yes")),
            ("seed", json!(-1)),
            ("max_bytes_in_flight", json!(0)),
            ("max_bytes_in_flight", json!("64 elephants")),
            ("page_cache_mode", json!("none")),
            ("loading_mode", json!(1)),
        ] {
            let text = set(name, value.clone()).unwrap_err().to_string();
            assert!(text.starts_with(name), "{text}");
        }
        for (name, text) in [("deadline", "nan"), ("timeout", "inf"), ("timeout", "-inf"), ("timeout", "NaN")]
        {
            let error = LoaderOptions::default().set_text(name, text).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(text), "{error}");
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
