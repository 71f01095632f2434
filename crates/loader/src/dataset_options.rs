//! How a dataset is made, and how that is written in options: one definition for every surface.

use crate::index::cache::IndexPlace;
use crate::{Format, ManifestKind, OnError};
use forebay_io::{Error, Glob, ListOptions, Location, Result, Store};
use serde_json::{Map, Value};
use std::sync::Arc;

/// How a dataset is made.
#[derive(Debug, Clone)]
pub struct DatasetOptions {
    /// How samples lie in the objects.
    pub format: Format,
    /// Which objects.
    pub list: ListOptions,
    /// The location is not listed but read: it is a manifest, written so.
    pub manifest: Option<ManifestKind>,
    /// Where the index is kept, for formats and manifests that need one.
    pub index: IndexPlace,
    /// An index of at most so many bytes is kept in memory; a larger one stays in its file, if that is a
    /// local one, and is read through the page cache.
    pub index_resident_bytes: u64,
    /// What damage does that is found while the objects are indexed: it is raised unless this is `Skip`, whose quota is
    /// how many places of damage there may be. None where nobody said: raise, or what a loader's `on_error` says.
    pub on_damage: Option<OnError>,
    /// Whether samples are checked when they are read: against checksums of the format or the manifest, or
    /// for being what the format says. None where nobody said: of TFRecords, as their own readers do.
    pub verify_samples: Option<bool>,
}

/// A million samples of a large format, or a million names of a manifest.
const RESIDENT: u64 = 64 << 20;

impl Default for DatasetOptions {
    fn default() -> Self {
        DatasetOptions {
            format: Format::Raw,
            list: ListOptions::recursive(),
            manifest: None,
            index: IndexPlace::Beside,
            index_resident_bytes: RESIDENT,
            on_damage: None,
            verify_samples: None,
        }
    }
}

/// One option of a dataset: its name and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetOption {
    /// Its name in Python and JSON; the command line writes `-` for `_`.
    pub name: &'static str,
    /// What it takes, in a word.
    pub takes: &'static str,
    /// What changes with it.
    pub help: &'static str,
}

/// Every option of a dataset that can be given as text.
pub const DATASET_OPTIONS: [DatasetOption; 11] = [
    DatasetOption {
        name: "format",
        takes: "FORMAT",
        help: "How samples lie in files: raw (a file is a sample), records, webdataset, tfrecord, npy, npz, \
               parquet (row groups), jsonl (lines)",
    },
    DatasetOption { name: "record_bytes", takes: "SIZE", help: "With format=records: bytes of each sample" },
    DatasetOption {
        name: "header_bytes",
        takes: "SIZE",
        help: "With format=records: bytes at the beginning of each file that are no sample",
    },
    DatasetOption {
        name: "member",
        takes: "NAME",
        help: "With format=webdataset: the extension of the one file of each sample that is read. With \
               format=npz: the name of the array",
    },
    DatasetOption {
        name: "manifest",
        takes: "KIND",
        help: "The location is a manifest that names the files, or parts of files: jsonl, csv or parquet",
    },
    DatasetOption {
        name: "index",
        takes: "beside|none|FOLDER",
        help: "Where the index of samples is kept for the next time: beside the data, nowhere, or in a folder",
    },
    DatasetOption {
        name: "index_resident_bytes",
        takes: "SIZE",
        help: "A larger index stays in its file and is read through the page cache",
    },
    DatasetOption {
        name: "on_damage",
        takes: "raise|skip:QUOTA",
        help: "What damage does that is found while samples are looked for in files: raise, or set aside what is lost at \
               QUOTA places at most (the rest of the file behind the damage; of NPY and NPZ the whole file). What a \
               loader's on_error says if it is not given",
    },
    DatasetOption {
        name: "verify_samples",
        takes: "true|false",
        help: "Check samples when they are read: checksums of tfrecord and of manifests, structure of \
               webdataset and jsonl. Without a word of it only tfrecord is checked",
    },
    DatasetOption {
        name: "glob",
        takes: "GLOB",
        help: "Only files that match, relative to the location: *.tar (one level), **/*.tar (any)",
    },
    DatasetOption { name: "recursive", takes: "true|false", help: "Files in subdirectories too" },
];

