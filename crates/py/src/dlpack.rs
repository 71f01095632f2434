//! DLPack: how a batch becomes a tensor of NumPy, PyTorch, JAX and others without a copy.
//!
//! The layout of the structures is that of `dlpack.h` 1.0, in the older form (capsule `dltensor`) and
//! the versioned one. The memory is shared through an `Arc`, not through a Python object, so that
//! whoever drops a tensor need not hold the interpreter's lock.

use crate::batch::Contents;
use crate::buffer::Exported;
use forebay_io::SLOT_ALIGN;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// `kDLCPU` and the number of the device: all that we export.
pub(crate) const CPU: (i32, i32) = (1, 0);

const UINT: u8 = 1;
const FLAG_IS_COPIED: u64 = 1 << 1;

#[repr(C)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

type Deleter<M> = unsafe extern "C" fn(*mut M);

/// `DLManagedTensor`.
#[repr(C)]
struct Managed {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Deleter<Managed>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Deleter<ManagedVersioned>,
    flags: u64,
    tensor: Tensor,
}

/// One of the two forms.
trait Form: Sized {
    /// The capsule's name until somebody takes the tensor out of it.
    const NAME: &'static CStr;

    fn new(tensor: Tensor, flags: u64) -> Self;

    fn tensor(&mut self) -> &mut Tensor;
}

impl Form for Managed {
    const NAME: &'static CStr = c"dltensor";

    fn new(tensor: Tensor, _: u64) -> Self {
        Managed { tensor, context: std::ptr::null_mut(), deleter: delete::<Self> }
    }

    fn tensor(&mut self) -> &mut Tensor {
        &mut self.tensor
    }
}

impl Form for ManagedVersioned {
    const NAME: &'static CStr = c"dltensor_versioned";

    fn new(tensor: Tensor, flags: u64) -> Self {
        let deleter = delete::<Self>;
        ManagedVersioned { major: 1, minor: 0, context: std::ptr::null_mut(), deleter, flags, tensor }
    }

    fn tensor(&mut self) -> &mut Tensor {
        &mut self.tensor
    }
}

/// A tensor and all that it points to. `managed` comes first: its address is that of the whole.
#[repr(C)]
struct Owned<M> {
    managed: M,
    shape: [i64; 1],
    strides: [i64; 1],
    _memory: Memory,
}

/// Memory with the alignment that batches have.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; SLOT_ALIGN]);

/// What keeps the bytes.
enum Memory {
    Shared { _batch: Arc<Contents> },
    Copied { _lines: Box<[Line]> },
}

/// What a consumer asked `__dlpack__` for.
pub(crate) struct Wanted {
    /// It understands the versioned form.
    pub(crate) versioned: bool,
    /// It wants memory of its own.
    pub(crate) copy: bool,
}

/// A capsule with the whole buffer as a tensor of bytes of one dimension.
///
/// The tensor may be written: a batch belongs to its consumer alone, and nothing in Rust reads the
/// bytes of a batch that was delivered.
pub(crate) fn capsule<'py>(
    py: Python<'py>,
    contents: &Arc<Contents>,
    shown: &Exported,
    wanted: &Wanted,
) -> PyResult<Bound<'py, PyCapsule>> {
    let (data, memory) = if wanted.copy {
        let mut lines = vec![Line([0; SLOT_ALIGN]); shown.len().div_ceil(SLOT_ALIGN)].into_boxed_slice();
        let to = lines.as_mut_ptr().cast::<u8>();
        // SAFETY: `to` has room for the bytes, rounded up; the two do not overlap, since one was just
        // allocated. The source is alive: `contents` holds it.
        unsafe { to.copy_from_nonoverlapping(shown.start(), shown.len()) };
        (to, Memory::Copied { _lines: lines })
    } else {
        (shown.start().cast_mut(), Memory::Shared { _batch: contents.clone() })
    };
    if wanted.versioned {
        wrap::<ManagedVersioned>(py, data, shown.len(), memory)
    } else {
        wrap::<Managed>(py, data, shown.len(), memory)
    }
}

fn wrap<'py, M: Form>(
    py: Python<'py>,
    data: *mut u8,
    len: usize,
    memory: Memory,
) -> PyResult<Bound<'py, PyCapsule>> {
    let flags = if matches!(memory, Memory::Copied { .. }) { FLAG_IS_COPIED } else { 0 };
    let tensor = Tensor {
        data: data.cast(),
        device: Device { kind: CPU.0, id: CPU.1 },
        ndim: 1,
        dtype: DataType { code: UINT, bits: 8, lanes: 1 },
        shape: std::ptr::null_mut(),
        strides: std::ptr::null_mut(),
        byte_offset: 0,
    };
    let len = i64::try_from(len).map_err(|_| PyBufferError::new_err("larger than a tensor can be"))?;
    let managed = M::new(tensor, flags);
    let whole = Box::into_raw(Box::new(Owned { managed, shape: [len], strides: [1], _memory: memory }));
    // SAFETY: just allocated, not null, and nobody else has it yet.
    unsafe {
        let (shape, strides) = ((*whole).shape.as_mut_ptr(), (*whole).strides.as_mut_ptr());
        let tensor = (*whole).managed.tensor();
        (tensor.shape, tensor.strides) = (shape, strides);
    }
    // SAFETY: a box is never null. The destructor frees the tensor unless a consumer took it, who has
    // then renamed the capsule and calls the deleter himself. All of `Owned` may be dropped on any thread.
    let made = unsafe {
        let pointer = NonNull::new_unchecked(whole.cast::<c_void>());
        PyCapsule::new_with_pointer_and_destructor(py, pointer, M::NAME, Some(unused::<M>))
    };
    if made.is_err() {
        // SAFETY: no capsule was made, so it is still ours alone.
        drop(unsafe { Box::from_raw(whole) });
    }
    made
}

/// Called by the consumer who is done with the tensor, on any thread.
unsafe extern "C" fn delete<M>(managed: *mut M) {
    // SAFETY: by the protocol called once, with the address that `wrap` gave out: that of an `Owned<M>`,
    // whose first field it is.
    drop(unsafe { Box::from_raw(managed.cast::<Owned<M>>()) });
}

/// Called when a capsule goes away.
unsafe extern "C" fn unused<M: Form>(capsule: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this with a capsule that `wrap` made. It has its first name only
    // while no consumer has taken the tensor; the pointer is then still ours.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) == 1 {
            delete::<M>(ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()).cast());
        }
    }
}
