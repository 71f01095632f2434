//! Tasks of stages as spans of `tracing`, with the feature `tracing`: `task`, target `forebay::stage`, level DEBUG,
//! with the `stage`'s name. What a task does lies within. Without the feature a task is its future and nothing else.

#[cfg(feature = "tracing")]
pub(crate) type Spanned<Fut> = tracing::instrument::Instrumented<Fut>;
#[cfg(not(feature = "tracing"))]
pub(crate) type Spanned<Fut> = Fut;

/// The future of a task of this stage.
#[cfg(feature = "tracing")]
pub(crate) fn spanned<Fut>(stage: &str, future: Fut) -> Spanned<Fut> {
    use tracing::Instrument;
    let span = tracing::debug_span!(target: "forebay::stage", parent: None, "task", stage);
    future.instrument(span)
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn spanned<Fut>(_: &str, future: Fut) -> Spanned<Fut> {
    future
}
