//! A set of names, each kept once and numbered in the order in which it first came.

use super::Reason;

/// A place of the hash table: which name, and some bits of its hash, so that most others are passed
/// by without a look at their text.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    tag: u32,
    number: u32,
}

const FREE: u32 = u32::MAX;
const EMPTY: Place = Place { start: 0, tag: 0, number: FREE };

/// Names and their numbers, from 0.
#[derive(Clone, Debug, Default)]
pub struct Names {
    text: String,
    /// Where each name begins in the text.
    starts: Vec<u64>,
    /// Open addressing with linear probing, a power of two, at most two thirds full.
    table: Vec<Place>,
}

impl Names {
    /// Number of names.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The name of a number; empty for a number that was not given.
    pub fn get(&self, number: u32) -> &str {
        let at = number as usize;
        let start = self.starts.get(at).copied().unwrap_or(self.text.len() as u64);
        let end = self.starts.get(at + 1).copied().unwrap_or(self.text.len() as u64);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// All names in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len() as u32).map(|number| self.get(number))
    }

    /// The number of a name, if it was added.
    pub fn find(&self, name: &str) -> Option<u32> {
        let place = self.table.get(self.seek(name)?)?;
        (place.number != FREE).then_some(place.number)
    }

    /// The number of a name, a new one if it is new; and whether it is.
    ///
    /// # Errors
    /// There are no numbers left.
    pub fn add(&mut self, name: &str) -> Result<(u32, bool), Reason> {
        if (self.len() + 1) * 3 > self.table.len() * 2 {
            self.grow();
        }
        let Some(place) = self.seek(name).and_then(|at| self.table.get_mut(at)) else {
            return Err(Reason::TooMany);
        };
        if place.number != FREE {
            return Ok((place.number, false));
        }
        let number = u32::try_from(self.starts.len()).ok().filter(|n| *n != FREE);
        let number = number.ok_or(Reason::TooMany)?;
        let start = self.text.len() as u64;
        *place = Place { start, tag: hash(name.as_bytes()) as u32, number };
        self.starts.push(start);
        self.text.push_str(name);
        Ok((number, true))
    }

    /// The place of a name, or the free one where it belongs.
    fn seek(&self, name: &str) -> Option<usize> {
        let mask = self.table.len().checked_sub(1)?;
        let hash = hash(name.as_bytes());
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let place = self.table.get(at)?;
            if place.number == FREE {
                return Some(at);
            }
            if place.tag == hash as u32 && self.is_at(name, place) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn is_at(&self, name: &str, place: &Place) -> bool {
        let (start, text) = (place.start as usize, self.text.as_bytes());
        text.get(start..start + name.len()) == Some(name.as_bytes())
            && self.get(place.number).len() == name.len()
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(16);
        self.table = vec![EMPTY; size];
        for number in 0..self.len() as u32 {
            let name = self.get(number);
            let tag = hash(name.as_bytes()) as u32;
            let start = self.starts.get(number as usize).copied().unwrap_or_default();
            // Names differ, so the first free place is the right one.
            let free = self.free(hash(name.as_bytes()));
            if let Some(place) = free.and_then(|at| self.table.get_mut(at)) {
                *place = Place { start, tag, number };
            }
        }
    }

    fn free(&self, hash: u64) -> Option<usize> {
        let mask = self.table.len().checked_sub(1)?;
        let mut at = (hash >> 32) as usize & mask;
        while self.table.get(at)?.number != FREE {
            at = (at + 1) & mask;
        }
        Some(at)
    }
}

/// A quick hash: eight bytes at a time are multiplied and folded (wyhash's step). It only places names;
/// nothing that leaves this module depends on it.
fn hash(bytes: &[u8]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xe703_7ed1_a0b4_28db;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = A ^ bytes.len() as u64;
    for piece in bytes.chunks(8) {
        let word = piece.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        state = fold(state ^ word, B) ^ A;
    }
    fold(state, A)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers() {
        let mut names = Names::default();
        assert_eq!(names.find("a"), None);
        let all: Vec<String> = (0..5_000u32).map(|i| format!("{}", i * i)).collect();
        for (at, name) in all.iter().enumerate() {
            assert_eq!(names.add(name), Ok((at as u32, true)));
            assert_eq!(names.add(&all[at / 2]), Ok((at as u32 / 2, false)));
        }
        assert_eq!(names.len(), all.len());
        assert!(names.iter().eq(all.iter().map(String::as_str)));
        assert!(all.iter().enumerate().all(|(at, n)| names.find(n) == Some(at as u32)));
        assert_eq!(names.find("-1"), None);
        assert_eq!(names.get(5_000), "");
    }

    #[test]
    fn a_name_is_not_taken_for_its_beginning() {
        let mut names = Names::default();
        for (at, name) in ["ab", "abc", "a", "b", "\u{e4}", "ab\0"].iter().enumerate() {
            assert_eq!(names.add(name), Ok((at as u32, true)));
        }
    }
}
