//! The command line as a trace may show it: options of stores may be keys, and places may carry signatures.

use std::ffi::OsString;

/// What stands for something that is not shown.
const HIDDEN: &str = "…";

/// The words, without the values of stores' options, without queries and without what stands before `@` in a URI.
pub(crate) fn without_secrets<'a>(words: impl Iterator<Item = &'a OsString>) -> Vec<String> {
    let mut option_of_a_store = false;
    words
        .map(|word| {
            let word = word.to_string_lossy();
            if std::mem::replace(&mut option_of_a_store, word == "--store") {
                return key_alone(&word);
            }
            match word.strip_prefix("--store=") {
                Some(pair) => format!("--store={}", key_alone(pair)),
                None => place_alone(&word),
            }
        })
        .collect()
}

/// Of `KEY=VALUE`, where a value may hold `=` itself, as keys in base 64 and connection strings do.
fn key_alone(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key, _)) => format!("{key}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    }
}

/// Of a word that may have a URI in it.
fn place_alone(word: &str) -> String {
    let Some((before, after)) = word.split_once("://") else { return word.to_owned() };
    let (place, hidden_query) = match after.split_once('?') {
        Some((place, _)) => (place, HIDDEN),
        None => (after, ""),
    };
    match place.rsplit_once('@') {
        Some((_, rest)) => format!("{before}://{HIDDEN}@{rest}{hidden_query}"),
        None => format!("{before}://{place}{hidden_query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        without_secrets(words.iter())
    }

    #[test]
    fn values_of_stores_options_are_hidden_whatever_they_hold() {
        for pair in [
            "account_key=aHVzaA==",
            "connection_string=AccountName=a;AccountKey=aHVzaA==;EndpointSuffix=x",
            "sas_token=sig=aHVzaA%3D&sv=1",
            "secret_access_key=aHVzaA=tail",
            "proxy=http://u:aHVzaA@h",
        ] {
            let key = pair.split('=').next().unwrap();
            assert_eq!(
                shown(&["--store", pair, "x"]),
                ["--store".to_owned(), format!("{key}=…"), "x".to_owned()]
            );
            assert_eq!(shown(&[&format!("--store={pair}")]), [format!("--store={key}=…")]);
        }
        assert_eq!(shown(&["--store", "aHVzaA"]), ["--store", "…"]);
    }

    #[test]
    fn of_a_uri_only_the_place_is_shown() {
        for (word, seen) in [
            ("s3://AK:hush@bucket/x", "s3://…@bucket/x"),
            ("https://h/c/k?sv=1&sig=hush", "https://h/c/k…"),
            ("--map=s3://AK:hu/sh@b=file:///x", "--map=s3://…@b=file:///x"),
            ("s3://bucket/a", "s3://bucket/a"),
        ] {
            assert_eq!(shown(&[word]), [seen], "{word}");
        }
    }

    #[test]
    fn other_words_stand_as_they_are() {
        assert_eq!(shown(&["ls", "a@b", "--glob", "?.bin", "x=y"]), ["ls", "a@b", "--glob", "?.bin", "x=y"]);
    }
}
