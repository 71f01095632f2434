//! Options of the layers that stand between a service and its caller, and the layers themselves.
//!
//! ```text
//! for each endpoint: backend → Observed("device") → Deadline → Breaker → adaptive limit
//! then, once:        Balanced → Hedged → Retrying → Limited → Coalesced → Observed("caller")
//! ```
//! Breakers, adaptive limits and retries are there for services over HTTP unless `none` is said; deadlines
//! and hedges only if asked for. For files there are none of them: a disk does not throttle, and what one
//! fails at does not pass.

use crate::key::Key;
use crate::services::HTTP;
use crate::value::{count, duration, fraction, list, or_none, size};
use crate::{Scheme, StoreOptions};
use forebay_io::layer::{
    AdaptiveLimit, Balanced, Breaker, BreakerPolicy, Coalesced, Deadline, HedgePolicy, Hedged, Limited,
    Observed, Retries, RetryBudget, RetryPolicy, Retrying,
};
use forebay_io::{Result, Store};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

/// Something that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<T> {
    /// Without it: `none`.
    Without,
    /// With this value.
    With(T),
}

impl<T: Copy> Choice<T> {
    /// What was chosen, or what is usual.
    pub(crate) fn or(said: Option<Self>, usual: Option<T>) -> Option<T> {
        match said {
            Some(Choice::With(value)) => Some(value),
            Some(Choice::Without) => None,
            None => usual,
        }
    }
}

/// What was said about the layers. Where nothing is said, the scheme decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerOptions {
    /// Retries that each success pays for; without, only the count of attempts bounds them.
    pub retry_budget: Option<Choice<f64>>,
    /// Retries a second that are made whatever succeeds.
    pub retries_per_second: Option<f64>,
    /// The longest that one attempt at an operation may take.
    pub operation_timeout: Option<Choice<Duration>>,
    /// Failures in a row after which an endpoint is left alone.
    pub breaker_failures: Option<Choice<NonZeroU32>>,
    /// How long it is left alone between two probes.
    pub breaker_cooldown: Option<Duration>,
    /// The most operations in flight at one endpoint, fewer while it throttles.
    pub adaptive_concurrency: Option<Choice<NonZeroU32>>,
    /// The share of reads that are not sent a second time.
    pub hedge_quantile: Option<Choice<f64>>,
    /// No second request before this.
    pub hedge_min_delay: Option<Duration>,
    /// What second reads may take of the caller's memory, beside what it reads into.
    pub hedge_memory: Option<NonZeroU64>,
    /// Endpoints of one service, to be balanced between.
    pub endpoints: Vec<String>,
}

/// The schemes whose stores can fail in ways that pass.
const SERVICES: &[&str] = &["mem", "s3", "az", "https"];

