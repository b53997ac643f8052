//! Parameters of a module's run: canonical CBOR `[steps, args, [[prefix, rights, [[key, value]...]]...]]`.

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// `kv_get`.
    Read,
    /// `kv_put`.
    Write,
    /// Both.
    ReadWrite,
}

impl Rights {
    /// True when it allows `kv_get`.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// True when it allows `kv_put`.
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Read, Self::Write, Self::ReadWrite].into_iter().find(|r| *r as u8 + 1 == number)
    }
}

/// A capability: the keys that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What the keys begin with.
    pub prefix: Vec<u8>,
    /// What the guest may do with them.
    pub rights: Rights,
    /// What is there at the start, ascending by key; each key begins with the prefix.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Parameters of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleParams {
    /// The argument of every call of `step`: fixed for the task, so that its cost is the same
    /// wherever it runs.
    pub steps: u32,
    /// Bytes for the guest.
    pub args: Vec<u8>,
    /// What it may read and write.
    pub grants: Vec<Grant>,
}

type Encoding<'a> = minicbor::Encoder<&'a mut Vec<u8>>;
type EncodeResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

/// Writes pairs of a key and a value.
pub(crate) fn encode_pairs<'k>(
    e: &mut Encoding<'_>,
    pairs: impl ExactSizeIterator<Item = (&'k [u8], &'k [u8])>,
) -> EncodeResult {
    e.array(pairs.len() as u64)?;
    for (key, value) in pairs {
        e.array(2)?.bytes(key)?.bytes(value)?;
    }
    Ok(())
}

/// Reads them; the caller checks that the whole is canonical.
pub(crate) fn decode_pairs(d: &mut minicbor::Decoder<'_>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for _ in 0..d.array().ok()?? {
        (d.array().ok()?? == 2).then_some(())?;
        pairs.push((d.bytes().ok()?.to_vec(), d.bytes().ok()?.to_vec()));
    }
    Some(pairs)
}

impl ModuleParams {
    /// The argument of `step` where the submitter names none.
    pub const STEPS: u32 = 1024;

    /// Parameters without a grant.
    pub fn new(steps: u32, args: &[u8]) -> Self {
        Self { steps, args: args.to_vec(), grants: Vec::new() }
    }

    /// Canonical CBOR.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing into a Vec cannot fail.
        let _ = self.encode(&mut minicbor::Encoder::new(&mut out));
        out
    }

    fn encode(&self, e: &mut Encoding<'_>) -> EncodeResult {
        e.array(3)?.u32(self.steps)?.bytes(&self.args)?.array(self.grants.len() as u64)?;
        for grant in &self.grants {
            e.array(3)?.bytes(&grant.prefix)?.u8(grant.rights as u8 + 1)?;
            encode_pairs(e, grant.entries.iter().map(|(k, v)| (&k[..], &v[..])))?;
        }
        Ok(())
    }

    /// Reads the bytes back; `None` when they are not canonical, when a key lies outside of its
    /// grant, or when keys do not ascend.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut d = minicbor::Decoder::new(bytes);
        (d.array().ok()?? == 3).then_some(())?;
        let (steps, args) = (d.u32().ok()?, d.bytes().ok()?.to_vec());
        let mut grants = Vec::new();
        for _ in 0..d.array().ok()?? {
            (d.array().ok()?? == 3).then_some(())?;
            let prefix = d.bytes().ok()?.to_vec();
            let rights = Rights::from_number(d.u8().ok()?)?;
            let entries = decode_pairs(&mut d)?;
            let ascend = entries.windows(2).all(|w| w[0].0 < w[1].0);
            (ascend && entries.iter().all(|(k, _)| k.starts_with(&prefix))).then_some(())?;
            grants.push(Grant { prefix, rights, entries });
        }
        let params = Self { steps, args, grants };
        (params.to_bytes() == bytes).then_some(params)
    }

    /// True when the guest may write some key: its result then holds what it wrote.
    pub fn writes(&self) -> bool {
        self.grants.iter().any(|g| g.rights.writes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_encode_both_ways() {
        let entry = |k: &[u8], v: &[u8]| (k.to_vec(), v.to_vec());
        let mut params = ModuleParams::new(300, b"abc");
        assert_eq!(ModuleParams::from_bytes(&params.to_bytes()), Some(params.clone()));
        let entries = vec![entry(b"a/1", b"x"), entry(b"a/2", b"")];
        params.grants = vec![
            Grant { prefix: b"a/".to_vec(), rights: Rights::Read, entries },
            Grant { prefix: b"b/".to_vec(), rights: Rights::Write, entries: vec![] },
            Grant { prefix: vec![], rights: Rights::ReadWrite, entries: vec![] },
        ];
        let bytes = params.to_bytes();
        assert_eq!(ModuleParams::from_bytes(&bytes), Some(params.clone()));
        assert!((0..bytes.len()).all(|n| ModuleParams::from_bytes(&bytes[..n]).is_none()));
        params.grants[0].entries.swap(0, 1);
        assert_eq!(ModuleParams::from_bytes(&params.to_bytes()), None);
        params.grants[0].entries = vec![entry(b"b/1", b"x")];
        assert_eq!(ModuleParams::from_bytes(&params.to_bytes()), None);
        // A longer head for the same number is not canonical.
        assert_eq!(ModuleParams::from_bytes(&[0x83, 0x18, 0x01, 0x40, 0x80]), None);
        assert!(ModuleParams::from_bytes(&[0x83, 0x01, 0x40, 0x80]).is_some());
    }
}
