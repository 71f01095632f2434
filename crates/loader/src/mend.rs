//! What `on_error` does for a batch of which samples failed: leaves them out, or reads others in their
//! places.

use crate::OnError;
use crate::quarantine::{Loss, Treatment};
use crate::read_batch::Reader;
use forebay_io::{Error, GetRequest, Kind, Lease, Place, ReadOptions, Result};
use std::sync::Arc;

/// How many others are tried in the place of one sample. Each fails if it cannot be read, and where the
/// lost one's size is known already, if it is larger.
const CANDIDATES: u64 = 32;

/// A batch with its losses.
pub(crate) struct Mended {
    /// The samples, by slot; of those that were replaced, the others.
    pub(crate) ids: Box<[u64]>,
    /// The slots that hold a sample.
    pub(crate) slots: Vec<u32>,
    pub(crate) losses: Vec<Loss>,
}

/// Whether an error is about one sample. What is wrong with the options or the store is wrong with all.
fn is_of_a_sample(error: &Error) -> bool {
    !matches!(error.kind(), Kind::InvalidConfig | Kind::Unsupported | Kind::Cancelled)
}

/// Does what the policy says about each failed slot of a batch. `failed` is in the order of the slots.
///
/// # Errors
/// The first failure that the policy is not about; or, of a sample for which no other could be had, its
/// own.
pub(crate) async fn mend(
    reader: &Reader,
    mut ids: Box<[u64]>,
    failed: Vec<(u32, Error)>,
    lease: &Lease,
    options: &ReadOptions,
    place: &Arc<dyn Place>,
) -> Result<Mended> {
    if let Some(at) = failed.iter().position(|(_, error)| !is_of_a_sample(error)) {
        let error = failed.into_iter().nth(at).map(|(_, error)| error);
        return Err(error.expect("found there"));
    }
    let mut losses = Vec::new();
    let mut missing = Vec::new();
    if let OnError::Substitute { .. } = reader.on_error {
        substitute(reader, &mut ids, failed, options, place, &mut losses).await?;
    } else {
        for (slot, error) in failed {
            lease.discard(slot);
            missing.push(slot);
            losses.push(Loss { sample: ids[slot as usize], error, treatment: Treatment::Skipped });
        }
    }
    let slots = (0..ids.len() as u32).filter(|slot| missing.binary_search(slot).is_err()).collect();
    Ok(Mended { ids, slots, losses })
}

/// A place whose sample was lost.
struct Gap {
    slot: u32,
    sample: u64,
    error: Error,
}

async fn substitute(
    reader: &Reader,
    ids: &mut [u64],
    failed: Vec<(u32, Error)>,
    options: &ReadOptions,
    place: &Arc<dyn Place>,
    losses: &mut Vec<Loss>,
) -> Result<()> {
    let gap = |(slot, error): (u32, Error)| Gap { slot, sample: ids[slot as usize], error };
    let mut gaps: Vec<_> = failed.into_iter().map(gap).collect();
    for attempt in 0..CANDIDATES {
        let tried: Vec<u64> = gaps.iter().map(|gap| reader.candidate(gap.sample, attempt)).collect();
        let requests = gaps.iter().zip(&tried).map(|(gap, &id)| reader.request(id, gap.slot));
        let requests: Arc<[GetRequest]> = requests.collect::<Result<_>>()?;
        let results = reader.get(requests, options, place).await;
        let mut left = Vec::new();
        for ((gap, id), result) in gaps.into_iter().zip(tried).zip(results) {
            match result {
                Ok(_) => {
                    ids[gap.slot as usize] = id;
                    let treatment = Treatment::Substituted { by: id };
                    losses.push(Loss { sample: gap.sample, error: gap.error, treatment });
                }
                Err(error) if !is_of_a_sample(&error) => return Err(error),
                Err(error) => {
                    // One that is only too large for this place is not broken.
                    let fits = !matches!(error.kind(), Kind::Precondition | Kind::InvalidRange);
                    if fits && id != gap.sample {
                        losses.push(Loss { sample: id, error, treatment: Treatment::PassedOver });
                    }
                    left.push(gap);
                }
            }
        }
        gaps = left;
        if gaps.is_empty() {
            return Ok(());
        }
    }
    let Gap { sample, error, .. } = gaps.remove(0);
    Err(error.context(format_args!(
        "on_error={}: none of {CANDIDATES} others could be read in the place of sample {sample}, which failed",
        reader.on_error
    )))
}

impl Reader {
    /// The sample that is tried in the place of `lost`: a pure function of seed, epoch, sample and attempt.
    fn candidate(&self, lost: u64, attempt: u64) -> u64 {
        let key = [self.seed, self.epoch, lost, attempt].into_iter().fold(0, |mixed, word| mix(mixed ^ word));
        // Where nobody knows how many there are, no substitute is asked for: the options refuse it.
        among(self.samples.len().unwrap_or(0), lost, key)
    }
}

/// A sample other than `lost`, where there is one.
fn among(total: u64, lost: u64, key: u64) -> u64 {
    let others = total.saturating_sub(1).max(1);
    let chosen = ((u128::from(key) * u128::from(others)) >> 64) as u64;
    let other = if chosen >= lost { chosen + 1 } else { chosen };
    other.min(total.saturating_sub(1))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014) behind its increment.
fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
