//! Wrappers: a store around a store. Each forwards everything, wraps opened objects too, and may be
//! stacked in any order; position means something:
//! `backend → Observed("device") → Retrying → Limited → Coalesced → Observed("caller")`.
#![deny(clippy::missing_trait_methods)]

mod balanced;
mod breaker;
mod coalesced;
mod deadline;
mod endpoints;
mod hedge_place;
mod hedged;
mod joined_place;
mod limited;
mod observed;
mod rate;
mod recent;
mod retried_deletes;
mod retries;
mod retry_budget;
mod retrying;
mod routed;
mod spans;
mod stopwatch;
mod turnstile;

pub use balanced::Balanced;
pub use breaker::{Breaker, BreakerPolicy};
pub use coalesced::Coalesced;
pub use deadline::Deadline;
pub use hedged::{HedgePolicy, Hedged};
pub use limited::{Limited, Limits};
pub use observed::Observed;
pub use retries::{Retries, RetryPolicy};
pub use retry_budget::RetryBudget;
pub use retrying::Retrying;
pub use routed::Routed;
pub use turnstile::AdaptiveLimit;

/// Whether somebody listens to operations as spans of `tracing` (target `forebay::operation`).
#[cfg(feature = "tracing")]
pub fn spans_wanted() -> bool {
    tracing::enabled!(target: "forebay::operation", tracing::Level::DEBUG)
}
