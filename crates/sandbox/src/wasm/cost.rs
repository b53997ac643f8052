//! The table of costs and the limits of a module: all numbers of `meter/1`.
//!
//! A change of any of them changes results or costs, and so needs another version of the meter.

use wasmparser::Operator;

use super::{floats, vector};

/// Version of the metering pass.
pub const METER: &str = "meter/1";

/// Fuel in one unit of reference cost; `docs/SANDBOX.md` says how it was measured.
pub const FUEL_PER_UNIT: u64 = 5_000;

/// Longest module in bytes.
pub const MAX_MODULE: usize = 4 << 20;
/// Most pages (64 KiB) of memory of an instance.
pub const MAX_PAGES: u64 = 1024;
/// Most functions.
pub const MAX_FUNCTIONS: u64 = 20_000;
/// Longest body of a function in bytes.
pub const MAX_BODY: u64 = 256 << 10;
/// Most parameters and locals of a function.
pub const MAX_LOCALS: u64 = 2_000;
/// Most parameters, and most results, of a function or block.
pub const MAX_ARITY: u64 = 64;
/// Most types.
pub const MAX_TYPES: u64 = 10_000;
/// Most globals.
pub const MAX_GLOBALS: u64 = 1_000;
/// Most entries of the table.
pub const MAX_TABLE: u64 = 20_000;
/// Most segments of data, and most of elements.
pub const MAX_SEGMENTS: u64 = 10_000;
/// Most targets of all `br_table` instructions of a function.
pub const MAX_TARGETS: u64 = 20_000;
/// Deepest nesting of blocks in a function.
pub const MAX_NESTING: u64 = 1_000;

/// Stack of calls that repeat (recursion and indirect calls), in slots; see [`frame`].
pub const MAX_STACK: u32 = 24 << 10;
/// Stack of calls that cannot repeat, in slots; above it every call is counted.
pub const MAX_CHAIN: u32 = 8 << 10;

/// Fuel for each byte of the module, once at the start: reading and translating it.
pub const PER_MODULE_BYTE: u64 = 64;
/// Fuel for each page of memory, at the start and when it grows.
pub const PER_PAGE: u64 = 65_536;
/// Fuel for each call of `step` from outside.
pub const PER_STEP: u64 = 2_000;
/// Bytes moved by a bulk instruction or a host call for one unit of fuel, as a shift.
pub const BYTES_SHIFT: i64 = 1;
/// Shift that charges [`PER_PAGE`] for each page.
pub const PAGE_SHIFT: i64 = PER_PAGE.trailing_zeros() as i64;

/// Slots of a function's frame: what it can hold at once, and what a call itself needs. A vector
/// takes two.
pub fn frame(locals: u32, height: u32) -> u32 {
    8 + locals + height
}

/// Fuel of one instruction; `None` for one that the sandbox does not have.
pub fn of(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::Nop | O::Block { .. } | O::Else | O::End => 0,
        // Each round of a loop.
        O::Loop { .. } => 4,
        O::Unreachable | O::Drop | O::LocalGet { .. } | O::LocalSet { .. } => 1,
        O::LocalTee { .. } | O::I32Const { .. } | O::I64Const { .. } => 1,
        O::F32Const { .. } | O::F64Const { .. } | O::Return | O::Br { .. } => 1,
        O::If { .. } | O::BrIf { .. } | O::Select => 2,
        O::GlobalGet { .. } | O::GlobalSet { .. } | O::MemorySize { .. } => 2,
        O::BrTable { .. } => 4,
        O::Call { .. } => 8,
        O::CallIndirect { .. } => 16,
        O::MemoryGrow { .. } => 256,
        O::MemoryCopy { .. } | O::MemoryFill { .. } | O::MemoryInit { .. } => 32,
        other => memory(other)
            .or_else(|| integer(other))
            .or_else(|| float(other))
            .or_else(|| vector::fuel(other))?,
    })
}

fn memory(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    matches!(
        operator,
        O::I32Load { .. }
            | O::I64Load { .. }
            | O::F32Load { .. }
            | O::F64Load { .. }
            | O::I32Load8S { .. }
            | O::I32Load8U { .. }
            | O::I32Load16S { .. }
            | O::I32Load16U { .. }
            | O::I64Load8S { .. }
            | O::I64Load8U { .. }
            | O::I64Load16S { .. }
            | O::I64Load16U { .. }
            | O::I64Load32S { .. }
            | O::I64Load32U { .. }
            | O::I32Store { .. }
            | O::I64Store { .. }
            | O::F32Store { .. }
            | O::F64Store { .. }
            | O::I32Store8 { .. }
            | O::I32Store16 { .. }
            | O::I64Store8 { .. }
            | O::I64Store16 { .. }
            | O::I64Store32 { .. }
    )
    .then_some(2)
}

fn integer(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU => 8,
        O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => 12,
        O::I32Mul | O::I64Mul => 2,
        O::I32Clz | O::I32Ctz | O::I32Popcnt | O::I64Clz | O::I64Ctz | O::I64Popcnt => 2,
        O::I32Eqz | O::I32Eq | O::I32Ne | O::I32LtS | O::I32LtU | O::I32GtS => 1,
        O::I32GtU | O::I32LeS | O::I32LeU | O::I32GeS | O::I32GeU => 1,
        O::I64Eqz | O::I64Eq | O::I64Ne | O::I64LtS | O::I64LtU | O::I64GtS => 1,
        O::I64GtU | O::I64LeS | O::I64LeU | O::I64GeS | O::I64GeU => 1,
        O::I32Add | O::I32Sub | O::I32And | O::I32Or | O::I32Xor => 1,
        O::I32Shl | O::I32ShrS | O::I32ShrU | O::I32Rotl | O::I32Rotr => 1,
        O::I64Add | O::I64Sub | O::I64And | O::I64Or | O::I64Xor => 1,
        O::I64Shl | O::I64ShrS | O::I64ShrU | O::I64Rotl | O::I64Rotr => 1,
        O::I32WrapI64 | O::I64ExtendI32S | O::I64ExtendI32U => 1,
        O::I32Extend8S | O::I32Extend16S => 1,
        O::I64Extend8S | O::I64Extend16S | O::I64Extend32S => 1,
        O::I32ReinterpretF32 | O::I64ReinterpretF64 => 1,
        O::F32ReinterpretI32 | O::F64ReinterpretI64 => 1,
        _ => return None,
    })
}

fn float(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    if floats::scalar(operator).is_some() {
        return Some(match operator {
            O::F32Div | O::F64Div | O::F32Sqrt | O::F64Sqrt => 16,
            O::F32Add | O::F32Sub | O::F32Mul | O::F64Add | O::F64Sub | O::F64Mul => 3,
            _ => 6,
        });
    }
    Some(match operator {
        O::F32Eq | O::F32Ne | O::F32Lt | O::F32Gt | O::F32Le | O::F32Ge => 2,
        O::F64Eq | O::F64Ne | O::F64Lt | O::F64Gt | O::F64Le | O::F64Ge => 2,
        O::F32Abs | O::F32Neg | O::F32Copysign | O::F64Abs | O::F64Neg | O::F64Copysign => 2,
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U => 4,
        O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => 4,
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U => 6,
        O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U => 6,
        O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U => 6,
        O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U => 6,
        _ => return None,
    })
}
