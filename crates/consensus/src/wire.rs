//! Deterministic CBOR (protocol 1): definite arrays, integers, byte strings, null.

use minicbor::Decoder;

/// Writes CBOR items with the shortest heads.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let bytes = argument.to_be_bytes();
        let (info, from) = match argument {
            0..24 => (bytes[7], 8),
            24..0x100 => (24, 7),
            0x100..0x1_0000 => (25, 6),
            0x1_0000..0x1_0000_0000 => (26, 4),
            _ => (27, 0),
        };
        self.0.push(major << 5 | info);
        self.0.extend(&bytes[from..]);
        self
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.head(4, length as u64)
    }

    pub(crate) fn uint(&mut self, number: u64) -> &mut Self {
        self.head(0, number)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len() as u64).0.extend(bytes);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.0.push(0xf6);
        self
    }

    pub(crate) fn optional_bytes(&mut self, bytes: Option<&[u8; 32]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.null(),
        }
    }

    #[cfg(feature = "bft")]
    pub(crate) fn optional_uint(&mut self, number: Option<u32>) -> &mut Self {
        match number {
            Some(number) => self.uint(number.into()),
            None => self.null(),
        }
    }
}

/// Reads CBOR items; that the encoding is the one of [`Writer`] is checked by encoding again.
pub(crate) struct Reader<'b>(Decoder<'b>);

/// What is wrong with the bytes.
pub(crate) type Malformed = &'static str;

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    /// Length of an array of at most `limit` items.
    pub(crate) fn array(&mut self, limit: usize) -> Result<usize, Malformed> {
        let length = self.0.array().map_err(|_| "an array is missing")?;
        let length = length.ok_or("an array of indefinite length")?;
        usize::try_from(length).ok().filter(|n| *n <= limit).ok_or("an array is too long")
    }

    /// An array of exactly `length` items.
    pub(crate) fn tuple(&mut self, length: usize) -> Result<(), Malformed> {
        if self.array(length)? == length { Ok(()) } else { Err("an array is too short") }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Malformed> {
        self.0.u64().map_err(|_| "an unsigned integer is missing")
    }

    pub(crate) fn round(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uint()?).map_err(|_| "a round is too large")
    }

    pub(crate) fn slice(&mut self) -> Result<&'b [u8], Malformed> {
        self.0.bytes().map_err(|_| "a byte string is missing")
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice()?.try_into().map_err(|_| "a byte string has a wrong length")
    }

    /// Null, where nothing else may stand.
    #[cfg(feature = "snow")]
    pub(crate) fn null(&mut self) -> Result<(), Malformed> {
        self.0.null().map_err(|_| "null is missing")
    }

    /// What `read` reads, or `None` for null.
    #[cfg(any(feature = "bft", feature = "snow"))]
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if matches!(self.0.datatype(), Ok(minicbor::data::Type::Null)) {
            return self.0.null().map(|()| None).map_err(|_| "null is missing");
        }
        read(self).map(Some)
    }
}

/// Refuses bytes that are not exactly `again`, the encoding of what was read from them.
pub(crate) fn same(bytes: &[u8], again: &[u8]) -> Result<(), Malformed> {
    if bytes == again { Ok(()) } else { Err("not the one canonical encoding") }
}
