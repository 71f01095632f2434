//! Which requests go wrong, and how: rules, drawn from a seed.

use super::fault::{At, Framing, HttpFault};
use super::message::Head;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// Which of the requests that match.
#[derive(Debug, Clone, PartialEq)]
enum When {
    Rate(f64),
    First(u64),
    Nth(u64),
}

/// One fault and the requests that it is given to. For [`HttpFault::Refuse`] read connection for request.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    fault: HttpFault,
    when: When,
    method: Option<String>,
    path: Option<String>,
    ranged: Option<bool>,
}

impl Rule {
    fn new(fault: HttpFault, when: When) -> Self {
        Rule { fault, when, method: None, path: None, ranged: None }
    }

    /// A share of all requests, from 0 to 1.
    pub fn rate(fault: HttpFault, rate: f64) -> Self {
        Rule::new(fault, When::Rate(rate))
    }

    /// Every request.
    pub fn always(fault: HttpFault) -> Self {
        Rule::new(fault, When::First(u64::MAX))
    }

    /// The first `count` requests that match.
    pub fn first(count: u64, fault: HttpFault) -> Self {
        Rule::new(fault, When::First(count))
    }

    /// The request that has so many matching ones before it: 0 is the first.
    pub fn nth(number: u64, fault: HttpFault) -> Self {
        Rule::new(fault, When::Nth(number))
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path and query, as they are sent, contain this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests with a range, or only those without.
    #[must_use]
    pub fn ranged(mut self, ranged: bool) -> Self {
        self.ranged = Some(ranged);
        self
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let Asked::Request(head) = asked else { return self.fault == HttpFault::Refuse };
        self.fault != HttpFault::Refuse
            && self.method.as_ref().is_none_or(|method| head.method() == method)
            && self.path.as_ref().is_none_or(|part| head.target().contains(part.as_str()))
            && self.ranged.is_none_or(|ranged| head.range().is_some() == ranged)
    }
}

/// Rules in the order in which they are asked: the first that hits is what happens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultPlan {
    rules: Vec<Rule>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        FaultPlan::default()
    }

    /// These rules.
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Self {
        FaultPlan { rules: rules.into_iter().collect() }
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        for rule in &self.rules {
            let rate = match rule.when {
                When::Rate(rate) if !(0.0..=1.0).contains(&rate) => {
                    Some(format!("{}: a rate must be from 0 to 1, is {rate}", rule.fault.name()))
                }
                _ => None,
            };
            if let Some(why) = rate.or_else(|| rule.fault.refused()) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Ok(())
    }
}

/// Shares by fault, such as `reset=0.01,503=0.02,truncate=0.01`. A number is a status; what breaks off does so
/// in the middle of the body, and stalls are of a second.
impl FromStr for FaultPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = |part: &str| {
            let form = || format!("`{part}`: must be FAULT=SHARE, such as reset=0.01");
            let (name, rate) = part.split_once('=').ok_or_else(form)?;
            let rate: f64 = rate.parse().map_err(|_| form())?;
            Ok::<_, String>(Rule::rate(named(name.trim())?, rate))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let plan = FaultPlan { rules: parts.map(rule).collect::<Result<_, _>>()? };
        plan.check().map_err(|error| error.to_string())?;
        Ok(plan)
    }
}

fn named(name: &str) -> Result<HttpFault, String> {
    let (middle, second) = (At::Share(0.5), Duration::from_secs(1));
    Ok(match name {
        "refuse" => HttpFault::Refuse,
        "reset" => HttpFault::Reset(middle),
        "truncate" => HttpFault::Truncate(middle, Framing::Length),
        "truncate-close" => HttpFault::Truncate(middle, Framing::Close),
        "truncate-chunked" => HttpFault::Truncate(middle, Framing::Chunked),
        "longer" => HttpFault::WrongLength(1),
        "shorter" => HttpFault::WrongLength(-1),
        "flip" => HttpFault::FlipByte,
        "stall" => HttpFault::Stall(None, second),
        "stall-inside" => HttpFault::Stall(Some(middle), second),
        "expired" => HttpFault::Expired,
        "replaced" => HttpFault::Replaced,
        status => match status.parse() {
            Ok(status @ 400..=599) => HttpFault::Status { status, code: None, retry_after: None },
            _ => {
                return Err(format!(
                    "`{status}`: no such fault; there are refuse, reset, truncate, truncate-close, \
                     truncate-chunked, longer, shorter, flip, stall, stall-inside, expired, replaced, and \
                     statuses from 400 to 599"
                ));
            }
        },
    })
}

/// What a fault may be drawn for.
pub(crate) enum Asked<'a> {
    Connection,
    Request(&'a Head),
}

/// A plan at work. Whether a rate hits is a pure function of the seed, the rule, the request (method, path,
/// range) and how often the same was asked before, so it does not depend on which of many concurrent
/// requests comes first.
#[derive(Debug)]
pub(crate) struct Draws {
    seed: u64,
    plan: FaultPlan,
    matched: Vec<u64>,
    visits: HashMap<[u8; 32], u64>,
}

impl Draws {
    pub(crate) fn new(plan: FaultPlan, seed: u64) -> Self {
        Draws { seed, matched: vec![0; plan.rules.len()], plan, visits: HashMap::new() }
    }

