//! The stack itself.

use crate::{Choice, Scheme, StoreOptions};
use forebay_io::layer::Retries;
use forebay_io::{Error, Kind, Location, Operation, Result, Store};
use forebay_io_direct::DirectStore;
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_object::ObjectBackend;
use std::sync::Arc;

/// The store that holds `location`, wrapped as `options` ask. It serves every location of the same
/// scheme (and host), not only this one.
///
/// # Errors
/// `InvalidConfig` for an unknown scheme and for an option that the store has no use for;
/// `Unsupported` for a scheme that this build cannot open, and for `mem://` without a
/// [`StoreOptions::memory`].
pub fn open(location: &Location, options: &StoreOptions) -> Result<Arc<dyn Store>> {
    let scheme = Scheme::of(location)?;
    options.check(scheme.name).map_err(|e| e.at(location))?;
    options.check_layers(scheme).map_err(|e| e.at(location))?;
    options.services.check(scheme).map_err(|e| e.at(location))?;
    let endpoints = options.for_each_endpoint().map_err(|e| e.at(location))?;
    let retries = options.retries(scheme);
    let doors = endpoints
        .iter()
        .map(|options| options.door(scheme, backend(scheme, location, options, retries.as_ref())?));
    options.house(scheme, doors.collect::<Result<_>>()?, retries.clone())
}

fn backend(
    scheme: &Scheme,
    location: &Location,
    options: &StoreOptions,
    retries: Option<&Arc<Retries>>,
) -> Result<Arc<dyn Store>> {
    match scheme.name {
        "file" => {
            let default = FsOptions::default();
            if let (Some(shared), None) = (&options.files, options.threads) {
                let sampling = Choice::or(options.page_cache_sampling, default.page_cache_sampling);
                let observer = options.is_observed().then(|| options.attempts(scheme.name));
                return Ok(Arc::new(shared.with_these_threads(sampling, observer)));
            }
            let files = FsOptions {
                threads: options.threads.unwrap_or(default.threads),
                page_cache_sampling: Choice::or(options.page_cache_sampling, default.page_cache_sampling),
            };
            let store = match options.is_observed() {
                true => FsStore::observed(files, options.attempts(scheme.name)),
                false => FsStore::new(files),
            };
            Ok(Arc::new(store.map_err(|e| e.at(location))?))
        }
        "direct" => {
            let store = options.direct.options(options).and_then(DirectStore::new);
            Ok(Arc::new(store.map_err(|e| e.at(location))?))
        }
        "s3" => {
            let (s3, around) = (options.services.s3()?, options.services.around());
            if options.services.surroundings.is_none() && !s3.anonymous {
                let context = "requests to s3:// are signed with the time of day, and the program handed over no \
                               clock (StoreOptions::with_surroundings); do so, or set anonymous=true";
                return Err(Error::invalid(context).at(location));
            }
            let store = forebay_io_s3::open(location, &s3, &around, options.attempts(scheme.name))?;
            Ok(object(store, options, retries))
        }
        "az" | "https" => {
            let services = &options.services;
            let (az, http) = (services.az(location)?, services.http()?);
            let around = services.around();
            let store = forebay_io_az::open(location, &az, http, &around, options.attempts(scheme.name))?;
            Ok(object(store, options, retries))
        }
        "mem" => {
            // One made here would be empty, and nobody could ever put anything there.
            let store = options.memory.clone().ok_or_else(|| {
                let context = "mem:// names objects that a program holds in memory, and none were handed \
                               over; a program sets StoreOptions::memory, a command needs a file:// location";
                Error::new(Kind::Unsupported, Operation::Configure, context).at(location)
            })?;
            Ok(Arc::new(store))
        }
        other => unreachable!("scheme {other} is said to be available"),
    }
}

/// A service's store. Parts of large objects are tried again beneath the layers, out of the same budget.
fn object(store: ObjectBackend, options: &StoreOptions, retries: Option<&Arc<Retries>>) -> Arc<dyn Store> {
    let store = store.with_uploads(options.uploads.clone());
    match retries {
        Some(retries) => Arc::new(store.with_part_retries(retries.clone())),
        None => Arc::new(store),
    }
}