impl DatasetOptions {
    /// Options from names and values, as a dict or a JSON object has them. `folder` opens the folder that
    /// the option `index` may name.
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown name (with the nearest known one), a value that is not valid, and an
    /// option that the format has no use for.
    pub fn from_json(
        map: &Map<String, Value>,
        folder: impl FnOnce(&str) -> Result<(Arc<dyn Store>, Location)>,
    ) -> Result<Self> {
        let mut given = Given { map, used: Vec::new() };
        let mut options = DatasetOptions::default();
        let format = given.text("format")?.unwrap_or_else(|| "raw".to_owned());
        options.format = match format.as_str() {
            "raw" => Format::Raw,
            "records" => Format::Records {
                record_bytes: given.size("record_bytes")?.ok_or_else(|| {
                    Error::invalid("format=records needs record_bytes: how many bytes each sample has")
                })?,
                header_bytes: given.size("header_bytes")?.unwrap_or(0),
            },
            "webdataset" => Format::WebDataset { member: given.text("member")? },
            "tfrecord" => Format::TfRecord,
            "npy" => Format::Npy,
            "npz" => Format::Npz { member: given.text("member")? },
            "parquet" => Format::Parquet,
            "jsonl" => Format::Jsonl,
            _ => {
                let names = Format::NAMES.join(", ");
                return Err(Error::invalid(format!("format must be one of {names}, is {format:?}")));
            }
        };
        options.manifest = given.text("manifest")?.map(|kind| kind.parse()).transpose()?;
        if options.manifest.is_none() {
            options.list.glob = given.text("glob")?.map(|glob| Glob::new(&glob)).transpose()?;
            options.list.recursive = given.flag("recursive")?.unwrap_or(true);
        }
        if let Some(bytes) = given.size("index_resident_bytes")? {
            options.index_resident_bytes = bytes;
        }
        if options.format.may_be_damaged() {
            options.on_damage = given.text("on_damage")?.map(|text| damage_policy(&text)).transpose()?;
        }
        options.verify_samples = given.flag("verify_samples")?;
        options.index = match given.text("index")?.as_deref() {
            None | Some("beside") => IndexPlace::Beside,
            Some("none") => IndexPlace::Nowhere,
            Some(place) => {
                let (store, folder) = folder(place)?;
                IndexPlace::Folder { store, folder }
            }
        };
        given.all_used(&options)?;
        options.validate()?;
        Ok(options)
    }

    /// Whether samples are checked when they are read.
    pub fn verifies(&self) -> bool {
        self.verify_samples.unwrap_or(self.format == Format::TfRecord)
    }

    /// Checks what only makes sense together.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option, its value and what would be valid.
    pub fn validate(&self) -> Result<()> {
        self.format.validate()?;
        let verifiable = match self.format {
            Format::WebDataset { ref member } => member.is_none(),
            Format::TfRecord | Format::Jsonl => true,
            Format::Raw => self.manifest.is_some(),
            Format::Records { .. } | Format::Npy | Format::Npz { .. } | Format::Parquet => false,
        };
        if self.verify_samples == Some(true) && !verifiable {
            return Err(Error::invalid(format!(
                "verify_samples=true has nothing to check with format={} here: tfrecord, jsonl, webdataset without \
                 member, and raw with a manifest can be checked",
                self.format.name()
            )));
        }
        let makes = match self.format {
            Format::Raw => self.manifest.is_some(),
            Format::Records { .. } => false,
            _ => true,
        };
        if !makes {
            return self.without_index(&format!("format={}", self.format.name()));
        }
        match self.index {
            IndexPlace::Nowhere => self.without_index("index=none"),
            IndexPlace::Beside | IndexPlace::Folder { .. } => Ok(()),
        }
    }

    /// Refuses what is said of an index that `why` is never kept.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option.
    pub(crate) fn without_index(&self, why: &str) -> Result<()> {
        let option = match self.index {
            IndexPlace::Folder { .. } => "index",
            _ if self.index_resident_bytes != RESIDENT => "index_resident_bytes",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("{option} changes nothing with {why}: no index is kept")))
    }
}

/// What is written for `on_damage`. How many samples are lost at damage nobody knows, so there is no `substitute`.
fn damage_policy(text: &str) -> Result<OnError> {
    match text.parse() {
        Ok(policy @ (OnError::Raise | OnError::Skip { .. })) => Ok(policy),
        Ok(OnError::Substitute { .. }) | Err(_) => Err(Error::invalid(format!(
            "on_damage must be one of raise, skip:QUOTA (places of damage, from 1), is {text:?}"
        ))),
    }
}

/// What was given, and what of it was asked for.
struct Given<'a> {
    map: &'a Map<String, Value>,
    used: Vec<&'static str>,
}

