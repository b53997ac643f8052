//! What instructions do to NaNs: which of them may give any, and which do not care.

use wasmparser::Operator;

/// What a result is made of, when it may hold a NaN of any sign and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// An `f32`.
    F32,
    /// An `f64`.
    F64,
    /// A vector of four `f32`.
    F32x4,
    /// A vector of two `f64`.
    F64x2,
}

/// The shape of an instruction's result, when a NaN in it may have any sign and payload.
pub fn rounds(operator: &Operator<'_>) -> Option<Shape> {
    scalar(operator).or_else(|| vector(operator))
}

/// The same for instructions on scalars.
pub fn scalar(operator: &Operator<'_>) -> Option<Shape> {
    use Operator as O;
    Some(match operator {
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Sqrt | O::F32Min => Shape::F32,
        O::F32Max | O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest => Shape::F32,
        O::F32DemoteF64 => Shape::F32,
        O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Sqrt | O::F64Min => Shape::F64,
        O::F64Max | O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest => Shape::F64,
        O::F64PromoteF32 => Shape::F64,
        _ => return None,
    })
}

/// The same for instructions on vectors: not the ones that choose or change a sign (`pmin`, `pmax`,
/// `abs`, `neg`).
fn vector(operator: &Operator<'_>) -> Option<Shape> {
    use Operator as O;
    Some(match operator {
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Sqrt => Shape::F32x4,
        O::F32x4Min | O::F32x4Max | O::F32x4Ceil | O::F32x4Floor => Shape::F32x4,
        O::F32x4Trunc | O::F32x4Nearest | O::F32x4DemoteF64x2Zero => Shape::F32x4,
        O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Sqrt => Shape::F64x2,
        O::F64x2Min | O::F64x2Max | O::F64x2Ceil | O::F64x2Floor => Shape::F64x2,
        O::F64x2Trunc | O::F64x2Nearest | O::F64x2PromoteLowF32x4 => Shape::F64x2,
        _ => return None,
    })
}

/// True for an instruction on scalars whose result is the same for every NaN, but for a NaN that it
/// gives itself.
pub fn ignores_payload(operator: &Operator<'_>) -> bool {
    use Operator as O;
    scalar(operator).is_some()
        || matches!(
            operator,
            O::Drop
                | O::F32Eq
                | O::F32Ne
                | O::F32Lt
                | O::F32Gt
                | O::F32Le
                | O::F32Ge
                | O::F64Eq
                | O::F64Ne
                | O::F64Lt
                | O::F64Gt
                | O::F64Le
                | O::F64Ge
                | O::I32TruncF32S
                | O::I32TruncF32U
                | O::I32TruncF64S
                | O::I32TruncF64U
                | O::I64TruncF32S
                | O::I64TruncF32U
                | O::I64TruncF64S
                | O::I64TruncF64U
                | O::I32TruncSatF32S
                | O::I32TruncSatF32U
                | O::I32TruncSatF64S
                | O::I32TruncSatF64U
                | O::I64TruncSatF32S
                | O::I64TruncSatF32U
                | O::I64TruncSatF64S
                | O::I64TruncSatF64U
        )
}

/// For an instruction on vectors: the shape of operands for which its result is the same for every NaN
/// in them, but for a NaN that it gives itself.
pub fn ignored(operator: &Operator<'_>) -> Option<Shape> {
    use Operator as O;
    match operator {
        O::F32x4DemoteF64x2Zero => Some(Shape::F64x2),
        O::F64x2PromoteLowF32x4 => Some(Shape::F32x4),
        O::F32x4Eq | O::F32x4Ne | O::F32x4Lt | O::F32x4Gt | O::F32x4Le => Some(Shape::F32x4),
        O::F32x4Ge | O::I32x4TruncSatF32x4S | O::I32x4TruncSatF32x4U => Some(Shape::F32x4),
        O::F64x2Eq | O::F64x2Ne | O::F64x2Lt | O::F64x2Gt | O::F64x2Le => Some(Shape::F64x2),
        O::F64x2Ge | O::I32x4TruncSatF64x2SZero => Some(Shape::F64x2),
        O::I32x4TruncSatF64x2UZero => Some(Shape::F64x2),
        other => vector(other),
    }
}
