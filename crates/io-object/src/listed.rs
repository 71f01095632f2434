//! A page of a listing as a client gives it: whole, but not read yet.
//!
//! To read a page takes a good part of the time that a service needs to make one. So the client only fetches
//! it; who walks the listing first looks where the next page begins, asks for that, and reads this one while
//! the service is at work.

use crate::Failure;
use forebay_io::Version;
use std::borrow::Cow;
use std::time::SystemTime;

/// One page, as it came.
pub trait Listing: Send {
    /// Where the next page seems to begin, found at a glance. What [`read`](Listing::read) answers is what
    /// counts: who acted on a glance that was wrong, or was none, takes it back.
    fn glance(&self) -> Option<String>;

    /// Calls `each` with every entry, in the order of the page, and answers where the next page begins: none
    /// after the last one.
    ///
    /// # Errors
    /// `Corrupt`, to be fetched again, where it is no page or was cut off, perhaps after some entries; what
    /// `each` answers, as it is.
    fn read(self: Box<Self>, each: &mut Each<'_>) -> Result<Option<String>, Failure>;
}

/// What is called with each entry of a page.
pub type Each<'e> = dyn FnMut(ListedEntry<'_>) -> Result<(), Failure> + 'e;

/// An entry of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedEntry<'p> {
    /// An object.
    Object(ListedObject<'p>),
    /// What keys are folded into that go on after a slash: it ends with that.
    Prefix(Cow<'p, str>),
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject<'p> {
    /// The whole key.
    pub key: Cow<'p, str>,
    /// Bytes.
    pub size: u64,
    /// Last change. A client may leave it out where [`ListAsk::details`](crate::ListAsk::details) are not asked for.
    pub modified: Option<SystemTime>,
    /// The version. A client may leave it out likewise.
    pub version: Option<Version>,
}

/// A page that was read already: by a client's library, or to keep it.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Its entries.
    pub entries: Vec<ListedEntry<'static>>,
    /// Where the next page begins; none after the last one.
    pub next: Option<String>,
}

impl Listed {
    /// Reads a page to its end.
    ///
    /// # Errors
    /// As [`Listing::read`].
    pub fn of(listing: Box<dyn Listing>) -> Result<Self, Failure> {
        let mut entries = Vec::new();
        let next = listing.read(&mut |entry| {
            entries.push(entry.into_owned());
            Ok(())
        })?;
        Ok(Listed { entries, next })
    }
}

impl ListedEntry<'_> {
    /// The same, whatever becomes of the page.
    pub fn into_owned(self) -> ListedEntry<'static> {
        match self {
            ListedEntry::Object(ListedObject { key, size, modified, version }) => {
                let key = key.into_owned().into();
                ListedEntry::Object(ListedObject { key, size, modified, version })
            }
            ListedEntry::Prefix(prefix) => ListedEntry::Prefix(prefix.into_owned().into()),
        }
    }
}

impl Listing for Listed {
    fn glance(&self) -> Option<String> {
        self.next.clone()
    }

    fn read(self: Box<Self>, each: &mut Each<'_>) -> Result<Option<String>, Failure> {
        self.entries.into_iter().try_for_each(each)?;
        Ok(self.next)
    }
}