/// The rows of layers in the table of options.
pub(crate) static ROWS: &[Key] = &[
    Key {
        name: "retry_budget",
        about: "retries that each success pays for, as 0.2, or none for as many as retries allows",
        schemes: SERVICES,
        set: |o, text| or_none(text, |t| fraction(t, 0.0..=1.0)).map(|v| o.layers.retry_budget = Some(v)),
        given: |o| o.layers.retry_budget.is_some(),
    },
    Key {
        name: "retries_per_second",
        about: "retries a second that are made whatever succeeds, as 10",
        schemes: SERVICES,
        set: |o, text| fraction(text, 0.0..=1e6).map(|v| o.layers.retries_per_second = Some(v)),
        given: |o| o.layers.retries_per_second.is_some(),
    },
    Key {
        name: "operation_timeout",
        about: "the longest that one attempt at an operation may take with all its requests, as 5m, or none",
        schemes: SERVICES,
        set: |o, text| or_none(text, duration).map(|v| o.layers.operation_timeout = Some(v)),
        given: |o| o.layers.operation_timeout.is_some(),
    },
    Key {
        name: "breaker_failures",
        about: "failures in a row after which an endpoint is left alone for a while, or none",
        schemes: SERVICES,
        set: |o, text| or_none(text, |t| count(t, 1)).map(|v| o.layers.breaker_failures = Some(v)),
        given: |o| o.layers.breaker_failures.is_some(),
    },
    Key {
        name: "breaker_cooldown",
        about: "how long it is left alone between two probes, as 5s",
        schemes: SERVICES,
        set: |o, text| duration(text).map(|v| o.layers.breaker_cooldown = Some(v)),
        given: |o| o.layers.breaker_cooldown.is_some(),
    },
    Key {
        name: "adaptive_concurrency",
        about: "the most operations in flight at one endpoint, fewer while it throttles, or none",
        schemes: SERVICES,
        set: |o, text| or_none(text, |t| count(t, 1)).map(|v| o.layers.adaptive_concurrency = Some(v)),
        given: |o| o.layers.adaptive_concurrency.is_some(),
    },
    Key {
        name: "hedge_quantile",
        about: "reads slower than this share of them are sent a second time, as 0.95, or none",
        schemes: SERVICES,
        set: |o, text| {
            or_none(text, |t| fraction(t, 0.01..=0.9999)).map(|v| o.layers.hedge_quantile = Some(v))
        },
        given: |o| o.layers.hedge_quantile.is_some(),
    },
    Key {
        name: "hedge_min_delay",
        about: "no second request before this, as 5ms",
        schemes: SERVICES,
        set: |o, text| duration(text).map(|v| o.layers.hedge_min_delay = Some(v)),
        given: |o| o.layers.hedge_min_delay.is_some(),
    },
    Key {
        name: "hedge_memory",
        about: "the most of the loader's memory that second reads take, under its cap, as 64MiB",
        schemes: SERVICES,
        set: |o, text| size(text).map(|v| o.layers.hedge_memory = Some(v)),
        given: |o| o.layers.hedge_memory.is_some(),
    },
    Key {
        name: "endpoints",
        about: "URLs of one service, comma-separated: load is balanced between them, and reads fail over",
        schemes: HTTP,
        set: |o, text| list(text).map(|v| o.layers.endpoints = v),
        given: |o| !o.layers.endpoints.is_empty(),
    },
];

impl StoreOptions {
    /// One endpoint: its backend and what stands next to it.
    pub(crate) fn door(&self, scheme: &Scheme, backend: Arc<dyn Store>) -> Result<Arc<dyn Store>> {
        let layers = &self.layers;
        let mut store = backend;
        if let Some(device) = &self.device {
            store = Arc::new(Observed::new(store, device.clone()));
        }
        if let Some(limit) = Choice::or(layers.operation_timeout, None) {
            store = Arc::new(Deadline::new(store, limit));
        }
        let usual = BreakerPolicy::default();
        if let Some(failures) =
            Choice::or(layers.breaker_failures, scheme.is_remote().then_some(usual.failures))
        {
            let cooldown = layers.breaker_cooldown.unwrap_or(usual.cooldown);
            store =
                Arc::new(Breaker::new(store, BreakerPolicy { failures, cooldown }, self.events(scheme.name)));
        }
        if let Some(most) = Choice::or(layers.adaptive_concurrency, self.concurrency(scheme)?) {
            let limit = AdaptiveLimit { most, ..AdaptiveLimit::default() };
            store = Arc::new(Limited::adaptive(store, limit, self.events(scheme.name)));
        }
        Ok(store)
    }

    /// All endpoints together, and what stands before them.
    pub(crate) fn house(
        &self,
        scheme: &Scheme,
        doors: Vec<Arc<dyn Store>>,
        retries: Option<Arc<Retries>>,
    ) -> Result<Arc<dyn Store>> {
        let layers = &self.layers;
        let endpoints = u32::try_from(doors.len()).unwrap_or(u32::MAX);
        let mut store = match <[_; 1]>::try_from(doors) {
            Ok([only]) => only,
            Err(doors) => Arc::new(Balanced::new(doors, self.events(scheme.name), self.seed)?),
        };
        let mut limits = self.limits;
        if let Some(quantile) = Choice::or(layers.hedge_quantile, None) {
            let usual = HedgePolicy::default();
            let policy = HedgePolicy {
                quantile,
                min_delay: layers.hedge_min_delay.unwrap_or(usual.min_delay),
                spare_bytes: layers.hedge_memory.map_or(usual.spare_bytes, NonZeroU64::get),
            };
            store = Arc::new(Hedged::new(store, policy, self.events(scheme.name))?);
            // A request that stands in a queue beneath is late without being slow: let it stand above.
            let most = self.concurrency(scheme)?.map(|each| each.saturating_mul(endpoints_of(endpoints)));
            limits.concurrency = limits.concurrency.or(most);
        }
        if let Some(retries) = retries {
            store = Arc::new(Retrying::sharing(store, retries));
        }
        if limits != Default::default() {
            store = Arc::new(Limited::new(store, limits));
        }
        Ok(self.watched(Arc::new(Coalesced::new(store))))
    }

