//! WebDataset: tar archives whose neighbouring files with the same key are one sample. The key is the path up
//! to the first dot of the file's name, the rest is the extension (`train/0001.jpg`, `train/0001.cls`).
//!
//! A sample is the span of the archive from the header of its first file to the end of its last: one
//! contiguous read, and by itself a piece of a tar archive, in which [`members`] finds the files again
//! without a copy. If one member is asked for, a sample is the content of that file alone.
//!
//! As the `webdataset` package does, files without an extension and names such as `__meta__` belong to no
//! sample, and a key that comes again after another one begins a new sample.

use super::found::{Finds, Found};
use super::shard_bytes::ShardBytes;
use super::tar_walk::{BLOCK, Step, TarWalk, padded, split_name};
use forebay_io::Result;
use std::ops::Range;

/// A file of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What its name has after the key and a dot, in lower case: `jpg`, `seg.png`.
    pub extension: String,
    /// The key: what all files of the sample have in common.
    pub key: Vec<u8>,
    /// Where its content is in the bytes of the sample.
    pub range: Range<usize>,
}

/// The sample that is being gathered.
struct Group {
    key: Vec<u8>,
    begin: u64,
    end: u64,
    extensions: Vec<String>,
    chosen: Option<Range<u64>>,
}

/// Finds every sample; only the file with extension `member` of each, if one is named.
pub(crate) async fn scan(shard: &mut ShardBytes<'_>, member: Option<&str>, finds: &mut Finds) -> Result<()> {
    // Only what begins with no header: a name may begin with the same bytes.
    let mut compressed = Some(shard.refuse_compressed("sample").await);
    let mut walk = TarWalk::default();
    if shard.size() < BLOCK
        && let Some(compressed) = compressed.take()
    {
        compressed?;
    }
    let mut group: Option<Group> = None;
    let mut at = 0;
    // Where the extensions of the header to come begin.
    let mut extended = None;
    let mut ended = false;
    while at < shard.size() {
        let step = walk.step(shard.bytes(at, BLOCK, "a tar header").await?);
        let data = at + BLOCK;
        if let Some(compressed) = compressed.take()
            && step.is_err()
        {
            compressed?;
        }
        let len = match step.map_err(|why| shard.corrupt(at, why))? {
            Step::End => {
                ended = true;
                break;
            }
            Step::Extension { kind, len } => {
                let said = walk.extend(kind, shard.bytes(data, len, "an extension of a tar header").await?);
                said.map_err(|why| shard.corrupt(data, why))?;
                extended.get_or_insert(at);
                len
            }
            Step::Sparse => {
                let why = "sparse files in a tar archive cannot be read in place; write it without them";
                return Err(shard.unsupported(format!("at offset {at}: {why}")));
            }
            Step::Link { name } if split_name(&name).is_some() => {
                let name = String::from_utf8_lossy(&name);
                let why = "is a link in a tar archive, whose bytes are not where it stands; write files in its place \
                           (tar --dereference --hard-dereference)";
                return Err(shard.unsupported(format!("at offset {at}: {name:?} {why}")));
            }
            Step::Link { .. } => {
                extended = None;
                0
            }
            Step::Other { len } => {
                extended = None;
                len
            }
            Step::File { name, len } => {
                if data.checked_add(len).is_none_or(|end| end > shard.size()) {
                    let left = shard.size() - data;
                    let name = String::from_utf8_lossy(&name).into_owned();
                    return Err(
                        shard.corrupt(data, format!("expected {len} bytes of {name:?}, {left} are left"))
                    );
                }
                let begin = extended.take().unwrap_or(at);
                if let Some((key, extension)) = split_name(&name) {
                    if group.as_ref().is_none_or(|group| group.key != key) {
                        if let Some(done) = group.take() {
                            done.hand_on(shard, member, finds).await?;
                        }
                        let (key, end, extensions, chosen) = (key.to_vec(), data, Vec::new(), None);
                        group = Some(Group { key, begin, end, extensions, chosen });
                    }
                    if let Some(group) = &mut group {
                        if group.extensions.contains(&extension) {
                            let name = String::from_utf8_lossy(&name);
                            return Err(shard.corrupt(at, format!("{name:?} is a second time in its sample")));
                        }
                        group.end = data + len;
                        if member == Some(&extension) {
                            group.chosen = Some(data..data + len);
                        }
                        group.extensions.push(extension);
                    }
                }
                len
            }
        };
        let next = padded(len).and_then(|len| data.checked_add(len));
        at = next.ok_or_else(|| shard.corrupt(at, format!("an entry of {len} bytes")))?;
    }
    // What is cut off in the middle of a file's last block may be cut off in the middle of a sample.
    if at > shard.size() {
        let why = format!("expected {at} bytes, padding included, found {}", shard.size());
        return Err(shard.corrupt(shard.size(), why));
    }
    if let Some(done) = group {
        done.hand_on(shard, member, finds).await?;
    }
    match ended {
        true => the_rest_is_empty(shard, at).await,
        false => Err(shard.corrupt(at, NO_END)),
    }
}

