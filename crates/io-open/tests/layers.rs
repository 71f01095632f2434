//! Which layers a stack has, in which order, and what of them is refused.

use forebay_io::layer::{AdaptiveLimit, BreakerPolicy};
use forebay_io::{Kind, Location, MemoryStore, Result, Store};
use forebay_io_open::{StoreOptions, open};
use std::sync::Arc;

const AZ: [(&str, &str); 2] = [("account_name", "acme"), ("account_key", "c2VjcmV0")];

fn stack(location: &str, pairs: &[(&str, &str)]) -> Result<Arc<dyn Store>> {
    let mut options = StoreOptions::parse(pairs.iter().copied())?;
    options.memory = Some(MemoryStore::new());
    open(&location.parse::<Location>()?, &options)
}

fn az(pairs: &[(&str, &str)]) -> String {
    let all: Vec<_> = AZ.iter().chain(pairs).copied().collect();
    format!("{:?}", stack("az://box/set", &all).unwrap())
}

/// The layers in the order in which an operation meets them.
fn in_order(text: &str, layers: &[&str]) {
    let mut at = 0;
    for layer in layers {
        let found = text[at..].find(layer);
        at += found.unwrap_or_else(|| panic!("{layer} is missing or misplaced in {text}")) + layer.len();
    }
}

fn refusal(location: &str, pairs: &[(&str, &str)]) -> String {
    let error = stack(location, pairs).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    error.to_string()
}

#[test]
fn a_service_has_retries_a_breaker_and_an_adaptive_limit_unless_none_is_said() {
    let text = az(&[]);
    in_order(&text, &["Retrying", "Limited", "Breaker", "64 of 1..=64"]);
    for layer in ["Hedged", "Balanced", "Deadline"] {
        assert!(!text.contains(layer), "{layer} was not asked for: {text}");
    }
    let bare = az(&[("retries", "0"), ("breaker_failures", "none"), ("adaptive_concurrency", "none")]);
    for layer in ["Retrying", "Limited", "Breaker"] {
        assert!(!bare.contains(layer), "{layer} was unwanted: {bare}");
    }
    let usual = BreakerPolicy::default();
    assert!(text.contains(&format!("{usual:?}")) && AdaptiveLimit::default().least.get() == 1);
}

#[test]
fn everything_is_where_it_should_be_and_as_it_was_said() {
    let text = az(&[
        ("endpoints", "http://127.0.0.1:1, http://127.0.0.1:2"),
        ("retries", "2"),
        ("retry_budget", "0.5"),
        ("retries_per_second", "3"),
        ("operation_timeout", "90s"),
        ("breaker_failures", "7"),
        ("breaker_cooldown", "3s"),
        ("adaptive_concurrency", "20"),
        ("hedge_quantile", "0.9"),
        ("hedge_min_delay", "8ms"),
        ("hedge_memory", "1MiB"),
    ]);
    let door = ["20 of 1..=20", "failures: 7, cooldown: 3s", "limit: 90s"];
    let above = ["Coalesced", "Limited", "Retrying", "Hedged", "Balanced", "Limited", "Breaker", "Deadline"];
    in_order(&text, &above);
    // Of a wrapper the store within is written first, so what was said stands in the other order.
    assert_eq!(door.map(|said| text.matches(said).count()), [2; 3], "each endpoint has its own: {text}");
    let said = ["quantile: 0.9, min_delay: 8ms, spare_bytes: 1048576", "per_success: 0.5, per_second: 3.0"];
    in_order(&text, &said);
    assert!(text.contains("concurrency: Some(128)"), "what waits, waits above the hedges: {text}");
}

#[test]
fn memory_can_have_the_layers_of_a_service() {
    let store = stack("mem://a/b", &[("hedge_quantile", "0.95"), ("breaker_failures", "3")]).unwrap();
    in_order(&format!("{store:?}"), &["Hedged", "Breaker", "MemoryStore"]);
    let store = stack("mem://a/b", &[]).unwrap();
    assert!(format!("{store:?}").starts_with("Coalesced { store: MemoryStore"));
}

#[test]
fn what_has_no_meaning_is_refused() {
    for (location, pairs, needle) in [
        ("file:///a", &[("breaker_failures", "3")][..], "file:// has no use for it"),
        ("file:///a", &[("hedge_quantile", "0.9")], "hedge_quantile is an option of mem://, s3://"),
        ("mem://a/b", &[("retry_budget", "0.1")], "no meaning without retries"),
        ("file:///a", &[("retry_budget", "0.1")], "file:// has no use for it"),
        ("mem://a/b", &[("endpoints", "http://a,http://b")], "mem:// has no use"),
        ("mem://a/b", &[("hedge_memory", "1MiB")], "no meaning without hedge_quantile"),
        ("mem://a/b", &[("breaker_cooldown", "1s")], "no meaning without breaker_failures"),
        ("mem://a/b", &[("hedge_quantile", "1")], "a number from 0.01 to 0.9999; it is \"1\", or none"),
        ("mem://a/b", &[("operation_timeout", "5")], "500ms"),
        ("az://box", &[("endpoints", "http://a, http://a")], "different words"),
        ("az://box", &[("endpoint", "http://a"), ("endpoints", "http://b")], "leave one of them out"),
        (
            "mem://a/b",
            &[("retries", "1"), ("retry_budget", "none"), ("retries_per_second", "1")],
            "without retry_budget",
        ),
    ] {
        let text = refusal(location, pairs);
        assert!(text.contains(needle), "{location} {pairs:?}: {text}");
    }
}
