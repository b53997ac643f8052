//! A linear layer with weights in f32 or int8.

use anthill_kernels::{PackedInt8, PackedMatrix, gemm, gemm_i8, quantize_rows, rescale};

use crate::EmbedError;

/// Multiplies int8 rows by weights that it holds, in exact i32 arithmetic: on the processor, or on
/// a GPU, with the same bits.
pub trait Int8Product: Send + Sync {
    /// The product, row-major; `rows` are whole rows of the weights' inner dimension.
    ///
    /// # Errors
    /// What the device says.
    fn multiply(&self, rows: &[i8]) -> Result<Vec<i32>, String>;
}

impl Int8Product for PackedInt8 {
    fn multiply(&self, rows: &[i8]) -> Result<Vec<i32>, String> {
        let mut out = vec![0; rows.len() / self.inner() * self.columns()];
        gemm_i8(rows, self, &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }
}

/// Puts int8 weights where they are multiplied: `columns` rows of `inner` values, as linear layers
/// store them.
pub type PlaceWeights<'a> = &'a dyn Fn(&[i8], usize, usize) -> Result<Box<dyn Int8Product>, String>;

/// In which numbers the weights of linear layers are held.
#[derive(Clone, Copy)]
pub enum Precision<'a> {
    /// As they are: f32, in the pinned order of `anthill_kernels::gemm`.
    Float,
    /// Rounded to int8 for each output, activations for each token; held by what this returns.
    Int8(PlaceWeights<'a>),
}

impl Precision<'_> {
    /// Int8 weights on the processor.
    pub fn int8() -> Self {
        Self::Int8(&|values, inner, columns| {
            let packed = PackedInt8::from_transposed(values, inner, columns);
            Ok(Box::new(packed.map_err(|e| e.to_string())?))
        })
    }
}

enum Weight {
    Float(PackedMatrix),
    Int8 { product: Box<dyn Int8Product>, scales: Vec<f32> },
}

/// Weights packed for the product, and their bias.
pub(crate) struct Linear {
    weight: Weight,
    bias: Vec<f32>,
    inner: usize,
}

impl Linear {
    /// A layer from `bias.len()` rows of `inner` weights.
    pub fn new(
        values: &[f32],
        bias: Vec<f32>,
        inner: usize,
        precision: Precision<'_>,
    ) -> Result<Self, EmbedError> {
        let columns = bias.len();
        let weight = match precision {
            Precision::Float => {
                Weight::Float(PackedMatrix::from_transposed(values, inner, columns).map_err(shape)?)
            }
            Precision::Int8(place) => {
                let rows = quantize_rows(values, inner).map_err(shape)?;
                let product = place(&rows.values, inner, columns).map_err(EmbedError::bad)?;
                Weight::Int8 { product, scales: rows.scales }
            }
        };
        Ok(Self { weight, bias, inner })
    }

    /// `x * weights + bias` for rows of the inner dimension.
    pub fn apply(&self, x: &[f32]) -> Result<Vec<f32>, EmbedError> {
        let mut out = vec![0.0; x.len() / self.inner * self.bias.len()];
        match &self.weight {
            Weight::Float(weight) => gemm(x, weight, &self.bias, &mut out).map_err(shape)?,
            Weight::Int8 { product, scales } => {
                let rows = quantize_rows(x, self.inner).map_err(shape)?;
                let sums = product.multiply(&rows.values).map_err(EmbedError::Device)?;
                rescale(&sums, &rows.scales, scales, &self.bias, &mut out).map_err(shape)?;
            }
        }
        Ok(out)
    }
}

/// A kernel's refusal of a shape means that the model's parts do not fit together.
pub(crate) fn shape(error: anthill_kernels::KernelError) -> EmbedError {
    EmbedError::bad(error.to_string())
}