impl Given<'_> {
    fn value(&mut self, name: &'static str) -> Option<&Value> {
        self.used.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(bad(name, "a text", other)),
        }
    }

    fn size(&mut self, name: &'static str) -> Result<Option<u64>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => forebay_io::parse_size(text).map(Some).map_err(|e| e.context(name)),
            Some(number) => match number.as_u64() {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(bad(name, "a size in bytes, such as 65536 or \"64KiB\"", number)),
            },
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(other) => Err(bad(name, "true or false", other)),
        }
    }

    fn all_used(&self, options: &DatasetOptions) -> Result<()> {
        let asked = |name: &str| self.used.contains(&name);
        let unused = |(name, value): &(&String, &Value)| !asked(name.as_str()) && !value.is_null();
        let Some((name, _)) = self.map.iter().find(unused) else { return Ok(()) };
        let names = DATASET_OPTIONS.map(|option| option.name);
        if names.contains(&name.as_str()) {
            let format = options.format.name();
            let manifest = if options.manifest.is_some() { " and a manifest" } else { "" };
            return Err(Error::invalid(format!("{name} changes nothing with format={format}{manifest}")));
        }
        let near = |known: &&str| strsim::jaro_winkler(known, name);
        let nearest = names.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)));
        let hint = match nearest.filter(|nearest| near(nearest) > 0.7) {
            Some(nearest) => format!("; did you mean {nearest:?}?"),
            None => String::new(),
        };
        let all = names.join(", ");
        Err(Error::invalid(format!("unknown option {name:?}{hint} Options of a dataset are: {all}")))
    }
}

fn bad(name: &str, valid: &str, value: &Value) -> Error {
    Error::invalid(format!("{name} must be {valid}, is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<DatasetOptions> {
        let Value::Object(map) = value else { unreachable!() };
        DatasetOptions::from_json(&map, |_| Err(Error::invalid("no folder here")))
    }

    #[test]
    fn every_option_of_the_table_is_understood_by_some_format() {
        let examples = json!([
            {"format": "records", "record_bytes": "1KiB", "header_bytes": 7, "recursive": false, "glob": "*"},
            {"format": "webdataset", "member": "jpg", "index": "beside", "index_resident_bytes": 1, "on_damage": "skip:3"},
            {"manifest": "csv", "verify_samples": true},
        ]);
        let mut seen = std::collections::BTreeSet::new();
        for example in examples.as_array().unwrap() {
            seen.extend(example.as_object().unwrap().keys().cloned());
            read(example.clone()).unwrap();
        }
        assert_eq!(seen, DATASET_OPTIONS.iter().map(|option| option.name.to_owned()).collect());
    }

    #[test]
    fn only_tfrecords_are_checked_without_a_word() {
        let verifies = |options| read(options).unwrap().verifies();
        assert!(verifies(json!({"format": "tfrecord"})));
        assert!(!verifies(json!({"format": "tfrecord", "verify_samples": false})));
        assert!(!verifies(json!({"format": "jsonl"})));
        assert!(verifies(json!({"format": "jsonl", "verify_samples": true})));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (options, why) in [
            (json!({"format": "tar"}), "one of raw, records, webdataset"),
            (json!({"format": "records"}), "needs record_bytes"),
            (json!({"format": "records", "record_bytes": 0}), "1 or more, is 0"),
            (json!({"format": "records", "record_bytes": -1}), "record_bytes must be a size"),
            (json!({"record_bytes": 9}), "record_bytes changes nothing with format=raw"),
            (json!({"format": "jsonl", "member": "x"}), "member changes nothing"),
            (json!({"manifest": "csv", "glob": "*"}), "glob changes nothing with format=raw and a manifest"),
            (json!({"manifest": "xml"}), "one of jsonl, csv, parquet"),
            (json!({"formt": "raw"}), "did you mean \"format\"?"),
            (json!({"verify_samples": true}), "nothing to check with format=raw"),
            (json!({"on_damage": "skip:3"}), "on_damage changes nothing with format=raw"),
            (json!({"index_resident_bytes": 9}), "index_resident_bytes changes nothing with format=raw"),
            (
                json!({"format": "records", "record_bytes": 9, "index_resident_bytes": 9}),
                "index_resident_bytes changes nothing with format=records",
            ),
            (
                json!({"format": "npy", "index": "none", "index_resident_bytes": 9}),
                "index_resident_bytes changes nothing with index=none",
            ),
            (json!({"format": "npy", "on_damage": "skip"}), "on_damage must be one of raise, skip:QUOTA"),
            (json!({"format": "npy", "on_damage": "skip:0"}), "(places of damage, from 1), is \"skip:0\""),
            (
                json!({"format": "tfrecord", "on_damage": "substitute:1"}),
                "on_damage must be one of raise, skip:QUOTA",
            ),
            (
                json!({"format": "jsonl", "on_damage": "skip:3"}),
                "on_damage changes nothing with format=jsonl",
            ),
            (json!({"verify_samples": 1}), "true or false"),
            (json!({"format": "webdataset", "member": "JPG"}), "lower case"),
            (json!({"format": "jsonl", "index": "/x"}), "no folder here"),
        ] {
            let text = read(options.clone()).unwrap_err().to_string();
            assert!(text.contains(why), "{options}: {text}");
        }
    }
}