    #[cfg(not(feature = "tracing"))]
    fn watched(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.caller {
            Some(caller) => Arc::new(Observed::new(store, caller.clone())),
            None => store,
        }
    }

    /// Each operation is a span of `tracing` if somebody listens to such when the store is opened.
    #[cfg(feature = "tracing")]
    fn watched(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let wanted = forebay_io::layer::spans_wanted();
        match &self.caller {
            Some(caller) if wanted => Arc::new(Observed::new(store, caller.clone()).with_spans()),
            Some(caller) => Arc::new(Observed::new(store, caller.clone())),
            None if wanted => Arc::new(Observed::new(store, Arc::new(forebay_io::Unobserved)).with_spans()),
            None => store,
        }
    }

    /// What is tried again, and out of which budget: one for all endpoints, and for the parts of large
    /// objects.
    pub(crate) fn retries(&self, scheme: &Scheme) -> Option<Arc<Retries>> {
        let retries = self.retries.unwrap_or(scheme.retries);
        let usual = RetryBudget::default();
        let budget = Choice::or(self.layers.retry_budget, Some(usual.per_success)).map(|per_success| {
            let per_second = self.layers.retries_per_second.unwrap_or(usual.per_second);
            RetryBudget { per_success, per_second, ..usual }
        });
        let max_attempts = NonZeroU32::MIN.saturating_add(retries);
        let policy = RetryPolicy { max_attempts, budget, seed: self.seed, ..RetryPolicy::default() };
        (retries > 0).then(|| Arc::new(Retries::new(policy, self.events(scheme.name))))
    }

    /// How many requests the backend of a service sends at once.
    fn concurrency(&self, scheme: &Scheme) -> Result<Option<NonZeroU32>> {
        if !scheme.is_remote() {
            return Ok(None);
        }
        Ok(Some(self.services.http()?.concurrency))
    }

    /// The same options with each of the endpoints, or as they are if none is named.
    ///
    /// # Errors
    /// `InvalidConfig` if one endpoint and several are named.
    pub(crate) fn for_each_endpoint(&self) -> Result<Vec<StoreOptions>> {
        if self.layers.endpoints.is_empty() {
            return Ok(vec![self.clone()]);
        }
        let each = self.layers.endpoints.iter().map(|url| {
            let mut options = self.clone();
            options.services.set_endpoint(url)?;
            Ok(options)
        });
        each.collect()
    }

    /// Refuses options that only mean something beside one that was not said.
    pub(crate) fn check_layers(&self, scheme: &Scheme) -> Result<()> {
        let layers = &self.layers;
        let hedged = Choice::or(layers.hedge_quantile, None).is_some();
        let breaker = Choice::or(layers.breaker_failures, scheme.is_remote().then_some(NonZeroU32::MIN));
        let retries = self.retries.unwrap_or(scheme.retries) > 0;
        let budget = layers.retry_budget != Some(Choice::Without);
        for (given, key, has, needs) in [
            (layers.hedge_min_delay.is_some(), "hedge_min_delay", hedged, "hedge_quantile"),
            (layers.hedge_memory.is_some(), "hedge_memory", hedged, "hedge_quantile"),
            (layers.breaker_cooldown.is_some(), "breaker_cooldown", breaker.is_some(), "breaker_failures"),
            (layers.retry_budget.is_some(), "retry_budget", retries, "retries"),
            (layers.retries_per_second.is_some(), "retries_per_second", retries, "retries"),
            (layers.retries_per_second.is_some(), "retries_per_second", budget, "retry_budget"),
        ] {
            if given && !has {
                let context = format!("{key} has no meaning without {needs}; give that too");
                return Err(forebay_io::Error::invalid(context));
            }
        }
        Ok(())
    }
}

fn endpoints_of(endpoints: u32) -> NonZeroU32 {
    NonZeroU32::new(endpoints).unwrap_or(NonZeroU32::MIN)
}
