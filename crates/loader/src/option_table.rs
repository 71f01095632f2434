//! The one definition of the loader's options: names, kinds, ranges, defaults and words. Flags of the
//! command line, keys of a Python dict or of a file, and the documentation are made from it.

use crate::choice::{CachePolicy, Collate, LoadingMode, ReaderMode, Remainder, StartMethod, Wish};
use crate::option_info::word;
use crate::{IndexMode, OnError, OptionInfo, OptionKind};
use forebay_io::{Budget, PageCacheMode};
use serde_json::Value;
use std::num::NonZeroU64;
use std::time::Duration;

/// Far above what any job uses, and low enough that a slip of the keyboard is caught.
const MANY: u64 = 1 << 20;

/// A month, in seconds: likewise.
const LONG: u64 = 31 * 24 * 60 * 60;

/// Every option, in the order in which people meet them.
pub const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "batch_size",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "samples",
        help: "Samples in a batch. All of a batch must fit into max_bytes_in_flight",
        optional: false,
        spells: None,
        get: |o| o.batch_size.into(),
        put: |o, v| put(&mut o.batch_size, v),
    },
    OptionInfo {
        name: "num_workers",
        kind: OptionKind::Integer { min: 1, max: 1024 },
        unit: "batches",
        help: "Batches that are read at the same time. More hides the latency of slow storage",
        optional: false,
        spells: None,
        get: |o| o.num_workers.into(),
        put: |o, v| put(&mut o.num_workers, v),
    },
    OptionInfo {
        name: "prefetch",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "batches",
        help: "Finished batches that may wait for the consumer. More evens out a consumer that stalls",
        optional: false,
        spells: None,
        get: |o| o.prefetch.into(),
        put: |o, v| put(&mut o.prefetch, v),
    },
    OptionInfo {
        name: "shuffle",
        kind: OptionKind::Bool,
        unit: "",
        help: "A random order over the whole dataset, another one each epoch. Otherwise samples come in the bytewise order of their names",
        optional: false,
        spells: None,
        get: |o| o.shuffle.into(),
        put: |o, v| set(&mut o.shuffle, v.as_bool()),
    },
    OptionInfo {
        name: "shuffle_window",
        kind: OptionKind::Integer { min: 1, max: u64::MAX },
        unit: "samples",
        help: "How far shuffle=true carries a sample: never more than one and a half windows, and about half a window on average, so that reads stay near each other. None for anywhere in the dataset",
        optional: true,
        spells: None,
        get: |o| o.shuffle_window.map(NonZeroU64::get).into(),
        put: |o, v| maybe(&mut o.shuffle_window, v, |v| NonZeroU64::new(v.as_u64()?)),
    },
    OptionInfo {
        name: "random_index_mode",
        kind: OptionKind::Form(IndexMode::FORMS),
        unit: "",
        help: "Draw samples with replacement, as many as the dataset has, instead of visiting each once: all as likely (uniform), or a few far more often than others (zipfian; theta 0.99 where it is not said, 0 is uniform). Which are popular is chosen by seed",
        optional: false,
        spells: None,
        get: |o| o.random_index_mode.to_string().into(),
        put: |o, v| set(&mut o.random_index_mode, v.as_str()?.parse().ok()),
    },
    OptionInfo {
        name: "seed",
        kind: OptionKind::Integer { min: 0, max: u64::MAX },
        unit: "",
        help: "What random orders and draws are made from. Must be the same on every rank",
        optional: false,
        spells: None,
        get: |o| o.seed.into(),
        put: |o, v| set(&mut o.seed, v.as_u64()),
    },
    OptionInfo {
        name: "drop_last",
        kind: OptionKind::Bool,
        unit: "",
        help: "Leave out a last batch that is not full",
        optional: false,
        spells: None,
        get: |o| o.drop_last.into(),
        put: |o, v| set(&mut o.drop_last, v.as_bool()),
    },
    OptionInfo {
        name: "shard_rank",
        kind: OptionKind::Integer { min: 0, max: MANY - 1 },
        unit: "",
        help: "Which part of the dataset this process reads, from 0",
        optional: false,
        spells: None,
        get: |o| o.shard_rank.into(),
        put: |o, v| put(&mut o.shard_rank, v),
    },
    OptionInfo {
        name: "shard_world_size",
        kind: OptionKind::Integer { min: 1, max: MANY },
        unit: "ranks",
        help: "Into how many disjoint parts the dataset is split",
        optional: false,
        spells: None,
        get: |o| o.shard_world_size.into(),
        put: |o, v| put(&mut o.shard_world_size, v),
    },
    OptionInfo {
        name: "shard_remainder",
        kind: OptionKind::Choice(Remainder::WORDS),
        unit: "",
        help: "What becomes of the samples that do not divide evenly among the ranks. uneven: some ranks get one sample more. drop: the last ones of the order are left out. pad: the first ones of the order come again, so that every rank gets as many",
        optional: false,
        spells: None,
        get: |o| o.shard_remainder.name().into(),
        put: |o, v| set(&mut o.shard_remainder, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "loading_mode",
        kind: OptionKind::Choice(LoadingMode::WORDS),
        unit: "",
        help: "ordered: batches come in the order of the sampler. completion: as they are finished. streaming: while the location or the manifest is still being listed, in the order of the listing or a shuffle_window of it; nothing is kept of the names, so there are no ids to read by and no length. Files are listed in no defined order: there ranks share them by name, not evenly",
        optional: false,
        spells: None,
        get: |o| o.loading_mode.name().into(),
        put: |o, v| set(&mut o.loading_mode, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "reader_mode",
        kind: OptionKind::Choice(ReaderMode::WORDS),
        unit: "",
        help: "sequential: each sample is asked for in one go, or as target_request_bytes says. range: by ranges of target_request_bytes, 4 MiB unless it is given. mmap: through a mapping of the file, with page faults for requests, of which page_cache_mode tells the kernel by madvise too; for file:// only, and without target_request_bytes",
        optional: false,
        spells: None,
        get: |o| o.reader_mode.name().into(),
        put: |o, v| set(&mut o.reader_mode, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "target_request_bytes",
        kind: OptionKind::Size { min: 1, max: Budget::MAX },
        unit: "bytes",
        help: "About how large each request to the storage is. Larger samples are read in parts of this size, and those that lie close together in one shard as one: with gaps of an eighth of this size at most, and no more bytes between them than in them. None for what the store finds best",
        optional: true,
        spells: None,
        get: |o| o.target_request_bytes.map(NonZeroU64::get).into(),
        put: |o, v| maybe(&mut o.target_request_bytes, v, |v| NonZeroU64::new(v.as_u64()?)),
    },
    OptionInfo {
        name: "max_bytes_in_flight",
        kind: OptionKind::Size { min: 1, max: Budget::MAX },
        unit: "bytes",
        help: "Hard cap on the bytes that are arriving or waiting to be taken. The batch in the consumer's hands is not counted",
        optional: false,
        spells: None,
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
        help: "What the kernel is told about each file. Obeyed or refused, and what was used is reported; direct_io needs a direct:// location",
        optional: false,
        spells: None,
        get: |o| o.page_cache_mode.name().into(),
        put: |o, v| set(&mut o.page_cache_mode, v.as_str()?.parse::<PageCacheMode>().ok()),
    },
    OptionInfo {
        name: "cache_policy",
        kind: OptionKind::Choice(CachePolicy::WORDS),
        unit: "",
        help: "Another spelling of page_cache_mode, as other frameworks have it: sequential and random are its fadvise modes, direct is direct_io. Giving both is an error unless they agree",
        optional: true,
        spells: Some("page_cache_mode"),
        get: |o| o.cache_policy().map(CachePolicy::name).into(),
        put: |o, v| {
            v.is_null()
                .then_some(())
                .or_else(|| set(&mut o.page_cache_mode, Some(word(v)?.parse::<CachePolicy>().ok()?.into())))
        },
    },
    OptionInfo {
        name: "on_error",
        kind: OptionKind::Form(OnError::FORMS),
        unit: "",
        help: "What a sample does that cannot be read or is corrupt. raise: it ends the epoch with its error. skip: it is left out of its batch. substitute: another sample, chosen by seed, stands in for it. QUOTA is how many samples an epoch may lose before it ends",
        optional: false,
        spells: None,
        get: |o| o.on_error.to_string().into(),
        put: |o, v| set(&mut o.on_error, v.as_str()?.parse().ok()),
    },
    OptionInfo {
        name: "retries",
        kind: OptionKind::Integer { min: 0, max: 1000 },
        unit: "tries",
        help: "How often the loader tries a failed read again, beside what the store does by itself. None for not at all",
        optional: true,
        spells: None,
        get: |o| o.retries.into(),
        put: |o, v| maybe(&mut o.retries, v, |v| u32::try_from(v.as_u64()?).ok()),
    },
    OptionInfo {
        name: "deadline",
        kind: OptionKind::Seconds { max: LONG },
        unit: "seconds",
        help: "The longest that a batch may take to be read, further tries included, waits for memory not. One that takes longer ends the epoch, whatever on_error says. None for no limit",
        optional: true,
        spells: None,
        get: |o| seconds(o.deadline),
        put: |o, v| maybe(&mut o.deadline, v, duration),
    },
    OptionInfo {
        name: "timeout",
        kind: OptionKind::Seconds { max: LONG },
        unit: "seconds",
        help: "The longest that the consumer waits for a batch before that is an error. None for no limit",
        optional: true,
        spells: None,
        get: |o| seconds(o.timeout),
        put: |o, v| maybe(&mut o.timeout, v, duration),
    },
    OptionInfo {
        name: "persistent_workers",
        kind: OptionKind::Bool,
        unit: "",
        help: "Keep the memory of an epoch for the next one. The threads that read are kept in any case",
        optional: false,
        spells: None,
        get: |o| o.persistent_workers.into(),
        put: |o, v| set(&mut o.persistent_workers, v.as_bool()),
    },
    OptionInfo {
        name: "collate",
        kind: OptionKind::Choice(Collate::WORDS),
        unit: "",
        help: "How Python is handed the samples of a batch. auto: one matrix if all are of one size, else a list. stack: one matrix, and an error if sizes differ. list: a list. pad: one matrix as wide as the longest sample, filled up with zeros",
        optional: false,
        spells: None,
        get: |o| o.collate.name().into(),
        put: |o, v| set(&mut o.collate, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "pin_memory",
        kind: OptionKind::Choice(Wish::WORDS),
        unit: "",
        help: "Hand over batches in page-locked memory, from which CUDA copies without the processor. Needs forebay.torch.DataLoader and CUDA; auto: where there are both",
        optional: false,
        spells: None,
        get: |o| wish(o.pin_memory),
        put: |o, v| set(&mut o.pin_memory, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "non_blocking",
        kind: OptionKind::Choice(Wish::WORDS),
        unit: "",
        help: "Only begin the copy of a batch to the device and go on. Needs forebay.torch.DataLoader and its device; auto: where there are both",
        optional: false,
        spells: None,
        get: |o| wish(o.non_blocking),
        put: |o, v| set(&mut o.non_blocking, word(v)?.parse().ok()),
    },
    OptionInfo {
        name: "multiprocessing_context",
        kind: OptionKind::Choice(StartMethod::WORDS),
        unit: "",
        help: "How worker processes are started. Refused where it is set: workers are threads of this process. Give it to torch.utils.data.DataLoader over a forebay.torch.IterableDataset for processes",
        optional: true,
        spells: None,
        get: |o| o.multiprocessing_context.map(StartMethod::name).into(),
        put: |o, v| maybe(&mut o.multiprocessing_context, v, |v| word(v)?.parse().ok()),
    },
];

fn put(field: &mut usize, value: &Value) -> Option<()> {
    set(field, usize::try_from(value.as_u64()?).ok())
}

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

/// Sets what may be unset: null unsets it.
fn maybe<T>(field: &mut Option<T>, value: &Value, read: impl FnOnce(&Value) -> Option<T>) -> Option<()> {
    *field = if value.is_null() { None } else { Some(read(value)?) };
    Some(())
}

fn duration(seconds: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.as_f64()?).ok()
}

fn seconds(duration: Option<Duration>) -> Value {
    duration.map(|duration| duration.as_secs_f64()).into()
}

fn wish(wish: Wish) -> Value {
    match wish {
        Wish::No => false.into(),
        Wish::Yes => true.into(),
        Wish::Auto => wish.name().into(),
    }
}
