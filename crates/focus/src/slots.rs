//! A set of slots that is filled in any order and emptied in ascending order.

/// Slots below a fixed number, a bit each.
pub(crate) struct SlotSet {
    words: Vec<u64>,
    /// Words that hold bits, once each.
    used: Vec<u32>,
}

impl SlotSet {
    /// An empty set of slots below `slots`.
    pub fn new(slots: usize) -> Self {
        Self { words: vec![0; slots.div_ceil(64)], used: Vec::new() }
    }

    /// Adds a slot.
    pub fn add(&mut self, slot: u32) {
        let word = &mut self.words[slot as usize / 64];
        if *word == 0 {
            self.used.push(slot / 64);
        }
        *word |= 1 << (slot % 64);
    }

    /// All slots in ascending order; the set is empty then.
    pub fn take(&mut self) -> Vec<u32> {
        self.used.sort_unstable();
        let mut slots = Vec::new();
        for at in self.used.drain(..) {
            let mut word = std::mem::take(&mut self.words[at as usize]);
            while word != 0 {
                slots.push(at * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        slots
    }
}
