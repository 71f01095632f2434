//! What somebody who mistyped a name most likely meant.

/// The known name closest to `given`, if one is close enough for a slip of the fingers: a third of its
/// letters, and at least one.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `nearest` as a part of a sentence.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known).map(|name| format!("did you mean {name}? ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        assert_eq!(nearest("thraeds", ["threads", "retries"]), Some("threads"));
        assert_eq!(nearest("flie", ["file", "mem"]), Some("file"));
        assert_eq!(nearest("gs", ["file", "mem"]), None);
        assert_eq!(did_you_mean("retry_count", ["threads", "retries"]), "");
    }
}
