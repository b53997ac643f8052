//! How the browser's modules are called: a request of parts in, an answer out.
//!
//! Both modules (`wasm-check`, `wasm-light`) include this file, and each gives its own
//! `crate::answer`; a crate that they share would give each the other's exports.

/// A request: its kind, then each part with its length (u32, little-endian).
pub fn pack<P: AsRef<[u8]>>(kind: u8, parts: impl IntoIterator<Item = P>) -> Vec<u8> {
    parts.into_iter().fold(vec![kind], |mut out, part| {
        let part = part.as_ref();
        out.extend((part.len() as u32).to_le_bytes());
        out.extend(part);
        out
    })
}

/// The parts of a request behind its kind.
pub(crate) fn parts(mut rest: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk().ok_or("a length has 4 bytes")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, tail) = tail.split_at_checked(length).ok_or("a part is cut short")?;
        found.push(part);
        rest = tail;
    }
    Ok(found)
}

/// What the module exports: room for a request, the call, and where its answer lies.
#[cfg(target_arch = "wasm32")]
mod exports {
    use std::sync::{Mutex, PoisonError};

    static BUFFER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    /// Makes room for a request of so many bytes and says where to write it.
    #[unsafe(no_mangle)]
    extern "C" fn anthill_request(length: usize) -> *mut u8 {
        let mut buffer = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.clear();
        buffer.resize(length, 0);
        buffer.as_mut_ptr()
    }

    /// Answers the request and gives the answer's length.
    #[unsafe(no_mangle)]
    extern "C" fn anthill_call() -> usize {
        let mut buffer = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
        *buffer = crate::answer(&buffer);
        buffer.len()
    }

    /// Where the answer lies until the next request.
    #[unsafe(no_mangle)]
    extern "C" fn anthill_answer() -> *const u8 {
        BUFFER.lock().unwrap_or_else(PoisonError::into_inner).as_ptr()
    }
}
