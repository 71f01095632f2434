//! NPY: an array behind a header that says its type and shape (NumPy, `numpy/lib/format.py`). A sample is a
//! row: the array's first axis counts the samples.

use super::shard_bytes::ShardBytes;
use crate::strides::Stride;
use forebay_io::Result;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// NumPy itself takes no longer headers unless told to.
const LONGEST_HEADER: u64 = 1 << 16;

/// The type and shape of every sample of a dataset of arrays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayMeta {
    /// NumPy's name of the type of an element, such as `<f4` (little-endian float of 4 bytes).
    pub dtype: String,
    /// The shape of a sample: the shape of the array without its first axis. Empty for numbers.
    pub shape: Vec<u64>,
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    dtype: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Where the rows are of an array that lies at `begin..end` of a shard.
///
/// # Errors
/// `Corrupt` if it is not an array, or of another length than its header says; `Unsupported` if its rows are
/// not contiguous, or not bytes.
pub(crate) async fn rows(shard: &mut ShardBytes<'_>, begin: u64, end: u64) -> Result<(Stride, ArrayMeta)> {
    let start = shard.bytes(begin, 10.min(end - begin), "the beginning of an array").await?.to_vec();
    if start.len() < 10 || !start.starts_with(MAGIC) {
        return Err(shard.corrupt(begin, "expected an array in NPY format (\\x93NUMPY)"));
    }
    let (at, len) = match start[6] {
        1 => (begin + 10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        2 | 3 => {
            let len = shard.bytes(begin + 8, 4, "the length of a header").await?;
            (begin + 12, u64::from(u32::from_le_bytes(len.try_into().expect("4 bytes"))))
        }
        other => {
            return Err(shard.corrupt(begin + 6, format!("expected NPY version 1, 2 or 3, found {other}")));
        }
    };
    if len > LONGEST_HEADER || at + len > end {
        return Err(
            shard.corrupt(at, format!("expected a header of at most {LONGEST_HEADER} bytes, found {len}"))
        );
    }
    let text = String::from_utf8_lossy(shard.bytes(at, len, "the header of an array").await?).into_owned();
    if text.contains("'descr': [") {
        let why = "its elements have fields (a structured type); save each field as an array of its own";
        return Err(shard.unsupported(why));
    }
    let Header { dtype, fortran_order, shape } = Header::parse(&text)
        .map_err(|why| shard.corrupt(at, format!("{why} in the header {:?}", text.trim())))?;
    let Some(item) = item_bytes(&dtype) else {
        return Err(shard.unsupported(format!(
            "its elements are of type {dtype:?}; those of numbers, booleans, times, bytes and text can be read"
        )));
    };
    let Some((&count, row)) = shape.split_first() else {
        return Err(shard.unsupported("the array has no axis, so there is nothing to count samples by"));
    };
    // In column order a row is scattered, unless all other axes are trivial.
    if fortran_order && shape.iter().filter(|&&n| n != 1).count() > 1 {
        return Err(shard.unsupported(
            "the array is in Fortran order, so its rows are not contiguous; save it with np.ascontiguousarray",
        ));
    }
    let data = at + len;
    let bytes = row.iter().try_fold(item, |bytes, &n| bytes.checked_mul(n));
    let whole = bytes.and_then(|bytes| bytes.checked_mul(count)).and_then(|all| all.checked_add(data));
    match (bytes, whole) {
        (Some(bytes), Some(whole)) if whole == end => {
            Ok((Stride { offset: data, bytes, count }, ArrayMeta { dtype, shape: row.to_vec() }))
        }
        _ => Err(shard.corrupt(
            data,
            format!("expected the data of shape {shape:?} and type {dtype:?}, found {} bytes", end - data),
        )),
    }
}

/// Bytes of an element; none for types whose elements lie elsewhere (objects) or have fields.
fn item_bytes(dtype: &str) -> Option<u64> {
    let rest = dtype.strip_prefix(['<', '>', '|', '='])?;
    let kind = rest.chars().next()?;
    let digits = rest[kind.len_utf8()..].split('[').next()?;
    let number: u64 = digits.parse().ok()?;
    match kind {
        'b' | 'i' | 'u' | 'f' | 'c' | 'm' | 'M' | 'S' | 'V' => Some(number),
        'U' => number.checked_mul(4),
        _ => None,
    }
}

impl Header {
    /// Reads the literal of a dictionary that NumPy writes; nothing else of Python.
    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let (mut dtype, mut order, mut shape) = (None, None, None);
        eat(&mut rest, "{")?;
        while !rest.starts_with('}') {
            let key = quoted(&mut rest)?;
            eat(&mut rest, ":")?;
            match key.as_str() {
                "descr" => dtype = Some(quoted(&mut rest)?),
                "fortran_order" => {
                    order = Some(match () {
                        () if eat(&mut rest, "True").is_ok() => true,
                        () => eat(&mut rest, "False").map(|()| false)?,
                    });
                }
                "shape" => shape = Some(tuple(&mut rest)?),
                other => return Err(format!("unexpected key {other:?}")),
            }
            if eat(&mut rest, ",").is_err() {
                break;
            }
        }
        eat(&mut rest, "}")?;
        match (dtype, order, shape, rest.is_empty()) {
            (Some(dtype), Some(fortran_order), Some(shape), true) => {
                Ok(Header { dtype, fortran_order, shape })
            }
            _ => Err("expected descr, fortran_order and shape".to_owned()),
        }
    }
}

fn eat(rest: &mut &str, token: &str) -> Result<(), String> {
    *rest = rest.strip_prefix(token).ok_or_else(|| format!("expected {token:?}"))?.trim_start();
    Ok(())
}

fn quoted(rest: &mut &str) -> Result<String, String> {
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or("expected a text")?;
    let inside = &rest[1..];
    let end = inside.find(quote).ok_or("expected the end of a text")?;
    let text = inside[..end].to_owned();
    *rest = inside[end + 1..].trim_start();
    Ok(text)
}

fn tuple(rest: &mut &str) -> Result<Vec<u64>, String> {
    let mut numbers = Vec::new();
    eat(rest, "(")?;
    while !rest.starts_with(')') {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        numbers.push(rest[..end].parse().map_err(|_| "expected a number of elements".to_owned())?);
        *rest = rest[end..].trim_start();
        // Python 2 wrote long integers with an L.
        let _ = eat(rest, "L");
        if eat(rest, ",").is_err() {
            break;
        }
    }
    eat(rest, ")")?;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_that_numpy_writes_are_read() {
        for (text, dtype, fortran_order, shape) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", "<f4", false, vec![3, 2]),
            ("{'descr': '|u1', 'fortran_order': True, 'shape': (7,), }\n", "|u1", true, vec![7]),
            ("{'shape': (), 'fortran_order': False, 'descr': '<M8[ns]'}", "<M8[ns]", false, vec![]),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (10L, 2L)}", "<i8", false, vec![10, 2]),
        ] {
            let expected = Header { dtype: dtype.to_owned(), fortran_order, shape };
            assert_eq!(Header::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(
            ["<f4", "|b1", "<c16", "<U3", ">M8[ns]", "|O", "f4"].map(item_bytes),
            [Some(4), Some(1), Some(16), Some(12), Some(8), None, None]
        );
    }

    #[test]
    fn other_literals_are_refused() {
        for text in [
            "",
            "{}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 'y'}",
        ] {
            assert!(Header::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}'a-z:(),0-9 \"äL]{0,60}", dtype in "\\PC{0,6}") {
            let _ = Header::parse(&text);
            let _ = item_bytes(&dtype);
        }
    }
}
