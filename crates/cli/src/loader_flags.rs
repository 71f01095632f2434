//! The loader's options as flags: made from the loader's own table, so that names, ranges, defaults and
//! help are the same here, in Rust, in Python and in files of options.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use forebay_io::Error;
use forebay_loader::{LoaderOptions, OPTIONS, OptionFormat, OptionInfo, OptionKind, PRESETS, Preset};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The flag that names a file of options.
const FILE: &str = "options_file";

/// What was given of them: a file, a preset, and flags, which win over both.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoaderFlags {
    file: Option<PathBuf>,
    preset: Option<String>,
    given: Vec<(&'static str, String)>,
}

impl LoaderFlags {
    /// The options with what was given in place of the defaults.
    pub(crate) fn options(&self) -> forebay_io::Result<LoaderOptions> {
        let mut base = match &self.file {
            Some(path) => read(path)?,
            None => serde_json::Map::new(),
        };
        if let Some(preset) = &self.preset {
            let name = Value::from(preset.as_str());
            if let Some(other) =
                base.insert(Preset::KEY.to_owned(), name.clone()).filter(|other| *other != name)
            {
                return Err(Error::invalid(format!("--preset is {name}, the file of options says {other}")));
            }
        }
        let base = LoaderOptions::from_json(&base)?;
        LoaderOptions::from_texts(base, self.given.iter().map(|(name, text)| (*name, text.as_str())))
    }
}

fn read(path: &Path) -> forebay_io::Result<serde_json::Map<String, Value>> {
    let format = OptionFormat::of(&path.to_string_lossy())?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::invalid(format!("cannot read the options in {}: {error}", path.display())))?;
    format.read(&text).map_err(|error| error.context(path.display()))
}

fn flag(option: &'static OptionInfo) -> Arg {
    let default = match (option.kind, option.default_value()) {
        (OptionKind::Size { .. }, Value::Number(bytes)) => size(bytes.as_u64().unwrap_or_default()),
        (_, other) => option.text(&other),
    };
    let arg = Arg::new(option.name)
        .long(option.name.replace('_', "-"))
        .help(format!("{} [default: {default}]", option.help))
        .help_heading("Loader options");
    let switch = |arg: Arg| {
        arg.hide_possible_values(true).num_args(0..=1).require_equals(true).default_missing_value("true")
    };
    match option.kind {
        OptionKind::Integer { .. } => arg.value_name("N").value_parser(checked(option)),
        OptionKind::Size { .. } => arg.value_name("SIZE").value_parser(checked(option)),
        OptionKind::Seconds { .. } => arg.value_name("SECONDS").value_parser(checked(option)),
        OptionKind::Form(_) => arg.value_name("MODE").value_parser(checked(option)),
        OptionKind::Bool => {
            switch(arg.value_name("true|false").value_parser(PossibleValuesParser::new(["true", "false"])))
        }
        OptionKind::Choice(words) => {
            let unset = option.optional.then_some("none");
            let arg = arg.value_parser(PossibleValuesParser::new(words.iter().copied().chain(unset)));
            match words.contains(&"true") {
                true => switch(arg.value_name(words.join("|"))),
                false => arg.value_name("MODE"),
            }
        }
    }
}

/// The loader's own check, in the place where clap names the flag and its usage.
fn checked(option: &'static OptionInfo) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync {
    move |text| {
        LoaderOptions::default().set_text(option.name, text).map_err(|e| e.to_string())?;
        String::from_str(text).map_err(|e| e.to_string())
    }
}

/// `1GiB` for what is a whole number of some unit.
fn size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

