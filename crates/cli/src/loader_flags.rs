//! The loader's options as flags: made from the loader's own table, so that names, ranges, defaults and
//! help are the same here, in Rust and in Python.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use forebay_loader::{LoaderOptions, OPTIONS, OptionInfo, OptionKind};
use std::str::FromStr;

/// What was given of them, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoaderFlags(Vec<(&'static str, String)>);

impl LoaderFlags {
    /// The options with what was given in place of the defaults.
    pub(crate) fn options(&self) -> forebay_io::Result<LoaderOptions> {
        let mut options = LoaderOptions::default();
        for (name, text) in &self.0 {
            options.set_text(name, text)?;
        }
        options.validate()?;
        Ok(options)
    }
}

fn flag(option: &'static OptionInfo) -> Arg {
    let default = match option.default_value() {
        serde_json::Value::String(text) => text,
        other => match (option.kind, other.as_u64()) {
            (OptionKind::Size { .. }, Some(bytes)) => size(bytes),
            _ => other.to_string(),
        },
    };
    let arg = Arg::new(option.name)
        .long(option.name.replace('_', "-"))
        .help(format!("{} [default: {default}]", option.help))
        .help_heading("Loader options");
    match option.kind {
        OptionKind::Integer { .. } => arg.value_name("N").value_parser(checked(option)),
        OptionKind::Size { .. } => arg.value_name("SIZE").value_parser(checked(option)),
        OptionKind::Bool => arg
            .value_name("true|false")
            .hide_possible_values(true)
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        OptionKind::Choice(words) => arg.value_name("MODE").value_parser(PossibleValuesParser::new(words)),
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
        command.args(OPTIONS.iter().map(flag))
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
        Ok(LoaderFlags(given.collect()))
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
            // Whatever the default is, and a rank that is inside the world.
            OptionKind::Integer { min, .. } => (min + 1001).to_string(),
            OptionKind::Size { .. } => "3MiB".to_owned(),
            OptionKind::Bool => "true".to_owned(),
            OptionKind::Choice(words) => (*words.last().unwrap()).to_owned(),
        };
        let flags: Vec<_> = OPTIONS
            .iter()
            .map(|option| format!("--{}={}", option.name.replace('_', "-"), other(option)))
            .collect();
        let options = parse(&flags.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for option in OPTIONS {
            assert_ne!(option.get(&options), option.default_value(), "{} was not set", option.name);
        }
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