    /// What happens now, and where a byte is flipped if one is.
    pub(crate) fn draw(&mut self, asked: &Asked<'_>) -> (Option<HttpFault>, u64) {
        if self.plan.rules.is_empty() {
            return (None, 0);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        if let Asked::Request(head) = asked {
            for part in [head.method(), &unsigned(head.target()), head.range().unwrap_or_default()] {
                hasher.update(part.as_bytes()).update(b"\0");
            }
        }
        let visit = self.visits.entry(*hasher.finalize().as_bytes()).or_default();
        hasher.update(&visit.to_le_bytes());
        *visit += 1;
        let mut rng = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
        let noise = rng.random();
        let mut hit = None;
        for (rule, matched) in self.plan.rules.iter().zip(&mut self.matched) {
            let chance = rng.random::<f64>();
            if !rule.matches(asked) {
                continue;
            }
            let number = *matched;
            *matched += 1;
            let hits = match rule.when {
                When::Rate(rate) => chance < rate,
                When::First(count) => number < count,
                When::Nth(nth) => number == nth,
            };
            if hits && hit.is_none() {
                hit = Some(rule.fault.clone());
            }
        }
        (hit, noise)
    }
}

/// A target without what signing put there, which differs from run to run.
fn unsigned(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let signed = |pair: &&str| !pair.starts_with("X-Amz-") && !pair.starts_with("sig=");
    let query: Vec<_> = query.split('&').filter(signed).collect();
    format!("{path}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn get(path: &str) -> Head {
        Head::parse(Bytes::from(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"))).unwrap()
    }

    fn drawn(draws: &mut Draws, path: &str) -> Option<HttpFault> {
        draws.draw(&Asked::Request(&get(path))).0
    }

    #[test]
    fn a_rate_is_a_share_and_does_not_depend_on_the_order_of_requests() {
        let plan = FaultPlan::of([Rule::rate(HttpFault::FlipByte, 0.2)]);
        let mut forwards = Draws::new(plan.clone(), 1);
        let mut backwards = Draws::new(plan, 1);
        let one: Vec<_> = (0..5000).map(|i| drawn(&mut forwards, &i.to_string())).collect();
        let mut two: Vec<_> = (0..5000).rev().map(|i| drawn(&mut backwards, &i.to_string())).collect();
        two.reverse();
        assert_eq!(one, two);
        let share = one.iter().flatten().count() as f64 / 5000.0;
        assert!((share - 0.2).abs() < 0.02, "{share}");
    }

    #[test]
    fn the_same_request_is_drawn_for_anew_each_time_whatever_its_signature() {
        let plan = FaultPlan::of([Rule::rate(HttpFault::FlipByte, 0.5)]);
        let mut plain = Draws::new(plan.clone(), 1);
        let mut signed = Draws::new(plan, 1);
        let one: Vec<_> = (0..100).map(|_| drawn(&mut plain, "/k?a=1")).collect();
        let two: Vec<_> =
            (0..100).map(|i| drawn(&mut signed, &format!("/k?a=1&X-Amz-Signature={i}"))).collect();
        assert_eq!(one, two);
        assert!(one.contains(&None) && one.contains(&Some(HttpFault::FlipByte)));
    }

    #[test]
    fn rules_count_what_matches_them_and_the_first_that_hits_wins() {
        let plan = FaultPlan::of([
            Rule::nth(1, HttpFault::Expired).path("/a"),
            Rule::first(2, HttpFault::slow_down()),
            Rule::always(HttpFault::Refuse),
        ]);
        let mut draws = Draws::new(plan, 1);
        let names: Vec<_> =
            ["/a", "/a", "/b", "/a"].iter().map(|p| drawn(&mut draws, p).map(|f| f.name())).collect();
        assert_eq!(names, [Some("status 503".to_owned()), Some("expired".to_owned()), None, None]);
        assert_eq!(draws.draw(&Asked::Connection).0, Some(HttpFault::Refuse));
    }

    #[test]
    fn a_plan_may_be_written_down() {
        let plan: FaultPlan = "reset=0.01, 503=0.02".parse().unwrap();
        let slow_down = Rule::rate(HttpFault::slow_down(), 0.02);
        assert_eq!(plan, FaultPlan::of([Rule::rate(HttpFault::Reset(At::Share(0.5)), 0.01), slow_down]));
        assert_eq!("".parse(), Ok(FaultPlan::none()));
        for (text, part) in
            [("rest=0.1", "`rest`"), ("reset", "FAULT=SHARE"), ("200=0.1", "`200`"), ("flip=3", "3")]
        {
            let error = text.parse::<FaultPlan>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let trickle = HttpFault::Trickle { piece: 0, every: Duration::ZERO };
        for (rule, text) in [
            (Rule::rate(HttpFault::FlipByte, 1.5), "1.5"),
            (Rule::rate(HttpFault::FlipByte, f64::NAN), "NaN"),
            (Rule::always(HttpFault::Reset(At::Share(-0.5))), "-0.5"),
            (Rule::always(trickle), "0 bytes"),
        ] {
            let error = FaultPlan::of([rule]).check().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
