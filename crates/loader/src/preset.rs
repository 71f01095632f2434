//! Named sets of options to begin with. What is given beside a preset's name wins over it.

use crate::{LoaderOptions, OptionInfo};
use forebay_io::{Error, Result};

/// A preset.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Whom it is for.
    pub help: &'static str,
    /// What it sets: options and values, as text.
    pub values: &'static [(&'static str, &'static str)],
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "training",
        help: "One process that trains: a new random order each epoch, and only full batches, so that every \
               step has the same shape",
        values: &[("shuffle", "true"), ("drop_last", "true")],
    },
    Preset {
        name: "gpu_optimized",
        help: "A training step that is done in milliseconds: as training, with more batches under way and \
               waiting, and pinned memory and copies that do not block where there is CUDA",
        values: &[
            ("shuffle", "true"),
            ("drop_last", "true"),
            ("num_workers", "16"),
            ("prefetch", "8"),
            ("pin_memory", "auto"),
            ("non_blocking", "auto"),
        ],
    },
    Preset {
        name: "distributed_optimized",
        help: "Several ranks in step: as training, and every rank gets as many batches, so that none waits for \
               a collective that others have left",
        values: &[
            ("shuffle", "true"),
            ("drop_last", "true"),
            ("shard_remainder", "drop"),
            ("loading_mode", "ordered"),
            ("num_workers", "16"),
            ("prefetch", "8"),
        ],
    },
    Preset {
        name: "inference",
        help: "Every sample once, in the order of the dataset, the last batch as long as it comes out; waits \
               little ahead",
        values: &[
            ("shuffle", "false"),
            ("drop_last", "false"),
            ("shard_remainder", "uneven"),
            ("loading_mode", "ordered"),
            ("prefetch", "2"),
        ],
    },
];

impl Preset {
    /// The name under which a preset stands among options.
    pub const KEY: &'static str = "preset";

    /// The preset of this name.
    ///
    /// # Errors
    /// `InvalidConfig` naming those that there are.
    pub fn find(name: &str) -> Result<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
            let names = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
            Error::invalid(format!("preset must be one of {names}, is {name:?}"))
        })
    }

    /// The default options with what it sets.
    ///
    /// # Errors
    /// None for those in [`PRESETS`].
    pub fn options(&self) -> Result<LoaderOptions> {
        let mut options = LoaderOptions::default();
        for (name, text) in self.values {
            let option = OptionInfo::find(name)?;
            option.set(&mut options, &option.read_text(text)?)?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_none_is_the_default() {
        for preset in PRESETS {
            let options = preset.options().unwrap();
            options.validate().unwrap();
            assert_ne!(options, LoaderOptions::default(), "{}", preset.name);
            assert_eq!(Preset::find(preset.name).unwrap().name, preset.name);
        }
    }

    #[test]
    fn an_unknown_preset_is_told_which_there_are() {
        let text = Preset::find("fast").unwrap_err().to_string();
        assert!(text.contains("gpu_optimized, distributed_optimized, inference"), "{text}");
    }
}
