//! Finds where a NaN has to be made canonical: as late as possible, and where the guest could see it.
//!
//! Arithmetic may give any NaN, and engines differ. Nobody can tell while the value goes into further
//! arithmetic or a comparison, so only a use that looks at the bits needs the canonical one. A local
//! that holds nothing but arithmetic results and numbers keeps them as they are, and what is read from
//! it is made canonical at such a use; in a local that may hold other values, which have to keep their
//! bits, arithmetic results are put as canonical ones.
//!
//! The same holds for vectors, whose arithmetic results have a shape: only arithmetic and comparisons
//! of the same shape do not look at the bits, and a local keeps them as they are when all that it gets
//! has one shape.

use wasmparser::{Operator, ValType};

use crate::wasm::floats::{self, Shape};

/// Where a value on the stack comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// It has to keep its bits.
    Exact,
    /// It is a number, or a vector that holds no NaN of any shape.
    Number,
    /// The result of arithmetic at an instruction.
    Arithmetic(usize, Shape),
    /// Read at an instruction from a local.
    Local(usize, u32),
}

/// What a local holds.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// Nothing but numbers.
    Numbers,
    /// Nothing but numbers and arithmetic results of one shape, which keep their bits.
    Results(Shape),
    /// What has to keep its bits, too: NaNs in it are canonical ones or the guest's own.
    Exact,
}

impl Held {
    /// When both are put into it.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Numbers, held) | (held, Self::Numbers) => held,
            (mine, theirs) if mine == theirs => mine,
            _ => Self::Exact,
        }
    }
}

/// What is known of the floats of a function.
pub struct Nans {
    stack: Vec<Origin>,
    /// So many values at its bottom are exact: control instructions need not look at them again.
    settled: usize,
    /// Uses that look at the bits, but for those of results of a shape.
    uses: Vec<(Origin, Option<Shape>)>,
    /// What is written to locals.
    writes: Vec<(u32, Origin)>,
    /// Of each local, parameters included: what it holds before anything flows into it.
    locals: Vec<Held>,
}

/// True for a vector that holds no NaN, whichever way it is read.
fn is_number(bytes: &[u8; 16]) -> bool {
    let singles = bytes.as_chunks().0.iter().all(|b| !f32::from_le_bytes(*b).is_nan());
    singles && bytes.as_chunks().0.iter().all(|b| !f64::from_le_bytes(*b).is_nan())
}

/// True for an instruction after which the values on the stack may come from elsewhere.
fn is_control(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::Block { .. }
            | O::Loop { .. }
            | O::If { .. }
            | O::Else
            | O::End
            | O::Br { .. }
            | O::BrIf { .. }
            | O::BrTable { .. }
            | O::Return
            | O::Unreachable
    )
}

/// What an instruction puts on the stack.
fn gives(at: usize, operator: &Operator<'_>) -> Origin {
    use Operator as O;
    match operator {
        O::LocalGet { local_index } | O::LocalTee { local_index } => {
            Origin::Local(at, *local_index)
        }
        O::F32Const { value } if !f32::from_bits(value.bits()).is_nan() => Origin::Number,
        O::F64Const { value } if !f64::from_bits(value.bits()).is_nan() => Origin::Number,
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U => {
            Origin::Number
        }
        O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => {
            Origin::Number
        }
        O::V128Const { value } if is_number(value.bytes()) => Origin::Number,
        other => floats::rounds(other).map_or(Origin::Exact, |shape| Origin::Arithmetic(at, shape)),
    }
}

impl Nans {
    /// Of a function whose locals have these types, the parameters first.
    pub fn new(params: usize, types: &[ValType]) -> Self {
        let held = |ty: &ValType| match ty {
            ValType::F32 => Held::Results(Shape::F32),
            ValType::F64 => Held::Results(Shape::F64),
            ValType::V128 => Held::Numbers,
            _ => Held::Exact,
        };
        let mut locals: Vec<Held> = types.iter().map(held).collect();
        locals[..params].fill(Held::Exact);
        Self { stack: Vec::new(), settled: 0, uses: Vec::new(), writes: Vec::new(), locals }
    }

    /// Follows one instruction that takes and gives so many values.
    pub fn follow(
        &mut self,
        at: usize,
        operator: &Operator<'_>,
        (pops, pushes): (u32, u32),
        height: usize,
    ) {
        let left = self.stack.len().saturating_sub(pops as usize);
        let taken = self.stack.split_off(left);
        match operator {
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let origin = taken.first().copied().unwrap_or(Origin::Exact);
                self.writes.push((*local_index, origin));
            }
            other if floats::ignores_payload(other) => {}
            other => {
                let ignored = floats::ignored(other);
                self.uses.extend(taken.into_iter().map(|origin| (origin, ignored)));
            }
        }
        self.settled = self.settled.min(left);
        if is_control(operator) {
            self.settle();
        }
        self.stack.resize(height.saturating_sub(pushes as usize), Origin::Exact);
        self.settled = self.settled.min(self.stack.len());
        self.stack.resize(height, gives(at, operator));
    }

    /// All values on the stack are used: what comes after may get them on other ways, too.
    fn settle(&mut self) {
        let moved = self.stack[self.settled..].iter_mut();
        let moved = moved.map(|origin| std::mem::replace(origin, Origin::Exact));
        let moved = moved.filter(|o| !matches!(o, Origin::Exact | Origin::Number));
        self.uses.extend(moved.map(|origin| (origin, None)));
        self.settled = self.stack.len();
    }

    /// What the locals hold, by all that flows into them.
    fn held(&self) -> Vec<Held> {
        let mut held = self.locals.clone();
        let mut flows: Vec<(u32, u32)> = Vec::new();
        let mut puts: Vec<(u32, Held)> = Vec::new();
        for (local, origin) in &self.writes {
            match origin {
                Origin::Exact => puts.push((*local, Held::Exact)),
                Origin::Arithmetic(_, shape) => puts.push((*local, Held::Results(*shape))),
                Origin::Local(_, from) => {
                    flows.push((*from, *local));
                    puts.push((*local, self.locals[*from as usize]));
                }
                Origin::Number => {}
            }
        }
        flows.sort_unstable();
        flows.dedup();
        while let Some((local, put)) = puts.pop() {
            let joined = held[local as usize].join(put);
            if joined != held[local as usize] {
                held[local as usize] = joined;
                let first = flows.partition_point(|(from, _)| *from < local);
                let out = flows[first..].iter().take_while(|(from, _)| *from == local);
                puts.extend(out.map(|(_, to)| (*to, joined)));
            }
        }
        held
    }

    /// The instructions whose result is made canonical, in order, with its shape.
    pub fn canonical(&self) -> Vec<(usize, Shape)> {
        let held = self.held();
        let place = |origin: &Origin| match origin {
            Origin::Arithmetic(at, shape) => Some((*at, *shape)),
            Origin::Local(at, local) => match held[*local as usize] {
                Held::Results(shape) => Some((*at, shape)),
                Held::Numbers | Held::Exact => None,
            },
            Origin::Exact | Origin::Number => None,
        };
        let used = self.uses.iter().filter_map(|(origin, ignored)| {
            place(origin).filter(|(_, shape)| Some(*shape) != *ignored)
        });
        let written = self.writes.iter().filter(|(to, _)| held[*to as usize] == Held::Exact);
        let mut places: Vec<(usize, Shape)> =
            used.chain(written.filter_map(|(_, origin)| place(origin))).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}
