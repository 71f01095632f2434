//! What a loader itself, or the store that it reads from, cannot honour is refused here, with the reason: an option is never taken and
//! then ignored.

use crate::LoaderOptions;
use crate::choice::{Collate, ReaderMode, Wish};
use forebay_io::{Error, Location, PageCacheMode, Result, Store};

/// Refuses options that are not a loader's to honour.
///
/// # Errors
/// `InvalidConfig` naming the option, its value and who could honour it.
pub(crate) fn by_loader(options: &LoaderOptions) -> Result<()> {
    let o = options;
    let refused: [(bool, &str, String, &str); 4] = [
        (
            o.pin_memory == Wish::Yes,
            "pin_memory",
            o.pin_memory.to_string(),
            "page-locked memory is CUDA's: use forebay.torch.DataLoader where there is CUDA, or \
             pin_memory=auto",
        ),
        (
            o.non_blocking == Wish::Yes,
            "non_blocking",
            o.non_blocking.to_string(),
            "nothing is copied to a device here: use forebay.torch.DataLoader with a device, or \
             non_blocking=auto",
        ),
        (
            o.collate != Collate::Auto,
            "collate",
            o.collate.to_string(),
            "batches are handed over as bytes here: use Python's to_numpy() and to_torch()",
        ),
        (
            o.multiprocessing_context.is_some(),
            "multiprocessing_context",
            o.multiprocessing_context.map(|method| method.to_string()).unwrap_or_default(),
            "workers are threads of this process; for processes use torch.utils.data.DataLoader over a \
             forebay.torch.IterableDataset",
        ),
    ];
    match refused.into_iter().find(|(given, ..)| *given) {
        None => Ok(()),
        Some((_, name, value, why)) => {
            Err(Error::invalid(format!("{name}={value} cannot be honoured by this loader: {why}")))
        }
    }
}

/// Refuses options that the store of `root` would refuse with the first read.
///
/// # Errors
/// `InvalidConfig` naming the option, its value and what is valid.
pub(crate) fn by_store(options: &LoaderOptions, store: &dyn Store, root: &Location) -> Result<()> {
    if options.reader_mode == ReaderMode::Mmap && !store.capability().mappings {
        let scheme = root.scheme();
        return Err(Error::invalid(format!(
            "reader_mode=mmap maps files of the page cache, which {scheme}:// does not read through: use sequential or \
             range, or read files as file://"
        )));
    }
    page_cache(options, store, root)
}

/// Refuses a page-cache policy that the store of `root` would refuse with the first read.
///
/// # Errors
/// `InvalidConfig` naming the policy, in both spellings, and what is valid.
fn page_cache(options: &LoaderOptions, store: &dyn Store, root: &Location) -> Result<()> {
    let (mode, obeyed) = (options.page_cache_mode, store.capability().page_cache);
    if obeyed.contains(&mode) {
        return Ok(());
    }
    let spelled =
        options.cache_policy().map(|policy| format!(" (cache_policy={policy})")).unwrap_or_default();
    let valid: Vec<_> = obeyed.iter().map(|mode| mode.name()).collect();
    let other = match mode {
        PageCacheMode::DirectIO => "direct://",
        _ => "file://",
    };
    Err(Error::invalid(format!(
        "page_cache_mode={mode}{spelled} is not for {}://, where {} can be obeyed; files can be read as {other} for it",
        root.scheme(),
        valid.join(" or ")
    )))
}
