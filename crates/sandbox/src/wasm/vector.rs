//! Fuel of the instructions on 128-bit vectors.

use wasmparser::Operator;

/// Fuel of an instruction on vectors; `None` for one that the sandbox does not have.
pub fn fuel(operator: &Operator<'_>) -> Option<u64> {
    memory(operator)
        .or_else(|| lanes(operator))
        .or_else(|| integer(operator))
        .or_else(|| float(operator))
}

/// Loads and stores.
fn memory(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::V128Load { .. } | O::V128Store { .. } => 3,
        O::V128Load32Zero { .. } | O::V128Load64Zero { .. } => 3,
        O::V128Load8x8S { .. } | O::V128Load8x8U { .. } | O::V128Load16x4S { .. } => 4,
        O::V128Load16x4U { .. } | O::V128Load32x2S { .. } | O::V128Load32x2U { .. } => 4,
        O::V128Load8Splat { .. } | O::V128Load16Splat { .. } => 4,
        O::V128Load32Splat { .. } | O::V128Load64Splat { .. } => 4,
        O::V128Load8Lane { .. } | O::V128Load16Lane { .. } => 4,
        O::V128Load32Lane { .. } | O::V128Load64Lane { .. } => 4,
        O::V128Store8Lane { .. } | O::V128Store16Lane { .. } => 4,
        O::V128Store32Lane { .. } | O::V128Store64Lane { .. } => 4,
        _ => return None,
    })
}

/// Constants, lanes, bits, and what a vector is asked for.
fn lanes(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::V128Const { .. } => 2,
        O::V128Not | O::V128And | O::V128AndNot | O::V128Or | O::V128Xor => 2,
        O::V128Bitselect => 4,
        O::I8x16Shuffle { .. } | O::I8x16Swizzle => 6,
        O::I8x16Splat | O::I16x8Splat | O::I32x4Splat | O::I64x2Splat => 3,
        O::F32x4Splat | O::F64x2Splat => 3,
        O::I8x16ExtractLaneS { .. } | O::I8x16ExtractLaneU { .. } => 4,
        O::I16x8ExtractLaneS { .. } | O::I16x8ExtractLaneU { .. } => 4,
        O::I32x4ExtractLane { .. } | O::I64x2ExtractLane { .. } => 4,
        O::F32x4ExtractLane { .. } | O::F64x2ExtractLane { .. } => 3,
        O::I8x16ReplaceLane { .. } | O::I16x8ReplaceLane { .. } => 4,
        O::I32x4ReplaceLane { .. } | O::I64x2ReplaceLane { .. } => 4,
        O::F32x4ReplaceLane { .. } | O::F64x2ReplaceLane { .. } => 3,
        O::I8x16Bitmask | O::I16x8Bitmask | O::I32x4Bitmask | O::I64x2Bitmask => 12,
        O::V128AnyTrue => 16,
        O::I8x16AllTrue | O::I16x8AllTrue | O::I32x4AllTrue | O::I64x2AllTrue => 24,
        _ => return None,
    })
}

/// Arithmetic and comparison of integers.
fn integer(operator: &Operator<'_>) -> Option<u64> {
    add(operator)
        .or_else(|| compare(operator))
        .or_else(|| multiply(operator))
        .or_else(|| shift(operator))
}

fn add(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::I8x16Add | O::I8x16AddSatS | O::I8x16AddSatU | O::I8x16Sub | O::I8x16SubSatS => 2,
        O::I8x16SubSatU | O::I16x8Add | O::I16x8AddSatS | O::I16x8AddSatU | O::I16x8Sub => 2,
        O::I16x8SubSatS | O::I16x8SubSatU | O::I32x4Add | O::I32x4Sub => 2,
        O::I64x2Add | O::I64x2Sub => 2,
        O::I8x16MinS | O::I8x16MinU | O::I8x16MaxS | O::I8x16MaxU | O::I8x16AvgrU => 2,
        O::I16x8MinS | O::I16x8MinU | O::I16x8MaxS | O::I16x8MaxU | O::I16x8AvgrU => 2,
        O::I32x4MinS | O::I32x4MinU | O::I32x4MaxS | O::I32x4MaxU => 2,
        O::I8x16Abs | O::I8x16Neg | O::I16x8Abs | O::I16x8Neg | O::I32x4Abs | O::I32x4Neg => 2,
        O::I64x2Neg => 2,
        O::I64x2Abs => 4,
        O::I8x16NarrowI16x8S | O::I8x16NarrowI16x8U => 3,
        O::I16x8NarrowI32x4S | O::I16x8NarrowI32x4U => 3,
        O::I16x8ExtendLowI8x16S | O::I16x8ExtendHighI8x16S | O::I16x8ExtendLowI8x16U => 3,
        O::I16x8ExtendHighI8x16U | O::I32x4ExtendLowI16x8S | O::I32x4ExtendHighI16x8S => 3,
        O::I32x4ExtendLowI16x8U | O::I32x4ExtendHighI16x8U | O::I64x2ExtendLowI32x4S => 3,
        O::I64x2ExtendHighI32x4S | O::I64x2ExtendLowI32x4U | O::I64x2ExtendHighI32x4U => 3,
        _ => return None,
    })
}

