//! The `forebay` command as people and scripts meet it: a process with arguments, output and an exit code.

mod cat;
mod cp;
mod data_set;
mod files;
mod formats;
mod interruption;
mod list;
mod load;
mod report;
mod rm;
mod run;
mod surface;
mod trace;
