//! Foretells how long a compiler may take for a function, so that no node is held up by one.
//!
//! Most of it is linear in the code. But where ways through the code meet, wasmtime looks each local up
//! on all of them; and a local that was set on one of them becomes a parameter of what follows, of which
//! many inside of one loop take time that grows with the square of their number. A module of 5 KB with
//! 200 loops inside of each other and 400 locals takes a minute.

use wasmparser::Operator;

use crate::wasm::error::{ModuleCause, invalid};

// Measured with `sandbox_bench translation` on the machine of `docs/FIGURES.md`.

/// Microseconds of a function.
const FUNCTION: u64 = 100;
/// Microseconds of an instruction.
const OPERATOR: u64 = 2;
/// Microseconds of a call whose depth is counted.
pub const COUNTED: u64 = 50;
/// Locals that are looked up in a microsecond, each at each place where ways meet.
const LOOKUPS: u64 = 2;
/// The square of the number of parameters that are passed, divided by this, is microseconds.
const SQUARES: u64 = 140;

/// A block that is open.
struct Block {
    /// Ways to its end, or to the head of a loop, beside the one that the code takes by itself.
    ways: u64,
    /// It is a loop.
    is_loop: bool,
}

/// What is known of one function.
pub struct Effort {
    blocks: Vec<Block>,
    /// Of each open block, the locals that were set inside, as bits.
    set: Vec<u64>,
    /// Words of bits for each block.
    words: usize,
    /// The locals that are used at all.
    used: Vec<u64>,
    /// Loops that are open.
    loops: u32,
    operators: u64,
    /// Calls through the table.
    indirect: u64,
    /// Places where ways meet.
    meets: u64,
    /// Parameters that are passed in the outermost loop that is open, or since the last one.
    passed: u64,
    squares: u64,
}

impl Effort {
    /// Of a function with so many locals.
    pub fn new(locals: usize) -> Self {
        let words = locals.div_ceil(64);
        Self {
            blocks: vec![Block { ways: 0, is_loop: false }],
            set: vec![0; words],
            words,
            used: vec![0; words],
            loops: 0,
            operators: 0,
            indirect: 0,
            meets: 0,
            passed: 0,
            squares: 0,
        }
    }

    /// Follows one instruction.
    pub fn follow(&mut self, operator: &Operator<'_>) -> Result<(), ModuleCause> {
        self.operators += 1;
        match operator {
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let (word, bit) = (*local_index as usize / 64, 1 << (local_index % 64));
                let block = self.set.len() - self.words;
                self.set[block + word] |= bit;
                self.used[word] |= bit;
            }
            Operator::LocalGet { local_index } => {
                self.used[*local_index as usize / 64] |= 1 << (local_index % 64);
            }
            Operator::Block { .. } => self.open(0, false),
            Operator::If { .. } => self.open(1, false),
            Operator::Loop { .. } => self.open(1, true),
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.way(*relative_depth);
            }
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    self.way(target.map_err(invalid)?);
                }
                self.way(targets.default());
            }
            Operator::CallIndirect { .. } => self.indirect += 1,
            Operator::End => self.close(),
            _ => {}
        }
        Ok(())
    }

    fn way(&mut self, depth: u32) {
        let at = self.blocks.len().checked_sub(1 + depth as usize);
        if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
            block.ways += 1;
        }
    }

    fn open(&mut self, ways: u64, is_loop: bool) {
        if is_loop && self.loops == 0 {
            self.square();
        }
        self.loops += u32::from(is_loop);
        self.set.resize(self.set.len() + self.words, 0);
        self.blocks.push(Block { ways, is_loop });
    }

    fn close(&mut self) {
        let Some(block) = self.blocks.pop().filter(|_| !self.blocks.is_empty()) else { return };
        let inside = self.set.split_off(self.set.len() - self.words);
        let locals: u32 = inside.iter().map(|word| word.count_ones()).sum();
        self.passed += block.ways * u64::from(locals);
        self.meets += u64::from(block.ways > 0);
        let outside = self.set.len() - self.words;
        self.set[outside..].iter_mut().zip(inside).for_each(|(out, inside)| *out |= inside);
        self.loops -= u32::from(block.is_loop);
        if block.is_loop && self.loops == 0 {
            self.square();
        }
    }

    fn square(&mut self) {
        let passed = std::mem::take(&mut self.passed);
        self.squares = self.squares.saturating_add(passed.saturating_mul(passed));
    }

    /// Microseconds that wasmtime may take for the function, roughly.
    pub fn micros(mut self) -> u64 {
        self.square();
        let used: u32 = self.used.iter().map(|word| word.count_ones()).sum();
        (FUNCTION + OPERATOR * self.operators + COUNTED * self.indirect)
            .saturating_add(self.meets * u64::from(used) / LOOKUPS)
            .saturating_add(self.squares / SQUARES)
    }
}
