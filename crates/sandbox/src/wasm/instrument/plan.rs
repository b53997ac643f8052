//! What one function's body gets: where fuel is charged, which results are canonicalised, what it
//! calls and how large its frame is.
//!
//! Fuel is charged once for code that runs together. Where a branch leaves such code, what follows it
//! has a charge of its own only if that is worth more than the charge itself: a few units are charged
//! before the branch, whether it is taken or not.

use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, ValType, ValidatorResources,
};

use super::effort::Effort;
use super::nan::Nans;
use super::parse::number;
use crate::wasm::cost::{self, MAX_LOCALS, MAX_NESTING, MAX_TARGETS};
use crate::wasm::error::{ModuleCause, at_most, invalid};
use crate::wasm::floats::Shape;

/// The most fuel that is charged before a branch that may skip it.
const SMALL: u64 = 20;

/// A charge of fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The instruction after which it stands.
    pub after: usize,
    /// How much.
    pub fuel: u64,
    /// True at the head of a loop: the guest ends here when its fuel is used up.
    pub check: bool,
}

/// The plan of one function.
#[derive(Default)]
pub struct Plan {
    /// Fuel at the entry, which is checked too.
    pub entry: u64,
    /// Charges inside, in order of their places.
    pub charges: Vec<Charge>,
    /// Instructions whose NaNs are made canonical, in order.
    pub canonical: Vec<(usize, Shape)>,
    /// Functions that it calls by name, in order.
    pub calls: Vec<u32>,
    /// Slots of its frame.
    pub frame: u32,
    /// Microseconds that a compiler may take for it, roughly.
    pub effort: u64,
}

/// Where the fuel of the coming instructions is added.
#[derive(Clone, Copy)]
enum Segment {
    Entry,
    /// Index of a charge.
    At(usize),
}

struct Frame {
    /// Where the code before it, and so the code after it, is charged.
    outside: Segment,
    /// Some path leaves it without reaching its end.
    escapes: bool,
    /// Its beginning can be reached.
    alive: bool,
}

struct Planner {
    plan: Plan,
    frames: Vec<Frame>,
    segment: Segment,
    alive: bool,
    /// For each charge, what is charged on every way to it.
    before: Vec<Segment>,
    nans: Nans,
    targets: u64,
}

/// The operand stack in slots: a vector takes two.
#[derive(Default)]
struct Slots {
    /// Of each value: it is a vector.
    stack: Vec<bool>,
    vectors: u32,
}

impl Slots {
    /// After an instruction that took so many values, and left the stack at a height with values of
    /// types by their depths; gives the slots in use.
    fn follow(
        &mut self,
        pops: u32,
        height: u32,
        ty: impl Fn(usize) -> Option<Option<ValType>>,
    ) -> u32 {
        let kept = self.stack.len().saturating_sub(pops as usize).min(height as usize);
        self.vectors -= self.stack.drain(kept..).map(u32::from).sum::<u32>();
        for at in kept..height as usize {
            let vector = ty(height as usize - 1 - at) == Some(Some(ValType::V128));
            self.stack.push(vector);
            self.vectors += u32::from(vector);
        }
        height + self.vectors
    }
}

/// Slots that locals take.
fn slots(types: &[ValType]) -> u32 {
    (types.len() + types.iter().filter(|t| **t == ValType::V128).count()) as u32
}

/// Checks a body and plans what is put into it.
pub fn plan(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    params: &[ValType],
    allocations: &mut FuncValidatorAllocations,
) -> Result<Plan, ModuleCause> {
    let mut types = params.to_vec();
    for group in body.get_locals_reader().map_err(invalid)? {
        let (count, ty) = group.map_err(invalid)?;
        number(ty)?;
        at_most("locals in one function", types.len() as u64 + u64::from(count), MAX_LOCALS)?;
        types.extend((0..count).map(|_| ty));
    }
    let mut validator = function.into_validator(std::mem::take(allocations));
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader).map_err(invalid)?;
    let mut planner = Planner {
        plan: Plan::default(),
        frames: Vec::new(),
        segment: Segment::Entry,
        alive: true,
        before: Vec::new(),
        nans: Nans::new(params.len(), &types),
        targets: 0,
    };
    planner.enter();
    let mut effort = Effort::new(types.len());
    let (mut slots_used, mut slots_most) = (Slots::default(), 0);
    let mut operators = body.get_operators_reader().map_err(invalid)?;
    let mut at = 0;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
        let arity = operator.operator_arity(&validator.visitor(offset));
        validator.op(offset, &operator).map_err(invalid)?;
        let (pops, pushes) = arity.unwrap_or((0, 0));
        let height = validator.operand_stack_height();
        planner.nans.follow(at, &operator, (pops, pushes), height as usize);
        planner.flow(at, &operator)?;
        effort.follow(&operator)?;
        let used = slots_used.follow(pops, height, |depth| validator.get_operand_type(depth));
        slots_most = slots_most.max(used);
        at_most("nested blocks", validator.control_stack_height().into(), MAX_NESTING)?;
        at += 1;
    }
    operators.finish().map_err(invalid)?;
    *allocations = validator.into_allocations();
    planner.merge();
    let mut plan = planner.plan;
    plan.canonical = planner.nans.canonical();
    plan.charges.retain(|c| c.fuel > 0 || c.check);
    plan.effort = effort.micros();
    plan.frame = cost::frame(slots(&types), slots_most);
    Ok(plan)
}

