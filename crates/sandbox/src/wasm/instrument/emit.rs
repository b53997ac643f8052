//! Writes a function's body again with what its plan asks for.

use wasm_encoder::reencode::{Reencode, utils};
use wasm_encoder::{BlockType, Function, Instruction as I, ValType};
use wasmparser::{FunctionBody, Operator};

use super::depth::Depths;
use super::plan::{Charge, Plan};
use crate::wasm::abi::HostFunction;
use crate::wasm::cost::{BYTES_SHIFT, MAX_STACK, PAGE_SHIFT};
use crate::wasm::error::{ModuleCause, invalid};
use crate::wasm::floats::Shape;

/// Canonical NaN.
const NAN_32: u32 = 0x7fc0_0000;
const NAN_64: u64 = 0x7ff8_0000_0000_0000;
/// The same in every lane.
const NANS_32: i128 = NAN_32 as i128 * 0x1_0000_0001_0000_0001_0000_0001;
const NANS_64: i128 = NAN_64 as i128 * 0x1_0000_0000_0000_0001;

/// Where the pass has put things.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Of each global of the module: where the upper half of a mutable vector is. Such a global is
    /// held as two numbers, since a host in JavaScript cannot read a vector.
    pub halves: &'a [Option<u32>],
    /// Index of the global that holds the fuel.
    pub fuel: u32,
    /// Index of the global that holds the depth of the stack.
    pub depth: u32,
    /// Number of imported functions.
    pub imports: u32,
    /// Index of the first of the functions that stand in for them.
    pub stand_ins: u32,
}

impl Places<'_> {
    fn half(&self, global: u32) -> Option<u32> {
        self.halves.get(global as usize).copied().flatten()
    }

    /// Where a function of the input is called: an import by the function that charges for it.
    pub fn function(&self, index: u32) -> u32 {
        if index < self.imports { self.stand_ins + index } else { index }
    }
}

struct Renumber<'a>(Places<'a>);

impl Reencode for Renumber<'_> {
    type Error = std::convert::Infallible;

    fn function_index(
        &mut self,
        index: u32,
    ) -> Result<u32, wasm_encoder::reencode::Error<Self::Error>> {
        Ok(self.0.function(index))
    }
}

/// Translates one instruction.
pub fn instruction<'a>(operator: Operator<'a>, places: Places<'_>) -> Result<I<'a>, ModuleCause> {
    utils::instruction(&mut Renumber(places), operator).map_err(invalid)
}

struct Emitter<'a> {
    out: Function,
    places: Places<'a>,
    /// Locals of the pass: fuel, a length, an f32, an f64, and a vector where one is needed.
    fuel: u32,
}

/// Writes the body of a function of the module.
pub fn body(
    body: &FunctionBody<'_>,
    own: usize,
    params: u32,
    plan: &Plan,
    depths: &Depths,
    places: Places<'_>,
) -> Result<Function, ModuleCause> {
    let (mut locals, mut count) = (Vec::new(), params);
    let mut reencoder = Renumber(places);
    for group in body.get_locals_reader().map_err(invalid)? {
        let (n, ty) = group.map_err(invalid)?;
        locals.push((n, reencoder.val_type(ty).map_err(invalid)?));
        count += n;
    }
    locals.extend([(1, ValType::I64), (1, ValType::I32), (1, ValType::F32), (1, ValType::F64)]);
    let vectors = plan.canonical.iter().any(|(_, shape)| *shape > Shape::F64);
    if vectors || places.halves.iter().any(Option::is_some) {
        locals.push((1, ValType::V128));
    }
    let mut emitter = Emitter { out: Function::new(locals), places, fuel: count };
    emitter.load_fuel();
    emitter.charge(Charge { after: 0, fuel: plan.entry, check: true });
    let mut charges = plan.charges.iter().peekable();
    let mut canonical = plan.canonical.iter().peekable();
    let operators = body.get_operators_reader().map_err(invalid)?;
    for (at, operator) in operators.into_iter().enumerate() {
        let operator = operator.map_err(invalid)?;
        emitter.operator(operator, own, depths)?;
        if let Some((_, shape)) = canonical.next_if(|(place, _)| *place == at) {
            emitter.canonical(*shape);
        }
        while let Some(charge) = charges.next_if(|c| c.after == at) {
            emitter.charge(*charge);
        }
    }
    Ok(emitter.out)
}

