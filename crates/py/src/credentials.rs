//! Credentials from a callable of the user: the one place where code of ours calls Python from a thread that
//! Python did not make.
//!
//! It is called when a store needs credentials that it does not have or that are about to end, never once a
//! request, on a thread that may wait for the interpreter's lock. Its answer:
//!
//! * for Azure a token as text, or a dict with `token` or `sas_token`;
//! * for S3 a dict with `access_key_id`, `secret_access_key` and perhaps `session_token`;
//!
//! and in a dict `expires_in`, the seconds for which it is good. What it raises fails the reads that wait.

// The edge where the clock is read for the stores.
#![allow(clippy::disallowed_methods)]

use forebay_io::{Error, Kind, Operation, Result, Retry};
use forebay_io_open::{CredentialProvider, Credentials, Issued, Secret, StoreOptions, Token, TokenSource};
use futures::future::BoxFuture;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A callable. Two are equal if they are the same object.
#[derive(Clone)]
pub(crate) struct Callable(Arc<Py<PyAny>>);

impl Callable {
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if !object.is_callable() {
            let kind = object.get_type();
            return Err(PyTypeError::new_err(format!("credentials must be callable or None, is {kind}")));
        }
        Ok(Callable(Arc::new(object.clone().unbind())))
    }

    /// Lets a store ask it.
    pub(crate) fn give_to(&self, options: StoreOptions) -> StoreOptions {
        options.with_az_tokens(Arc::new(self.clone())).with_s3_credentials(Arc::new(self.clone()))
    }

    /// The object, for pickling and for showing the options.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.bind(py)
    }

    /// Calls it on a thread that may block, and reads its answer there, with the interpreter's lock.
    async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> Result<T> {
        let callable = self.0.clone();
        let failed = |what: String, retry| {
            let context = format!("the callable for credentials {what}");
            Err(Error::new(Kind::Denied, Operation::Configure, context).with_retry(retry))
        };
        let asked = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| {
                let answer = callable.bind(py).call0().and_then(|answer| read(&answer));
                // The text of an exception may repeat what was sent to whoever hands out credentials, and so may
                // not be shown; its class may.
                answer.map_err(|raised| raised.get_type(py).to_string())
            })
        });
        match asked.await {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(class))) => failed(format!("raised {class}"), Retry::Backoff),
            Ok(None) => failed("cannot be called: the interpreter is at its end".to_owned(), Retry::Never),
            Err(lost) => failed(format!("was lost: {lost}"), Retry::Never),
        }
    }
}

impl TokenSource for Callable {
    fn issue(&self) -> BoxFuture<'_, Result<Issued>> {
        Box::pin(self.ask(|answer| {
            if let Ok(text) = answer.cast::<PyString>() {
                return Ok(Issued { token: Token::Bearer(secret(text)), good_for: None });
            }
            let fields = dict(answer, "a token as str, or a dict")?;
            let token = match (field(fields, "token")?, field(fields, "sas_token")?) {
                (Some(token), None) => Token::Bearer(token),
                (None, Some(signature)) => Token::Sas(signature),
                _ => return Err(PyTypeError::new_err("either token or sas_token")),
            };
            Ok(Issued { token, good_for: good_for(fields)? })
        }))
    }
}

impl CredentialProvider for Callable {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials>> {
        Box::pin(self.ask(|answer| {
            let fields = dict(answer, "a dict")?;
            let need = |name: &str| {
                let missing = || PyTypeError::new_err(format!("{name} is missing"));
                field(fields, name)?.ok_or_else(missing)
            };
            Ok(Credentials {
                access_key_id: need("access_key_id")?.expose().to_owned(),
                secret_access_key: need("secret_access_key")?,
                session_token: field(fields, "session_token")?,
                expires: good_for(fields)?.map(|good| SystemTime::now() + good),
            })
        }))
    }
}

fn dict<'a, 'py>(answer: &'a Bound<'py, PyAny>, wanted: &str) -> PyResult<&'a Bound<'py, PyMapping>> {
    answer.cast::<PyMapping>().map_err(|_| PyTypeError::new_err(format!("{wanted} is wanted")))
}

fn secret(text: &Bound<'_, PyString>) -> Secret {
    Secret::new(text.to_string_lossy().into_owned())
}

fn field(fields: &Bound<'_, PyMapping>, name: &str) -> PyResult<Option<Secret>> {
    if !fields.contains(name)? {
        return Ok(None);
    }
    let value = fields.get_item(name)?;
    if value.is_none() { Ok(None) } else { Ok(Some(secret(value.cast::<PyString>()?))) }
}

fn good_for(fields: &Bound<'_, PyMapping>) -> PyResult<Option<Duration>> {
    if !fields.contains("expires_in")? {
        return Ok(None);
    }
    let seconds: f64 = fields.get_item("expires_in")?.extract()?;
    // What is past or no number is asked for again at once.
    Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

impl PartialEq for Callable {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(&*other.0)
    }
}

impl Eq for Callable {}

impl Hash for Callable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ptr().hash(state);
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a callable")
    }
}