impl Planner {
    fn enter(&mut self) {
        self.frames.push(Frame { outside: self.segment, escapes: false, alive: self.alive });
    }

    /// Begins a new charge after an instruction.
    fn split(&mut self, after: usize, check: bool, before: Segment) {
        self.before.push(before);
        self.segment = Segment::At(self.plan.charges.len());
        self.plan.charges.push(Charge { after, fuel: 0, check });
    }

    fn charge(&mut self, fuel: u64) {
        *self.fuel(self.segment) += fuel;
    }

    /// A branch to a label leaves all blocks inside of it without reaching their ends.
    fn branch(&mut self, depth: u32) {
        let inside = self.frames.len().saturating_sub(depth as usize);
        self.frames[inside..].iter_mut().for_each(|f| f.escapes = true);
    }

    fn leave_all(&mut self) {
        self.frames.iter_mut().for_each(|f| f.escapes = true);
    }

    /// Follows the flow of control, and adds up the fuel.
    fn flow(&mut self, at: usize, operator: &Operator<'_>) -> Result<(), ModuleCause> {
        let Some(fuel) = cost::of(operator) else {
            let name = format!("{operator:?}");
            let name = name.split([' ', '{']).next().unwrap_or_default().to_string();
            return Err(ModuleCause::Unsupported(format!("the instruction {name}")));
        };
        // A loop's own fuel is part of each of its rounds.
        let is_loop = matches!(operator, Operator::Loop { .. });
        if self.alive && !is_loop {
            self.charge(fuel);
        }
        match operator {
            Operator::Block { .. } => self.enter(),
            Operator::Loop { .. } => {
                self.enter();
                self.split(at, true, self.segment);
                self.charge(fuel);
            }
            Operator::If { .. } => {
                self.enter();
                self.split(at, false, self.segment);
            }
            Operator::Else => {
                let outside = self.frames.last().map(|f| (f.alive, f.outside));
                let (alive, outside) = outside.unwrap_or((false, Segment::Entry));
                self.alive = alive;
                self.split(at, false, outside);
            }
            Operator::End => self.end(at),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.alive = false;
            }
            Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth);
                self.split(at, false, self.segment);
            }
            Operator::BrTable { targets } => {
                self.targets += u64::from(targets.len());
                at_most("targets of tables in one function", self.targets, MAX_TARGETS)?;
                for target in targets.targets() {
                    self.branch(target.map_err(invalid)?);
                }
                self.branch(targets.default());
                self.alive = false;
            }
            Operator::Return => {
                self.leave_all();
                self.alive = false;
            }
            Operator::Unreachable => self.alive = false,
            Operator::Call { function_index } => self.plan.calls.push(*function_index),
            _ => {}
        }
        Ok(())
    }

    /// At a block's end the charging goes on where it was before the block, if every way through the
    /// block that does not trap comes here.
    fn end(&mut self, at: usize) {
        let Some(frame) = self.frames.pop() else { return };
        self.alive = frame.alive;
        if frame.escapes {
            self.split(at, false, frame.outside);
        } else {
            self.segment = frame.outside;
        }
    }

    fn fuel(&mut self, segment: Segment) -> &mut u64 {
        match segment {
            Segment::Entry => &mut self.plan.entry,
            Segment::At(index) => &mut self.plan.charges[index].fuel,
        }
    }

    /// Moves small charges to what is charged before them.
    fn merge(&mut self) {
        for index in (0..self.plan.charges.len()).rev() {
            let Charge { fuel, check, .. } = self.plan.charges[index];
            let before = self.before[index];
            if !check && fuel <= SMALL && fuel <= *self.fuel(before) {
                *self.fuel(before) += fuel;
                self.plan.charges[index].fuel = 0;
            }
        }
    }
}
