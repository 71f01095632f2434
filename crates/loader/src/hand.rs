//! A consumer's hand in the reads of its own batches: those who read into a memory, for a pipeline.

use forebay_io::Pool;
use forebay_pipeline::Assist;

/// Of the threads that read into this memory.
pub(crate) struct Hand(pub(crate) Pool);

impl Assist for Hand {
    fn attends(&self) {
        if let Some(crew) = self.0.crew() {
            crew.seen();
        }
    }

    fn assist(&self) -> bool {
        self.0.crew().is_some_and(|crew| crew.lend_a_hand())
    }
}
