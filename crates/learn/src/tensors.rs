//! Reads the safetensors format: a length, a JSON header, and the tensors' bytes.
//!
//! The `safetensors` crate is not used because it brings a temporary-file writer and with it a
//! source of randomness that the browser target has not.

use crate::EmbedError;

/// Longest JSON header accepted, in bytes.
const MAX_HEADER: u64 = 1 << 24;

/// The tensors of one file.
pub struct Tensors<'a> {
    header: serde_json::Value,
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when the header is cut short, too long or no JSON.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EmbedError> {
        let short = || EmbedError::bad("safetensors: it ends inside the header");
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER {
            return Err(EmbedError::bad(format!("safetensors: a header of {length} bytes")));
        }
        let (header, data) = rest.split_at_checked(length as usize).ok_or_else(short)?;
        let header = serde_json::from_slice(header)
            .map_err(|e| EmbedError::bad(format!("safetensors header: {e}")))?;
        Ok(Self { header, data })
    }

    /// A text of the file's metadata.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.header.get("__metadata__")?.get(name)?.as_str()
    }

    /// A tensor's f32 values, all finite and as many as expected.
    ///
    /// # Errors
    /// [`EmbedError::BadModel`] when it is not there, of another type or length, or not finite.
    pub fn values(&self, name: &str, count: usize) -> Result<Vec<f32>, EmbedError> {
        let entry = self.header.get(name);
        let entry = entry.ok_or_else(|| EmbedError::bad(format!("no tensor {name}")))?;
        let offset = |i: usize| {
            let value = entry.get("data_offsets")?.get(i)?.as_u64()?;
            usize::try_from(value).ok()
        };
        let f32_kind = entry.get("dtype").and_then(serde_json::Value::as_str) == Some("F32");
        let bytes = offset(0).zip(offset(1)).and_then(|(from, to)| self.data.get(from..to));
        let (chunks, rest) = bytes.unwrap_or_default().as_chunks::<4>();
        if !f32_kind || chunks.len() != count || !rest.is_empty() {
            return Err(EmbedError::bad(format!("{name} is not {count} f32 values")));
        }
        let values: Vec<f32> = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
        anthill_kernels::check_finite(&values)
            .map_err(|e| EmbedError::bad(format!("{name}: {e}")))?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn reads_values_and_refuses_what_does_not_fit() {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
            "c":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        let bytes = file(header, &[1.5f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat());
        let tensors = Tensors::read(&bytes).unwrap();
        assert!(tensors.values("a", 2).unwrap_err().to_string().contains("value 1 is NaN"));
        assert!(tensors.values("a", 3).is_err());
        assert!(tensors.values("b", 1).is_err());
        assert!(tensors.values("c", 2).is_err());
        assert!(tensors.values("d", 2).is_err());
        let good = file(header, &[1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
        assert_eq!(Tensors::read(&good).unwrap().values("a", 2).unwrap(), [1.5, 2.0]);
        assert!(Tensors::read(&u64::MAX.to_le_bytes()).is_err());
        assert!(Tensors::read(&[0; 7]).is_err());
        assert!(Tensors::read(&file("{", &[])).is_err());
    }
}