fn compare(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::I8x16Eq | O::I8x16GtS | O::I8x16LtS | O::I16x8Eq | O::I16x8GtS | O::I16x8LtS => 2,
        O::I32x4Eq | O::I32x4GtS | O::I32x4LtS | O::I64x2Eq => 2,
        O::I8x16Ne | O::I8x16LtU | O::I8x16GtU | O::I8x16LeS | O::I8x16LeU | O::I8x16GeS => 4,
        O::I8x16GeU | O::I16x8Ne | O::I16x8LtU | O::I16x8GtU | O::I16x8LeS | O::I16x8LeU => 4,
        O::I16x8GeS | O::I16x8GeU | O::I32x4Ne | O::I32x4LtU | O::I32x4GtU | O::I32x4LeS => 4,
        O::I32x4LeU | O::I32x4GeS | O::I32x4GeU | O::I64x2Ne => 4,
        O::I64x2LtS | O::I64x2GtS | O::I64x2LeS | O::I64x2GeS => 4,
        _ => return None,
    })
}

fn multiply(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::I16x8Mul | O::I32x4DotI16x8S => 4,
        O::I16x8Q15MulrSatS => 8,
        O::I32x4Mul => 12,
        O::I64x2Mul => 20,
        O::I16x8ExtMulLowI8x16S | O::I16x8ExtMulHighI8x16S | O::I16x8ExtMulLowI8x16U => 8,
        O::I16x8ExtMulHighI8x16U | O::I32x4ExtMulLowI16x8S | O::I32x4ExtMulHighI16x8S => 8,
        O::I32x4ExtMulLowI16x8U | O::I32x4ExtMulHighI16x8U => 8,
        O::I64x2ExtMulLowI32x4S | O::I64x2ExtMulHighI32x4S => 20,
        O::I64x2ExtMulLowI32x4U | O::I64x2ExtMulHighI32x4U => 20,
        O::I16x8ExtAddPairwiseI8x16S | O::I16x8ExtAddPairwiseI8x16U => 8,
        O::I32x4ExtAddPairwiseI16x8S | O::I32x4ExtAddPairwiseI16x8U => 8,
        O::I8x16Popcnt => 12,
        _ => return None,
    })
}

fn shift(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::I16x8Shl | O::I16x8ShrS | O::I16x8ShrU | O::I32x4Shl | O::I32x4ShrS => 4,
        O::I32x4ShrU | O::I64x2Shl | O::I64x2ShrU => 4,
        O::I8x16Shl | O::I8x16ShrU | O::I64x2ShrS => 12,
        O::I8x16ShrS => 16,
        _ => return None,
    })
}

fn float(operator: &Operator<'_>) -> Option<u64> {
    use Operator as O;
    Some(match operator {
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F64x2Add | O::F64x2Sub | O::F64x2Mul => 4,
        O::F32x4Div | O::F64x2Div | O::F32x4Sqrt | O::F64x2Sqrt => 24,
        O::F32x4Eq | O::F32x4Ne | O::F32x4Lt | O::F32x4Gt | O::F32x4Le | O::F32x4Ge => 4,
        O::F64x2Eq | O::F64x2Ne | O::F64x2Lt | O::F64x2Gt | O::F64x2Le | O::F64x2Ge => 4,
        O::F32x4Abs | O::F32x4Neg | O::F64x2Abs | O::F64x2Neg => 3,
        O::F32x4PMin | O::F32x4PMax | O::F64x2PMin | O::F64x2PMax => 4,
        O::F32x4Min | O::F32x4Max | O::F64x2Min | O::F64x2Max => 32,
        O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest => 8,
        O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest => 8,
        O::F32x4ConvertI32x4S | O::F64x2ConvertLowI32x4S => 6,
        O::F32x4ConvertI32x4U | O::F64x2ConvertLowI32x4U => 12,
        O::I32x4TruncSatF32x4S | O::I32x4TruncSatF64x2SZero => 28,
        O::I32x4TruncSatF32x4U | O::I32x4TruncSatF64x2UZero => 32,
        O::F32x4DemoteF64x2Zero | O::F64x2PromoteLowF32x4 => 6,
        _ => return None,
    })
}
