//! Options written in a file: the same names and values in TOML, YAML and JSON.

use crate::LoaderOptions;
use forebay_io::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// How a file of options is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptionFormat {
    /// `name = value`, one a line.
    Toml,
    /// `name: value`, one a line.
    Yaml,
    /// One object.
    Json,
}

impl OptionFormat {
    /// The format that a file's name says.
    ///
    /// # Errors
    /// `InvalidConfig` naming the suffixes that are known.
    pub fn of(name: &str) -> Result<Self> {
        let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
        match suffix.as_deref() {
            Some("toml") => Ok(OptionFormat::Toml),
            Some("yaml" | "yml") => Ok(OptionFormat::Yaml),
            Some("json") => Ok(OptionFormat::Json),
            _ => Err(Error::invalid(format!(
                "a file of options must be named .toml, .yaml, .yml or .json, is {name:?}"
            ))),
        }
    }

    /// Names and values as they stand in `text`.
    ///
    /// # Errors
    /// `InvalidConfig` saying where the text is not of this format, or is no table of names and values.
    pub fn read(self, text: &str) -> Result<Map<String, Value>> {
        let bad = |error: String| Error::invalid(format!("these are no options in {}: {error}", self.name()));
        let read: Written = match self {
            OptionFormat::Toml => toml::from_str(text).map_err(|e| bad(e.to_string()))?,
            OptionFormat::Yaml => serde_saphyr::from_str(text).map_err(|e| bad(e.to_string()))?,
            OptionFormat::Json => serde_json::from_str(text).map_err(|e| bad(e.to_string()))?,
        };
        match read.0 {
            Value::Object(map) => Ok(map),
            other => Err(bad(format!("expected names and values, found {other}"))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            OptionFormat::Toml => "TOML",
            OptionFormat::Yaml => "YAML",
            OptionFormat::Json => "JSON",
        }
    }
}

/// A value as it is written. What [`Value`] itself would make something else of is refused: a number that is none
/// would become null, which unsets an option, and of a name that is given twice one would win.
struct Written(Value);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading).map(Written)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names and values")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match value.is_finite() {
            true => Ok(value.into()),
            false => Err(E::custom(format_args!("{value} is no number that an option can have"))),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Written(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((name, Written(value))) = map.next_entry::<String, Written>()? {
            if values.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name} is given twice")));
            }
            values.insert(name, value);
        }
        Ok(values.into())
    }
}

impl LoaderOptions {
    /// Options from a text in TOML: the names of [`OPTIONS`](crate::OPTIONS), and `preset`.
    ///
    /// # Errors
    /// `InvalidConfig` as of [`OptionFormat::read`] and [`LoaderOptions::from_json`].
    pub fn from_toml(text: &str) -> Result<Self> {
        LoaderOptions::from_json(&OptionFormat::Toml.read(text)?)
    }

    /// Options from a text in YAML.
    ///
    /// # Errors
    /// As [`LoaderOptions::from_toml`].
    pub fn from_yaml(text: &str) -> Result<Self> {
        LoaderOptions::from_json(&OptionFormat::Yaml.read(text)?)
    }

    /// Options from a text in JSON.
    ///
    /// # Errors
    /// As [`LoaderOptions::from_toml`].
    pub fn from_json_text(text: &str) -> Result<Self> {
        LoaderOptions::from_json(&OptionFormat::Json.read(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IndexMode;

    #[test]
    fn the_three_formats_say_the_same() {
        let toml = "preset = \"gpu_optimized\"\nshuffle = false\nrandom_index_mode = \"zipfian:1.1\"\n\
                    max_bytes_in_flight = \"64MiB\"\npin_memory = true\nseed = 5\nnon_blocking = \"auto\"\n";
        let yaml = "# ours\npreset: gpu_optimized\nshuffle: false\nrandom_index_mode: \"zipfian:1.1\"\n\
                    max_bytes_in_flight: 64MiB\npin_memory: true\nseed: 5\nnon_blocking: auto\ntimeout: null\n";
        let json = r#"{"preset": "gpu_optimized", "shuffle": false, "random_index_mode": "zipfian:1.1",
                       "max_bytes_in_flight": 67108864, "pin_memory": true, "seed": 5, "non_blocking": "auto"}"#;
        let read = LoaderOptions::from_toml(toml).unwrap();
        assert_eq!(read.num_workers, 16);
        assert_eq!(read.random_index_mode, "zipfian:1.1".parse::<IndexMode>().unwrap());
        assert_eq!(read.max_bytes_in_flight, 64 << 20);
        assert_eq!(LoaderOptions::from_yaml(yaml).unwrap(), read);
        assert_eq!(LoaderOptions::from_json_text(json).unwrap(), read);
    }

    #[test]
    fn what_is_no_table_of_options_is_refused() {
        for text in [
            "[1, 2",
            "5",
            "batchsize: 3\n",
            "batchsize = 3\n",
            "{\"batchsize\": 3}",
            "seed: 1\nseed: 2\n",
            "seed = 1\nseed = 2\n",
            "{\"seed\": 1, \"seed\": 2}",
            "deadline = nan\n",
            "timeout = inf\n",
            "deadline: .nan\n",
            "timeout: -.inf\n",
            "timeout: none\n",
        ] {
            assert!(LoaderOptions::from_toml(text).is_err(), "{text}");
            assert!(LoaderOptions::from_yaml(text).is_err(), "{text}");
            assert!(LoaderOptions::from_json_text(text).is_err(), "{text}");
        }
        let text = LoaderOptions::from_yaml("batchsize: 3").unwrap_err().to_string();
        assert!(text.contains("batch_size"), "{text}");
    }

    #[test]
    fn the_suffix_says_the_format() {
        assert_eq!(OptionFormat::of("a/b.YML").unwrap(), OptionFormat::Yaml);
        assert_eq!(OptionFormat::of("b.toml").unwrap(), OptionFormat::Toml);
        assert_eq!(OptionFormat::of("b.json").unwrap(), OptionFormat::Json);
        assert!(OptionFormat::of("options").unwrap_err().to_string().contains(".toml"));
    }
}