impl Emitter<'_> {
    fn put(&mut self, instructions: &[I<'_>]) {
        for instruction in instructions {
            self.out.instruction(instruction);
        }
    }

    fn load_fuel(&mut self) {
        self.put(&[I::GlobalGet(self.places.fuel), I::LocalSet(self.fuel)]);
    }

    /// The fuel stays in a local of the function, and is written to its global at each charge: the
    /// store waits for nothing, so a loop does not wait for its own last charge.
    fn charge(&mut self, charge: Charge) {
        self.put(&[I::LocalGet(self.fuel), I::I64Const(charge.fuel.cast_signed()), I::I64Sub]);
        self.keep_fuel();
        if charge.check {
            self.check();
        }
    }

    fn keep_fuel(&mut self) {
        self.put(&[I::LocalTee(self.fuel), I::GlobalSet(self.places.fuel)]);
    }

    fn check(&mut self) {
        self.put(&[I::LocalGet(self.fuel), I::I64Const(0), I::I64LtS]);
        self.trap_if();
    }

    fn trap_if(&mut self) {
        self.put(&[I::If(BlockType::Empty), I::Unreachable, I::End]);
    }

    fn operator(
        &mut self,
        operator: Operator<'_>,
        own: usize,
        depths: &Depths,
    ) -> Result<(), ModuleCause> {
        match &operator {
            Operator::MemoryGrow { .. } => self.charge_size(-PAGE_SHIFT),
            Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. } => self.charge_size(BYTES_SHIFT),
            Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
                if let Some(half) = self.places.half(*global_index) {
                    let sets = matches!(operator, Operator::GlobalSet { .. });
                    self.halves(*global_index, half, sets);
                    return Ok(());
                }
            }
            _ => {}
        }
        let counted = match &operator {
            Operator::CallIndirect { .. } => true,
            Operator::Call { function_index } => function_index
                .checked_sub(self.places.imports)
                .is_some_and(|callee| depths.counts(own, callee as usize)),
            _ => false,
        };
        let calls = matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
        let weight = depths.weights[own].cast_signed();
        if counted {
            self.deepen(weight);
        }
        let translated = instruction(operator, self.places)?;
        self.put(&[translated]);
        if counted {
            self.put(&[I::GlobalGet(self.places.depth), I::I32Const(weight), I::I32Sub]);
            self.put(&[I::GlobalSet(self.places.depth)]);
        }
        if calls {
            self.load_fuel();
        }
        Ok(())
    }

    fn deepen(&mut self, weight: i32) {
        let depth = self.places.depth;
        self.put(&[I::GlobalGet(depth), I::I32Const(weight), I::I32Add, I::GlobalSet(depth)]);
        self.put(&[I::GlobalGet(depth), I::I32Const(MAX_STACK.cast_signed()), I::I32GtU]);
        self.trap_if();
    }

    /// Charges for the number on the stack's top: shifted to the right, or to the left when negative.
    fn charge_size(&mut self, shift: i64) {
        let size = self.fuel + 1;
        self.put(&[I::LocalSet(size), I::LocalGet(self.fuel), I::LocalGet(size)]);
        let turn = if shift < 0 { I::I64Shl } else { I::I64ShrU };
        self.put(&[I::I64ExtendI32U, I::I64Const(shift.abs()), turn, I::I64Sub]);
        self.keep_fuel();
        self.check();
        self.put(&[I::LocalGet(size)]);
    }

    /// Reads or sets a global that holds a vector as two numbers.
    fn halves(&mut self, lower: u32, upper: u32, sets: bool) {
        if sets {
            let x = self.fuel + 4;
            self.put(&[I::LocalTee(x), I::I64x2ExtractLane(0), I::GlobalSet(lower)]);
            self.put(&[I::LocalGet(x), I::I64x2ExtractLane(1), I::GlobalSet(upper)]);
        } else {
            self.put(&[I::GlobalGet(lower), I::I64x2Splat]);
            self.put(&[I::GlobalGet(upper), I::I64x2ReplaceLane(1)]);
        }
    }

    /// Replaces NaNs on the stack's top by the canonical one.
    fn canonical(&mut self, shape: Shape) {
        let (x, nan, equal, choose) = match shape {
            Shape::F32 => (2, I::F32Const(f32::from_bits(NAN_32).into()), I::F32Eq, I::Select),
            Shape::F64 => (3, I::F64Const(f64::from_bits(NAN_64).into()), I::F64Eq, I::Select),
            Shape::F32x4 => (4, I::V128Const(NANS_32), I::F32x4Eq, I::V128Bitselect),
            Shape::F64x2 => (4, I::V128Const(NANS_64), I::F64x2Eq, I::V128Bitselect),
        };
        let x = self.fuel + x;
        self.put(&[I::LocalTee(x), nan, I::LocalGet(x), I::LocalGet(x), equal, choose]);
    }
}

/// Stands in for a function of the host: charges for the call, then makes it.
pub fn stand_in(import: u32, function: &HostFunction, places: Places<'_>) -> Function {
    let mut out = Function::new([]);
    let mut put = |instructions: &[I<'_>]| {
        for instruction in instructions {
            out.instruction(instruction);
        }
    };
    put(&[I::GlobalGet(places.fuel), I::I64Const(function.fuel.cast_signed()), I::I64Sub]);
    for length in function.lengths {
        put(&[I::LocalGet(*length), I::I64ExtendI32U, I::I64Const(BYTES_SHIFT), I::I64ShrU]);
        put(&[I::I64Sub]);
    }
    put(&[I::GlobalSet(places.fuel), I::GlobalGet(places.fuel), I::I64Const(0), I::I64LtS]);
    put(&[I::If(BlockType::Empty), I::Unreachable, I::End]);
    for param in 0..function.params.len() as u32 {
        put(&[I::LocalGet(param)]);
    }
    put(&[I::Call(import), I::End]);
    out
}
