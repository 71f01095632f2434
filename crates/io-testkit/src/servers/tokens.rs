//! Tokens and keys that were handed out: which of them are good, how long, and how often each was asked for and
//! shown. Whoever hands them out and whoever checks them share it.

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, SystemTime};

/// See the module's words.
pub struct Tokens {
    book: Mutex<Book>,
    now: fn() -> SystemTime,
}

struct Book {
    random: ChaCha8Rng,
    given: BTreeMap<String, Given>,
    lifetime: Duration,
    uses: Option<u64>,
    faults: VecDeque<TokenFault>,
    asked: u64,
    accepted: u64,
    refused: u64,
}

/// One that was handed out.
struct Given {
    /// What goes with it: an access key's id, where there is one.
    id: String,
    /// How often it may still be shown; without, until it is ended.
    left: Option<u64>,
}

/// What goes wrong with one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It is refused with this status.
    Status(u16),
    /// The answer is a success and holds nothing of use.
    Garbled,
}

/// What a service says of a token that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenVerdict {
    /// It is let in.
    Good,
    /// It was good once.
    Ended,
    /// It was never handed out, or not with this id.
    Unknown,
}

impl Tokens {
    /// None are handed out yet. Each is good for an hour of `now`, and as often as one likes.
    pub(crate) fn new(seed: u64, now: fn() -> SystemTime) -> Self {
        let book = Book {
            random: ChaCha8Rng::seed_from_u64(seed),
            given: BTreeMap::new(),
            lifetime: Duration::from_secs(3600),
            uses: None,
            faults: VecDeque::new(),
            asked: 0,
            accepted: 0,
            refused: 0,
        };
        Tokens { book: Mutex::new(book), now }
    }

    /// What is said from now on of how long each is good.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.book.lock().lifetime = lifetime;
    }

    /// From now on each is let in so often and then no more, whatever was said of its end.
    pub fn set_uses(&self, uses: Option<u64>) {
        self.book.lock().uses = uses;
    }

    /// The next questions fail like this, one after another.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = TokenFault>) {
        self.book.lock().faults.extend(faults);
    }

    /// None of those that were handed out is good any more.
    pub fn end_all(&self) {
        self.book.lock().given.values_mut().for_each(|given| given.left = Some(0));
    }

    /// How many were handed out.
    pub fn given(&self) -> u64 {
        self.book.lock().given.len() as u64
    }

    /// How many questions were asked, those among them that failed.
    pub fn asked(&self) -> u64 {
        self.book.lock().asked
    }

    /// How often one was shown and let in.
    pub fn accepted(&self) -> u64 {
        self.book.lock().accepted
    }

    /// How often one was shown, or should have been, and was not let in.
    pub fn refused(&self) -> u64 {
        self.book.lock().refused
    }

    /// A question was asked; what goes wrong with it.
    pub(crate) fn ask(&self) -> Option<TokenFault> {
        let mut book = self.book.lock();
        book.asked += 1;
        book.faults.pop_front()
    }

    /// Hands one out, with an id that begins with `kind`.
    pub(crate) fn give(&self, kind: &str) -> (String, String) {
        let mut book = self.book.lock();
        let number = book.given.len();
        let (one, other): (u64, u64) = (book.random.next_u64(), book.random.next_u64());
        let (id, token) = (format!("{kind}{number:08}"), format!("{kind}.{one:016x}{other:016x}"));
        let given = Given { id: id.clone(), left: book.uses };
        book.given.insert(token.clone(), given);
        (id, token)
    }

    /// How long one is good that is handed out now, and until when.
    pub(crate) fn term(&self) -> (Duration, SystemTime) {
        let lifetime = self.book.lock().lifetime;
        (lifetime, (self.now)() + lifetime)
    }

    /// A token is shown, with the id that goes with it where the protocol has one.
    pub(crate) fn show(&self, token: Option<&str>, id: Option<&str>) -> TokenVerdict {
        let mut book = self.book.lock();
        let verdict = match token.and_then(|token| book.given.get_mut(token)) {
            Some(given) if id.is_none_or(|id| id == given.id) => match &mut given.left {
                None => TokenVerdict::Good,
                Some(0) => TokenVerdict::Ended,
                Some(left) => {
                    *left -= 1;
                    TokenVerdict::Good
                }
            },
            _ => TokenVerdict::Unknown,
        };
        if verdict == TokenVerdict::Good {
            book.accepted += 1;
        } else {
            book.refused += 1;
        }
        verdict
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book.lock();
        f.debug_struct("Tokens")
            .field("given", &book.given.len())
            .field("asked", &book.asked)
            .field("accepted", &book.accepted)
            .field("refused", &book.refused)
            .finish_non_exhaustive()
    }
}
