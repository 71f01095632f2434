//! A token as it goes with a request.

use crate::account::query_value;
use forebay_io::{Kind, Result};
use forebay_io_object::{Failure, Secret};
use percent_encoding::percent_decode_str;
use std::time::Instant;

/// A token as it is sent, and when it is renewed.
pub(crate) struct Pass {
    pub(crate) form: Form,
    pub(crate) until: Option<Instant>,
}

/// Where a token goes.
pub(crate) enum Form {
    /// The value of `Authorization`.
    Field(Secret),
    /// A part of the query.
    Query(Secret),
}

impl Pass {
    /// One that does not end.
    pub(crate) fn lasting(form: Form) -> Self {
        Pass { form, until: None }
    }

    /// Which of them it is, in words.
    pub(crate) fn what(&self) -> &'static str {
        match self.form {
            Form::Field(_) => "bearer token",
            Form::Query(_) => "shared access signature",
        }
    }
}

impl Form {
    pub(crate) fn bearer(token: &Secret) -> Self {
        Form::Field(Secret::from(format!("Bearer {}", token.expose().trim())))
    }

    /// A signature, whether it came escaped or not.
    ///
    /// # Errors
    /// `InvalidConfig`, without showing it, for what is no query.
    pub(crate) fn signature(sas: &Secret) -> Result<Self, Failure> {
        let mut query = String::with_capacity(sas.expose().len());
        for pair in sas.expose().trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
            let wrong =
                || Failure::new(Kind::InvalidConfig, "the shared access signature is not a query string");
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong())?;
            for part in [if query.is_empty() { "" } else { "&" }, name, "=", &query_value(&value)] {
                query.push_str(part);
            }
        }
        Ok(Form::Query(Secret::from(query)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_that_is_no_query_is_refused_without_showing_it() {
        let failure = Form::signature(&Secret::from("hush")).err().unwrap();
        assert!(failure.kind == Kind::InvalidConfig && !failure.said.contains("hush"), "{failure:?}");
    }
}