/// The last sample is kept: it may be whole.
const NO_END: &str = "expected a block of zeros, the end of a tar archive: more may be cut off, even of the last sample; \
                      some writers leave it out: if that is so here, on_damage=skip:QUOTA accepts each such archive, or \
                      write them anew";

impl Group {
    /// A sample without its member is lost alone: where the next one begins is known.
    async fn hand_on(
        self,
        shard: &mut ShardBytes<'_>,
        member: Option<&str>,
        finds: &mut Finds,
    ) -> Result<()> {
        match self.found(shard, member) {
            Ok(found) => finds.push(found).await,
            Err(error) => finds.lost(shard, error).await,
        }
    }

    fn found(self, shard: &ShardBytes<'_>, member: Option<&str>) -> Result<Found> {
        let range = match (member, self.chosen) {
            (None, _) => self.begin..self.end,
            (Some(_), Some(chosen)) => chosen,
            (Some(name), None) => {
                let (key, there) = (String::from_utf8_lossy(&self.key), self.extensions.join(", "));
                let why = format!("expected a member {name:?} of sample {key:?}, found {there}");
                return Err(shard.corrupt(self.begin, why));
            }
        };
        Ok(Found { range, ..Found::default() })
    }
}

/// Archives that were put together with `cat` have more behind the first one's end, which must not be lost
/// in silence.
async fn the_rest_is_empty(shard: &mut ShardBytes<'_>, mut at: u64) -> Result<()> {
    while at < shard.size() {
        let len = (shard.size() - at).min(1 << 20);
        let rest = shard.bytes(at, len, "the end of the archive").await?;
        if let Some(more) = rest.iter().position(|&byte| byte != 0) {
            let why = "expected nothing but zeros after the end of the archive; join archives with \
                       `tar --concatenate`";
            return Err(shard.corrupt(at + more as u64, why));
        }
        at += len;
    }
    Ok(())
}

/// The files of a sample, in their order, from the sample's bytes.
///
/// # Errors
/// What was expected at which offset of the sample.
pub(crate) fn members(sample: &[u8]) -> Result<Vec<Member>, String> {
    let mut walk = TarWalk::default();
    let mut members = Vec::new();
    let mut at = 0usize;
    while at < sample.len() {
        let data = at + BLOCK as usize;
        let wrong = |why: &str| format!("at offset {at} of the sample: {why}");
        let block = sample.get(at..data).ok_or_else(|| wrong("expected a tar header"))?;
        let step = walk.step(block).map_err(|why| wrong(&why))?;
        let inside = |len: u64| {
            let len = usize::try_from(len).ok();
            let end = len.and_then(|len| data.checked_add(len)).filter(|&end| end <= sample.len());
            end.ok_or_else(|| wrong("a file that goes beyond the sample"))
        };
        let end = match step {
            Step::End => break,
            Step::Extension { kind, len } => {
                let end = inside(len)?;
                walk.extend(kind, &sample[data..end]).map_err(|why| wrong(&why))?;
                end
            }
            Step::Sparse => return Err(wrong("a sparse file, which cannot be read in place")),
            Step::Link { .. } => data,
            Step::Other { len } => inside(len)?,
            Step::File { name, len } => {
                let end = inside(len)?;
                if let Some((key, extension)) = split_name(&name) {
                    members.push(Member { extension, key: key.to_vec(), range: data..end });
                }
                end
            }
        };
        // The last one's padding is not part of the sample.
        at = end.next_multiple_of(BLOCK as usize);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_split_as_the_webdataset_package_does() {
        for (name, split) in [
            ("a.jpg", Some(("a", "jpg"))),
            ("./d/a.SEG.png", Some(("d/a", "seg.png"))),
            ("d.e/a.b", Some(("d.e/a", "b"))),
            ("a.", Some(("a", ""))),
            ("a", None),
            (".hidden", None),
            ("d.e/a", None),
            ("__info__.json", Some(("__info__", "json"))),
            ("__info__", None),
            ("__d__/a.jpg", None),
        ] {
            let expected = split.map(|(key, ext)| (key.as_bytes(), ext.to_owned()));
            assert_eq!(split_name(name.as_bytes()), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = members(&bytes);
        }
    }
}
