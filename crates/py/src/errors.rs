//! The exceptions, and which one an error becomes. The only place where the two meet.
//!
//! Each kind of error has a class, which also inherits the built-in class that people would catch
//! for it. Instances carry `kind`, `location`, `operation` and `retryable`; the classes carry their
//! own kind, so that the attributes are there on instances that Python code makes.

use forebay_io::{Error, Kind, Retry};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// One exception class beneath `forebay.Error`.
struct Class {
    name: &'static str,
    /// `None`: raised by this package alone.
    kind: Option<Kind>,
    /// Built-in classes beside `forebay.Error`.
    also: &'static [&'static str],
    /// For classes beneath `OSError` that have one.
    errno: Option<i32>,
    doc: &'static str,
}

const FORKED: &str = "ForkedError";

const CLASSES: &[Class] = &[
    Class {
        name: "NotFoundError",
        kind: Some(Kind::NotFound),
        also: &["FileNotFoundError"],
        errno: Some(libc::ENOENT),
        doc: "Nothing is stored at the location.",
    },
    Class {
        name: "AlreadyExistsError",
        kind: Some(Kind::AlreadyExists),
        also: &["FileExistsError"],
        errno: Some(libc::EEXIST),
        doc: "Something is stored at the location and the call asked for that not to be so.",
    },
    Class {
        name: "DeniedError",
        kind: Some(Kind::Denied),
        also: &["PermissionError"],
        errno: Some(libc::EACCES),
        doc: "The caller may not do this here.",
    },
    Class {
        name: "PreconditionError",
        kind: Some(Kind::Precondition),
        also: &[],
        errno: None,
        doc: "The object or dataset is not the one that was named, or changed while it was read.",
    },
    Class {
        name: "InvalidRangeError",
        kind: Some(Kind::InvalidRange),
        also: &["ValueError"],
        errno: None,
        doc: "The range is not inside the object, or the object is larger than what may hold it.",
    },
    Class {
        name: "InvalidConfigError",
        kind: Some(Kind::InvalidConfig),
        also: &["ValueError"],
        errno: None,
        doc: "A location, option or value that cannot be honoured.",
    },
    Class {
        name: "UnsupportedError",
        kind: Some(Kind::Unsupported),
        also: &["ValueError"],
        errno: None,
        doc: "The store cannot do this at all.",
    },
    Class {
        name: "ThrottledError",
        kind: Some(Kind::Throttled),
        also: &["OSError"],
        errno: None,
        doc: "The service asks for fewer requests.",
    },
    Class {
        name: "UnavailableError",
        kind: Some(Kind::Unavailable),
        also: &["OSError"],
        errno: None,
        doc: "The service or device failed in a way that may pass.",
    },
    Class {
        name: "TimedOutError",
        kind: Some(Kind::TimedOut),
        also: &["TimeoutError"],
        errno: Some(libc::ETIMEDOUT),
        doc: "A deadline passed.",
    },
    Class {
        name: "CorruptError",
        kind: Some(Kind::Corrupt),
        also: &["OSError"],
        errno: None,
        doc: "Bytes are not what they should be.",
    },
    Class {
        name: "CancelledError",
        kind: Some(Kind::Cancelled),
        also: &[],
        errno: None,
        doc: "The operation was given up.",
    },
    Class {
        name: FORKED,
        kind: None,
        also: &["RuntimeError"],
        errno: None,
        doc: "The object belongs to the process that this one was forked from.",
    },
];

const BASE_DOC: &str = "Base of every error that Forebay raises.\n\n\
    kind: what a caller would do about it, such as \"not_found\".\n\
    location: the URI concerned, or None.\n\
    operation: what was being done, such as \"get\", or None.\n\
    retryable: whether the same call may succeed later.";

/// The classes, in the order of [`CLASSES`].
static TYPES: PyOnceLock<Vec<Py<PyType>>> = PyOnceLock::new();

/// Makes the classes and adds them to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let builtins = py.import("builtins")?;
    let exception = builtins.getattr("Exception")?;
    let base = new_type(py, "Error", vec![exception], BASE_DOC, |members| {
        members.set_item("kind", py.None())?;
        members.set_item("location", py.None())?;
        members.set_item("operation", py.None())?;
        members.set_item("retryable", false)
    })?;
    module.add("Error", &base)?;
    let mut types = Vec::with_capacity(CLASSES.len());
    for class in CLASSES {
        let mut bases = vec![base.clone()];
        for name in class.also {
            bases.push(builtins.getattr(*name)?);
        }
        let made = new_type(py, class.name, bases, class.doc, |members| {
            members.set_item("kind", class.kind.map_or("forked", Kind::name))?;
            members.set_item("retryable", class.kind.is_some_and(|k| k.default_retry() != Retry::Never))?;
            match class.errno {
                // On the class, where it survives pickling and leaves the text alone.
                Some(errno) => members.set_item("errno", errno),
                None => Ok(()),
            }
        })?;
        module.add(class.name, &made)?;
        types.push(made.cast_into::<PyType>()?.unbind());
    }
    // A second import of the module finds the classes of the first.
    let _ = TYPES.set(py, types);
    Ok(())
}

fn new_type<'py>(
    py: Python<'py>,
    name: &str,
    bases: Vec<Bound<'py, PyAny>>,
    doc: &str,
    fill: impl FnOnce(&Bound<'py, PyDict>) -> PyResult<()>,
) -> PyResult<Bound<'py, PyAny>> {
    let members = PyDict::new(py);
    // Where people import it from, and where pickle finds it.
    members.set_item("__module__", "forebay")?;
    members.set_item("__doc__", doc)?;
    fill(&members)?;
    py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, members))
}

fn class<'py>(py: Python<'py>, wanted: impl Fn(&Class) -> bool) -> Option<&'py Bound<'py, PyType>> {
    let index = CLASSES.iter().position(wanted)?;
    Some(TYPES.get(py)?.get(index)?.bind(py))
}

/// The exception that an error becomes.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let make = || -> PyResult<Bound<'_, PyAny>> {
        // A kind that was added to `forebay_io` and not here.
        let class = class(py, |c| c.kind == Some(error.kind()))
            .ok_or_else(|| pyo3::exceptions::PySystemError::new_err(format!("no class for: {error}")))?;
        let raised = class.call1((error.to_string(),))?;
        raised.setattr("location", error.location().map(ToString::to_string))?;
        raised.setattr("operation", error.operation().name())?;
        raised.setattr("retryable", error.retry() != Retry::Never)?;
        Ok(raised)
    };
    make().map_or_else(|error| error, PyErr::from_value)
}

/// The exception for what a forked child cannot use. `what` begins the sentence.
pub(crate) fn forked(py: Python<'_>, what: &str) -> PyErr {
    let text = format!(
        "{what} belongs to the process that this one was forked from, where the threads that feed it are; \
         iterate the loader anew in this process"
    );
    match class(py, |c| c.name == FORKED).map(|class| class.call1((text,))) {
        Some(raised) => raised.map_or_else(|error| error, PyErr::from_value),
        None => pyo3::exceptions::PySystemError::new_err("the exceptions of forebay were not made"),
    }
}