impl clap::Args for LoaderFlags {
    fn augment_args(command: Command) -> Command {
        let presets = PRESETS.iter().map(|preset| preset.name);
        let words: Vec<_> =
            PRESETS.iter().map(|preset| format!("{}: {}", preset.name, preset.help)).collect();
        let file = Arg::new(FILE)
            .long("options-file")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Options from a .toml, .yaml or .json file with the names below, `_` for `-`; flags win over it")
            .help_heading("Loader options");
        let preset = Arg::new(Preset::KEY)
            .long(Preset::KEY)
            .value_name("NAME")
            .value_parser(PossibleValuesParser::new(presets))
            .hide_possible_values(true)
            .help(format!("Options to begin with. {}", words.join(". ")))
            .help_heading("Loader options");
        command.arg(file).arg(preset).args(OPTIONS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for LoaderFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = OPTIONS.iter().filter_map(|option| {
            matches.get_one::<String>(option.name).map(|text| (option.name, text.clone()))
        });
        Ok(LoaderFlags {
            file: matches.get_one::<PathBuf>(FILE).cloned(),
            preset: matches.get_one::<String>(Preset::KEY).cloned(),
            given: given.collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use forebay_io::PageCacheMode;

    fn parse(flags: &[&str]) -> Result<LoaderOptions, String> {
        let command = LoaderFlags::augment_args(Command::new("load"));
        let matches =
            command.try_get_matches_from(["load"].iter().chain(flags)).map_err(|e| e.to_string())?;
        LoaderFlags::from_arg_matches(&matches)
            .map_err(|e| e.to_string())?
            .options()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn no_flags_are_the_defaults() {
        assert_eq!(parse(&[]).unwrap(), LoaderOptions::default());
    }

    #[test]
    fn every_option_of_the_table_has_its_flag() {
        let other = |option: &OptionInfo| match option.kind {
            // Whatever the default is.
            OptionKind::Integer { min, .. } => (min + 101).to_string(),
            OptionKind::Size { .. } => "3MiB".to_owned(),
            OptionKind::Seconds { .. } => "2.5".to_owned(),
            OptionKind::Bool => (!option.default_value().as_bool().unwrap()).to_string(),
            OptionKind::Choice(words) => (*words.last().unwrap()).to_owned(),
            OptionKind::Form(forms) => {
                forms.last().unwrap().replace("QUOTA", "5").replace("THETA (0 to 2)", "1.5")
            }
        };
        for option in OPTIONS {
            let mut flags = vec![format!("--{}={}", option.name.replace('_', "-"), other(option))];
            // What makes no sense without another.
            match option.name {
                "shuffle_window" => flags.push("--shuffle".to_owned()),
                "shard_rank" => flags.push("--shard-world-size=1000".to_owned()),
                _ => {}
            }
            let options = parse(&flags.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            assert_ne!(option.get(&options), option.default_value(), "{} was not set", option.name);
        }
    }

    #[test]
    fn a_file_and_a_preset_are_where_the_flags_begin() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("options.toml");
        std::fs::write(&file, "preset = \"training\"\nbatch_size = 7\nprefetch = 9\n").unwrap();
        let file = format!("--options-file={}", file.display());
        let options = parse(&[&file, "--prefetch=2"]).unwrap();
        assert!(options.shuffle && options.drop_last);
        assert_eq!((options.batch_size, options.prefetch), (7, 2));
        assert!(parse(&[&file, "--preset=training"]).is_ok());
        assert!(parse(&[&file, "--preset=inference"]).unwrap_err().contains("training"));
        assert_eq!(parse(&["--preset=gpu_optimized", "--pin-memory=false"]).unwrap().num_workers, 16);
        assert!(parse(&["--options-file=nowhere.yaml"]).unwrap_err().contains("nowhere.yaml"));
    }

    #[test]
    fn two_spellings_that_contradict_each_other_are_refused() {
        let text = parse(&["--cache-policy=random", "--page-cache-mode=default"]).unwrap_err();
        assert!(text.contains("contradict"), "{text}");
    }

    #[test]
    fn switches_take_a_value_or_none() {
        assert!(parse(&["--shuffle"]).unwrap().shuffle);
        assert!(!parse(&["--shuffle=false"]).unwrap().shuffle);
        let options = parse(&["--max-bytes-in-flight", "64MiB", "--page-cache-mode", "dont_need"]).unwrap();
        assert_eq!(
            (options.max_bytes_in_flight, options.page_cache_mode),
            (64 << 20, PageCacheMode::DontNeed)
        );
    }

    #[test]
    fn wrong_values_and_names_are_refused_with_what_is_valid() {
        for (flags, why) in [
            (&["--batch-size", "0"][..], "from 1 to"),
            (&["--batch-size=-1"], "from 1 to"),
            (&["--max-bytes-in-flight", "64 elephants"], "not a size"),
            (&["--page-cache-mode", "dontneed"], "dont_need"),
            (&["--batchsize", "1"], "--batch-size"),
            (&["--shard-rank", "4", "--shard-world-size", "4"], "shard_world_size"),
        ] {
            let text = parse(flags).unwrap_err();
            assert!(text.contains(why), "{flags:?}: {text}");
        }
    }
}
