//! Credentials from a callable of the user: the one place where code of ours calls Python from a thread that
//! Python did not make.
//!
//! It is called when a store needs credentials that it does not have or that are about to end, never once a
//! request, on a thread that may wait for the interpreter's lock. Its answer:
//!
//! * for Azure a token as text, or a dict with `token` or `sas_token`;
//! * for S3 a dict with `access_key_id`, `secret_access_key` and perhaps `session_token`;
//!
//! and in a dict `expires_in`, the seconds for which it is good. What it raises, and an answer of another form, fails
//! the reads that wait.

// The edge where the clock is read for the stores.
#![allow(clippy::disallowed_methods)]

use forebay_io::{Error, Kind, Operation, Retry};
use forebay_io_open::{CredentialProvider, Credentials, Issued, Secret, StoreOptions, Token, TokenSource};
use futures::future::BoxFuture;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyMapping, PyString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest that credentials can be said to be good for, in seconds: a century.
const LONGEST: f64 = 3.2e9;

/// A callable. Two are equal if they are the same object.
#[derive(Clone)]
pub(crate) struct Callable(Arc<Py<PyAny>>);

impl Callable {
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if !object.is_callable() {
            let kind = object.get_type();
            return Err(PyTypeError::new_err(format!("credentials must be callable or None, is {kind}")));
        }
        if object.py().import("inspect")?.call_method1("iscoroutinefunction", (object,))?.is_truthy()? {
            let context = "credentials must be a plain function, is a coroutine function: it is called on a thread \
                           that may wait, and nobody would await its answer";
            return Err(PyTypeError::new_err(context));
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
        read: impl FnOnce(&Bound<'_, PyAny>) -> Result<T, Wrong> + Send + 'static,
    ) -> forebay_io::Result<T> {
        let callable = self.0.clone();
        let failed = |what: String, retry| {
            let context = format!("the callable for credentials {what}");
            Err(Error::new(Kind::Denied, Operation::Configure, context).with_retry(retry))
        };
        let asked = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| match callable.bind(py).call0() {
                Ok(answer) => read(&answer),
                Err(raised) => Err(raised.into()),
            })
        });
        match asked.await {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(Wrong::Raised(class)))) => failed(format!("raised {class}"), Retry::Backoff),
            Ok(Some(Err(Wrong::Answer(what)))) => failed(what, Retry::Never),
            Ok(None) => failed("cannot be called: the interpreter is at its end".to_owned(), Retry::Never),
            Err(lost) => failed(format!("was lost: {lost}"), Retry::Never),
        }
    }
}

/// Why there are no credentials. Neither shows a value, which may be a secret.
enum Wrong {
    /// The class of what it raised. The text of an exception may repeat what was sent to whoever hands out credentials.
    Raised(String),
    /// What is wrong with its answer.
    Answer(String),
}

impl From<PyErr> for Wrong {
    fn from(raised: PyErr) -> Self {
        Python::attach(|py| Wrong::Raised(raised.get_type(py).to_string()))
    }
}

impl TokenSource for Callable {
    fn issue(&self) -> BoxFuture<'_, forebay_io::Result<Issued>> {
        Box::pin(self.ask(|answer| {
            if let Ok(text) = answer.cast::<PyString>() {
                return Ok(Issued { token: Token::Bearer(secret(text)), good_for: None });
            }
            let fields = Fields::read(answer, "a token as str or a dict", &["token", "sas_token"])?;
            let token = match (fields.secret("token")?, fields.secret("sas_token")?) {
                (Some(token), None) => Token::Bearer(token),
                (None, Some(signature)) => Token::Sas(signature),
                (None, None) => return Err(Wrong::Answer("answered neither token nor sas_token".to_owned())),
                (Some(_), Some(_)) => {
                    return Err(Wrong::Answer("answered both token and sas_token; one is wanted".to_owned()));
                }
            };
            Ok(Issued { token, good_for: fields.good_for()? })
        }))
    }
}

impl CredentialProvider for Callable {
    fn credentials(&self) -> BoxFuture<'_, forebay_io::Result<Credentials>> {
        Box::pin(self.ask(|answer| {
            let keys = ["access_key_id", "secret_access_key", "session_token"];
            let fields = Fields::read(answer, "a dict", &keys)?;
            let need = |name: &str| {
                let missing = || Wrong::Answer(format!("answered a dict without {name}"));
                fields.secret(name)?.ok_or_else(missing)
            };
            Ok(Credentials {
                access_key_id: need("access_key_id")?.expose().to_owned(),
                secret_access_key: need("secret_access_key")?,
                session_token: fields.secret("session_token")?,
                expires: fields.good_for()?.map(|good| SystemTime::now() + good),
            })
        }))
    }
}

/// What it answered as a dict, whose keys are all known.
struct Fields<'a, 'py>(&'a Bound<'py, PyMapping>);

const EXPIRES_IN: &str = "expires_in";

impl<'a, 'py> Fields<'a, 'py> {
    /// `keys` may be there, and `expires_in`.
    fn read(answer: &'a Bound<'py, PyAny>, wanted: &str, keys: &[&str]) -> Result<Self, Wrong> {
        let Ok(fields) = answer.cast::<PyMapping>() else {
            let kind = kind(answer)?;
            return Err(Wrong::Answer(format!("answered a value of type {kind}, where {wanted} is wanted")));
        };
        for key in fields.keys()? {
            let known =
                key.cast::<PyString>().is_ok_and(|key| key == EXPIRES_IN || keys.iter().any(|k| key == k));
            if !known {
                let valid = keys.join(", ");
                return Err(Wrong::Answer(format!(
                    "answered a dict with the key {key:?}, which means nothing; valid: {valid}, {EXPIRES_IN}"
                )));
            }
        }
        Ok(Fields(fields))
    }

    /// None where it is absent or None.
    fn value(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.0.contains(name)? {
            return Ok(None);
        }
        let value = self.0.get_item(name)?;
        Ok(Some(value).filter(|value| !value.is_none()))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, Wrong> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        match value.cast::<PyString>() {
            Ok(text) if text.len()? > 0 => Ok(Some(secret(text))),
            Ok(_) => Err(Wrong::Answer(format!("answered an empty {name}"))),
            Err(_) => {
                Err(Wrong::Answer(format!("answered {name} of type {}, where str is wanted", kind(&value)?)))
            }
        }
    }

    /// How long they are good; None is for ever.
    fn good_for(&self) -> Result<Option<Duration>, Wrong> {
        let Some(value) = self.value(EXPIRES_IN)? else { return Ok(None) };
        let seconds = match value.extract::<f64>() {
            Ok(seconds) if !value.is_instance_of::<PyBool>() => seconds,
            _ => {
                let kind = kind(&value)?;
                return Err(Wrong::Answer(format!(
                    "answered {EXPIRES_IN} of type {kind}, where a number of seconds is wanted"
                )));
            }
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(good) if !good.is_zero() && seconds <= LONGEST => Ok(Some(good)),
            _ => Err(Wrong::Answer(format!(
                "answered {EXPIRES_IN} of {seconds}, where seconds above 0 and up to {LONGEST} are wanted"
            ))),
        }
    }
}

fn kind(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value.get_type().name()?.to_string())
}

fn secret(text: &Bound<'_, PyString>) -> Secret {
    Secret::new(text.to_string_lossy().into_owned())
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
