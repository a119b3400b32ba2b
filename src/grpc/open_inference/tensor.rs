//! Tensors as they go over the wire: typed contents, or raw bytes, in which an element of BYTES stands behind
//! its length (four bytes, little-endian).

use super::super::status;
use super::pb::InferTensorContents;
use super::pb::model_infer_response::InferOutputTensor;
use tonic::Status;

/// The types of tensor that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Bytes,
    Fp32,
    Int32,
}

impl Datatype {
    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "BYTES",
            Self::Fp32 => "FP32",
            Self::Int32 => "INT32",
        }
    }
}

/// A tensor's elements, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Bytes(Vec<Vec<u8>>),
    Fp32(Vec<f32>),
    Int32(Vec<i32>),
}

impl Elements {
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Bytes(_) => Datatype::Bytes,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Int32(_) => Datatype::Int32,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(all) => all.len(),
            Self::Fp32(all) => all.len(),
            Self::Int32(all) => all.len(),
        }
    }

    fn typed(self) -> InferTensorContents {
        let mut contents = InferTensorContents::default();
        match self {
            Self::Bytes(all) => contents.bytes_contents = all,
            Self::Fp32(all) => contents.fp32_contents = all,
            Self::Int32(all) => contents.int_contents = all,
        }
        contents
    }

    fn raw(self) -> Vec<u8> {
        match self {
            Self::Bytes(all) => {
                let size = all.iter().map(|element| 4 + element.len()).sum();
                let mut raw = Vec::with_capacity(size);
                for element in all {
                    // No element is near 4 GiB: answers are held to what one article may be.
                    raw.extend_from_slice(&(element.len() as u32).to_le_bytes());
                    raw.extend_from_slice(&element);
                }
                raw
            }
            Self::Fp32(all) => all.into_iter().flat_map(f32::to_le_bytes).collect(),
            Self::Int32(all) => all.into_iter().flat_map(i32::to_le_bytes).collect(),
        }
    }
}

/// A tensor of a response, and its bytes where they go apart from it.
pub(super) fn write(
    name: &str,
    shape: Vec<i64>,
    elements: Elements,
    raw: bool,
) -> (InferOutputTensor, Option<Vec<u8>>) {
    let mut tensor = InferOutputTensor {
        name: name.to_owned(),
        datatype: elements.datatype().name().to_owned(),
        shape,
        ..InferOutputTensor::default()
    };
    if raw {
        return (tensor, Some(elements.raw()));
    }
    tensor.contents = Some(elements.typed());
    (tensor, None)
}

/// The elements of a raw BYTES tensor.
pub(super) fn split(name: &str, mut raw: &[u8], expect: usize) -> Result<Vec<Vec<u8>>, Status> {
    let mut elements = Vec::with_capacity(expect);
    while !raw.is_empty() {
        let Some((length, rest)) = raw.split_first_chunk::<4>() else {
            let message = format!(
                "incomplete string length indicator for inference input '{name}', expecting 4 bytes \
                 but only {} bytes available",
                raw.len()
            );
            return Err(status::invalid_tensor(name, message));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((element, rest)) = rest.split_at_checked(length) else {
            let message = format!(
                "incomplete string data for inference input '{name}', expecting string of length \
                 {length} but only {} bytes available",
                rest.len()
            );
            return Err(status::invalid_tensor(name, message));
        };
        if elements.len() == expect {
            return Err(wrong_count(name, None, expect));
        }
        elements.push(element.to_vec());
        raw = rest;
    }
    match elements.len() == expect {
        true => Ok(elements),
        false => Err(wrong_count(name, Some(elements.len()), expect)),
    }
}

/// A tensor holds another number of elements than its shape says; `None` for more than that.
pub(super) fn wrong_count(name: &str, have: Option<usize>, expect: usize) -> Status {
    let have = have.map_or_else(|| "more".to_owned(), |n| n.to_string());
    let message = format!(
        "unexpected number of string elements for inference input '{name}': its shape says {expect}, \
         its contents have {have}"
    );
    status::invalid_tensor(name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_stand_behind_their_lengths() {
        let elements = [&b"ab"[..], b"", b"c\0d"].map(<[u8]>::to_vec).to_vec();
        let raw = Elements::Bytes(elements.clone()).raw();
        assert_eq!(raw, b"\x02\0\0\0ab\0\0\0\0\x03\0\0\0c\0d");
        assert_eq!(split("text", &raw, 3).unwrap(), elements);
    }

    #[test]
    fn numbers_are_little_endian() {
        assert_eq!(
            Elements::Int32(vec![1, -1]).raw(),
            [1, 0, 0, 0, 255, 255, 255, 255]
        );
        assert_eq!(Elements::Fp32(vec![1.0]).raw(), [0, 0, 0x80, 0x3f]);
    }

    #[test]
    fn raw_bytes_that_do_not_add_up_are_refused() {
        let check = |raw: &[u8], expect: usize, message: &str| {
            let status = split("text", raw, expect).unwrap_err();
            assert!(status.message().contains(message), "{status:?}");
        };
        check(b"\x01\0", 1, "incomplete string length indicator");
        check(b"\x05\0\0\0ab", 1, "length 5 but only 2 bytes");
        check(b"\xff\xff\xff\xff", 1, "length 4294967295 but only 0 bytes");
        check(b"\x01\0\0\0a", 2, "says 2, its contents have 1");
        check(
            b"\x01\0\0\0a\x01\0\0\0b",
            1,
            "says 1, its contents have more",
        );
        check(b"", 1, "says 1, its contents have 0");
    }
}
