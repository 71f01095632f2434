//! What a consumer is told when an item did not make it.

use std::any::Any;
use std::sync::Arc;

/// Why an item failed, and in which stage. `E` is the error of the pipeline's own functions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError<E> {
    /// A stage's function, or the source, returned an error.
    #[error("stage {stage:?} failed: {source}")]
    Failed {
        /// Name of the stage.
        stage: Arc<str>,
        /// What it returned.
        source: E,
    },
    /// A stage's function, its future, or the source panicked.
    #[error("stage {stage:?} panicked: {message}")]
    Panicked {
        /// Name of the stage.
        stage: Arc<str>,
        /// The panic's message, where it was text.
        message: String,
    },
    /// The stage's task was ended from outside before its work was done, most likely because the
    /// runtime shut down while the pipeline ran. Items are missing after this one.
    #[error(
        "stage {stage:?} was interrupted before its work was done: \
         keep the runtime alive until the pipeline has ended"
    )]
    Interrupted {
        /// Name of the last stage that the task carried.
        stage: Arc<str>,
    },
}

impl<E> PipelineError<E> {
    /// Name of the stage the item failed in.
    pub fn stage(&self) -> &str {
        match self {
            Self::Failed { stage, .. } | Self::Panicked { stage, .. } | Self::Interrupted { stage } => stage,
        }
    }

    pub(crate) fn panicked(stage: &Arc<str>, payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(_) => "a payload that is not text".to_owned(),
            },
        };
        Self::Panicked { stage: stage.clone(), message }
    }
}
