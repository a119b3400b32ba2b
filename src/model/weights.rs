//! `model.safetensors` → numbers by name, widened to f32 where they are stored smaller.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::LoadError;

/// The tensors of a file; each is checked when it is read.
pub struct Weights<'a> {
    tensors: SafeTensors<'a>,
}

impl<'a> Weights<'a> {
    /// Reads the table of contents, which is checked against the file's length.
    ///
    /// # Errors
    ///
    /// When the file is damaged.
    pub fn new(bytes: &'a [u8]) -> Result<Self, LoadError> {
        Ok(Self {
            tensors: SafeTensors::deserialize(bytes)?,
        })
    }

    /// A tensor of exactly this shape, row by row.
    ///
    /// # Errors
    ///
    /// When it is missing, of another shape or of no float type, or holds NaN or infinity.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = self.view(name, shape)?;
        let values = match tensor.dtype() {
            Dtype::F32 => tensor
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Dtype::F16 => halves(tensor.data(), f16::from_le_bytes).to_f32_vec(),
            Dtype::BF16 => halves(tensor.data(), bf16::from_le_bytes).to_f32_vec(),
            other => {
                return Err(LoadError::Shape(format!(
                    "tensor {name} is of type {other:?}; F32, F16 and BF16 are read"
                )));
            }
        };
        if values.iter().any(|v| !v.is_finite()) {
            return Err(LoadError::NotFinite(name.to_owned()));
        }
        Ok(values)
    }

    /// A tensor as it is kept in memory when only rows of it are looked up: in half precision
    /// where the file has it so.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn table(&self, name: &str, shape: [usize; 2]) -> Result<Table, LoadError> {
        let tensor = self.view(name, &shape)?;
        let rows = if tensor.dtype() == Dtype::F16 {
            let values = halves(tensor.data(), f16::from_le_bytes);
            if values.iter().any(|v| !v.is_finite()) {
                return Err(LoadError::NotFinite(name.to_owned()));
            }
            Rows::Half(values)
        } else {
            Rows::Single(self.get(name, &shape)?)
        };
        Ok(Table {
            rows,
            width: shape[1],
        })
    }

    fn view(&self, name: &str, shape: &[usize]) -> Result<TensorView<'a>, LoadError> {
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|_| LoadError::Shape(format!("there is no tensor {name}")))?;
        if tensor.shape() != shape {
            return Err(LoadError::Shape(format!(
                "tensor {name} has the shape {:?}; config.json asks for {shape:?}",
                tensor.shape()
            )));
        }
        Ok(tensor)
    }
}

fn halves<T>(bytes: &[u8], read: impl Fn([u8; 2]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|b| read(*b)).collect()
}

/// A table of \[rows, width\], looked up row by row.
pub struct Table {
    rows: Rows,
    width: usize,
}

enum Rows {
    Half(Vec<f16>),
    Single(Vec<f32>),
}

impl Table {
    /// Writes a row to `values` \[width\].
    pub fn read(&self, row: usize, values: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.rows {
            Rows::Half(rows) => rows[range].convert_to_f32_slice(values),
            Rows::Single(rows) => values.copy_from_slice(&rows[range]),
        }
    }

    /// Adds a row to `values` \[width\].
    pub fn add(&self, row: usize, values: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.rows {
            Rows::Half(rows) => {
                for (value, row) in values.iter_mut().zip(&rows[range]) {
                    *value += row.to_f32();
                }
            }
            Rows::Single(rows) => {
                for (value, row) in values.iter_mut().zip(&rows[range]) {
                    *value += row;
                }
            }
        }
    }
}
