//! The metering pass `meter/1`: checks a module and writes it again, so that every engine gives the
//! same result at the same cost.
//!
//! One input gives one output, byte for byte. What the pass adds:
//! - a global `anthill:fuel`, from which each basic block takes its cost. Entries of functions and
//!   heads of loops end the guest when it is below zero, so a guest that has used up its fuel is told
//!   from one that trapped by the sign of the global;
//! - a bound of the stack of calls, in slots that are the same for every engine;
//! - canonical NaNs, wherever the guest could see another;
//! - the most pages of its memory, and a name for each of its mutable globals, for snapshots; a vector
//!   is held as two numbers there.

mod depth;
mod effort;
mod emit;
mod nan;
mod parse;
mod plan;

use std::collections::BTreeMap;

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType,
    ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType, ImportSection,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasmparser::FuncValidatorAllocations;

use self::depth::Depths;
use self::emit::Places;
use self::parse::{Data, Parsed};
use super::abi;
use super::error::{ModuleCause, invalid};

/// Bytes of the small pages in which snapshots count.
pub const SMALL_PAGE: usize = 4096;

/// Names that the pass exports.
pub mod names {
    /// The fuel that is left.
    pub const FUEL: &str = "anthill:fuel";
    /// The start function.
    pub const START: &str = "anthill:start";

    /// A mutable global of the guest, by its number among them.
    pub fn global(number: usize) -> String {
        format!("anthill:g{number}")
    }
}

/// A module after the pass.
pub struct Instrumented {
    /// The module that engines run.
    pub bytes: Vec<u8>,
    /// Number of its mutable globals, exported under [`names::global`]; a vector counts as two.
    pub globals: usize,
    /// It has a start function, exported under [`names::START`].
    pub start: bool,
    /// It exports `_initialize`.
    pub initialize: bool,
    /// Pages of memory at the start, and at most.
    pub pages: (u64, u64),
    /// Number of its functions.
    pub functions: usize,
    /// Microseconds that a compiler may take for it, roughly.
    pub effort: u64,
    /// The parts of its memory that are not zero at the start.
    pub image: BTreeMap<u32, Box<[u8; SMALL_PAGE]>>,
}

/// Checks a module and writes it again.
///
/// # Errors
/// [`ModuleCause`] that says why it is refused.
pub fn instrument(bytes: &[u8]) -> Result<Instrumented, ModuleCause> {
    let mut module = parse::parse(bytes)?;
    let bodies = std::mem::take(&mut module.bodies);
    let mut allocations = FuncValidatorAllocations::default();
    let (mut plans, mut sources) = (Vec::new(), Vec::new());
    for (own, (function, body)) in bodies.into_iter().enumerate() {
        plans.push(plan::plan(function, &body, params(&module, own), &mut allocations)?);
        sources.push(body);
    }
    let imports = module.imports.len() as u32;
    let depths = Depths::new(&plans, imports)?;
    let halves = halves(&module);
    let places = Places {
        halves: &halves,
        fuel: module.globals.len() as u32,
        depth: module.globals.len() as u32 + 1,
        imports,
        stand_ins: imports + module.functions.len() as u32,
    };
    let mut code = CodeSection::new();
    for (own, (body, plan)) in sources.iter().zip(&plans).enumerate() {
        let params = params(&module, own).len() as u32;
        code.function(&emit::body(body, own, params, plan, &depths, places)?);
    }
    for (import, (function, _)) in module.imports.iter().enumerate() {
        code.function(&emit::stand_in(import as u32, &abi::FUNCTIONS[*function], places));
    }
    Ok(Instrumented {
        bytes: assemble(&module, &code, places)?,
        globals: mutable(&module, &halves).len(),
        start: module.start.is_some(),
        initialize: module.initialize.is_some(),
        pages: module.memory.unwrap_or_default(),
        functions: plans.len(),
        effort: effort(&plans, &depths, imports),
        image: image(&module),
    })
}

/// Microseconds that a compiler may take for all of it, roughly.
fn effort(plans: &[plan::Plan], depths: &Depths, imports: u32) -> u64 {
    let counted = |own: usize, plan: &plan::Plan| {
        let calls = plan.calls.iter().filter_map(|call| call.checked_sub(imports));
        calls.filter(|callee| depths.counts(own, *callee as usize)).count() as u64
    };
    let each = plans.iter().enumerate();
    let micros =
        each.map(|(own, plan)| plan.effort.saturating_add(effort::COUNTED * counted(own, plan)));
    micros.fold(0, u64::saturating_add)
}

/// Of each global: the index of the upper half of a mutable vector, behind all others.
fn halves(module: &Parsed<'_>) -> Vec<Option<u32>> {
    let mut next = module.globals.len() as u32 + 2;
    let half = |(ty, _): &(wasmparser::GlobalType, wasmparser::Operator<'_>)| {
        (ty.mutable && ty.content_type == wasmparser::ValType::V128).then(|| {
            next += 1;
            next - 1
        })
    };
    module.globals.iter().map(half).collect()
}

/// Indices of the mutable globals, in order; a vector has two.
fn mutable(module: &Parsed<'_>, halves: &[Option<u32>]) -> Vec<u32> {
    let globals = module.globals.iter().zip(halves).enumerate();
    globals
        .filter(|(_, ((ty, _), _))| ty.mutable)
        .flat_map(|(index, (_, half))| [Some(index as u32), *half])
        .flatten()
        .collect()
}

fn params<'m>(module: &'m Parsed<'_>, own: usize) -> &'m [wasmparser::ValType] {
    let ty = module.functions.get(own).and_then(|t| module.types.get(*t as usize));
    ty.map_or(&[], |t| t.params())
}

fn assemble(
    module: &Parsed<'_>,
    code: &CodeSection,
    places: Places<'_>,
) -> Result<Vec<u8>, ModuleCause> {
    let mut out = Module::new();
    out.section(&types(module)?);
    let mut imports = ImportSection::new();
    for (function, ty) in &module.imports {
        let name = abi::FUNCTIONS[*function].name;
        imports.import(abi::MODULE, name, EntityType::Function(*ty));
    }
    out.section(&imports);
    let mut functions = FunctionSection::new();
    for ty in module.functions.iter().chain(module.imports.iter().map(|(_, ty)| ty)) {
        functions.function(*ty);
    }
    out.section(&functions);
    if let Some(entries) = module.table {
        let least = u64::from(entries);
        out.section(TableSection::new().table(TableType {
            element_type: RefType::FUNCREF,
            minimum: least,
            maximum: Some(least),
            table64: false,
            shared: false,
        }));
    }
    let (least, most) = module.memory.unwrap_or_default();
    out.section(MemorySection::new().memory(MemoryType {
        minimum: least,
        maximum: Some(most),
        memory64: false,
        shared: false,
        page_size_log2: None,
    }));
    out.section(&globals(module, places)?);
    out.section(&exports(module, places));
    segments(module, code, places, &mut out);
    Ok(out.finish())
}

fn types(module: &Parsed<'_>) -> Result<TypeSection, ModuleCause> {
    let mut types = TypeSection::new();
    for ty in &module.types {
        let all = |types: &[wasmparser::ValType]| types.iter().map(|t| value(*t)).collect();
        let params: Result<Vec<_>, _> = all(ty.params());
        let results: Result<Vec<_>, _> = all(ty.results());
        types.ty().function(params?, results?);
    }
    Ok(types)
}

fn value(ty: wasmparser::ValType) -> Result<ValType, ModuleCause> {
    ty.try_into().map_err(|_| ModuleCause::Unsupported(format!("values of type {ty}")))
}

fn globals(module: &Parsed<'_>, places: Places<'_>) -> Result<GlobalSection, ModuleCause> {
    let mut globals = GlobalSection::new();
    let kind = |val_type, mutable| GlobalType { val_type, mutable, shared: false };
    let mut upper = Vec::new();
    for ((ty, first), half) in module.globals.iter().zip(places.halves) {
        if let (Some(_), wasmparser::Operator::V128Const { value }) = (half, first) {
            let value = value.i128();
            globals.global(kind(ValType::I64, true), &ConstExpr::i64_const(value as i64));
            upper.push((value >> 64) as i64);
            continue;
        }
        let first = ConstExpr::raw(encoded(&emit::instruction(first.clone(), places)?));
        globals.global(kind(value(ty.content_type)?, ty.mutable), &first);
    }
    globals.global(kind(ValType::I64, true), &ConstExpr::i64_const(0));
    globals.global(kind(ValType::I32, true), &ConstExpr::i32_const(0));
    for value in upper {
        globals.global(kind(ValType::I64, true), &ConstExpr::i64_const(value));
    }
    Ok(globals)
}

fn encoded(instruction: &wasm_encoder::Instruction<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wasm_encoder::Encode::encode(instruction, &mut bytes);
    bytes
}

fn exports(module: &Parsed<'_>, places: Places<'_>) -> ExportSection {
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    let functions =
        [("step", module.step), ("_initialize", module.initialize), (names::START, module.start)];
    for (name, index) in functions {
        if let Some(index) = index {
            exports.export(name, ExportKind::Func, places.function(index));
        }
    }
    exports.export(names::FUEL, ExportKind::Global, places.fuel);
    for (number, index) in mutable(module, places.halves).into_iter().enumerate() {
        exports.export(&names::global(number), ExportKind::Global, index);
    }
    exports
}

/// Elements, code and data.
fn segments(module: &Parsed<'_>, code: &CodeSection, places: Places<'_>, out: &mut Module) {
    let mut elements = ElementSection::new();
    for element in &module.elements {
        let items: Vec<u32> = element.items.iter().map(|f| places.function(*f)).collect();
        let offset = ConstExpr::i32_const(element.offset.cast_signed());
        elements.active(None, &offset, Elements::Functions(items.into()));
    }
    out.section(&elements);
    if module.data_count {
        out.section(&DataCountSection { count: module.data.len() as u32 });
    }
    out.section(code);
    let mut data = DataSection::new();
    for segment in &module.data {
        match segment {
            Data::Passive(bytes) => data.passive(bytes.iter().copied()),
            Data::Active(active) => {
                let offset = ConstExpr::i32_const(active.offset.cast_signed());
                data.active(0, &offset, active.items.iter().copied())
            }
        };
    }
    out.section(&data);
}

/// The memory's first content, in small pages that are not all zero.
fn image(module: &Parsed<'_>) -> BTreeMap<u32, Box<[u8; SMALL_PAGE]>> {
    let mut image = BTreeMap::new();
    for segment in &module.data {
        let Data::Active(active) = segment else { continue };
        let mut at = active.offset as usize;
        let mut rest = active.items;
        while !rest.is_empty() {
            let (page, inside) = (at / SMALL_PAGE, at % SMALL_PAGE);
            let (now, later) = rest.split_at(rest.len().min(SMALL_PAGE - inside));
            let content: &mut Box<[u8; SMALL_PAGE]> =
                image.entry(page as u32).or_insert_with(|| Box::new([0; SMALL_PAGE]));
            content[inside..inside + now.len()].copy_from_slice(now);
            (at, rest) = (at + now.len(), later);
        }
    }
    image.retain(|_, content| content.iter().any(|b| *b != 0));
    image
}

/// Reads a module back as an engine would, with the features that engines are given.
///
/// # Errors
/// It is not valid.
pub fn validate(bytes: &[u8]) -> Result<(), ModuleCause> {
    let features = wasmparser::WasmFeatures::WASM1
        | wasmparser::WasmFeatures::SIGN_EXTENSION
        | wasmparser::WasmFeatures::SATURATING_FLOAT_TO_INT
        | wasmparser::WasmFeatures::MULTI_VALUE
        | wasmparser::WasmFeatures::BULK_MEMORY
        | wasmparser::WasmFeatures::SIMD;
    wasmparser::Validator::new_with_features(features).validate_all(bytes).map_err(invalid)?;
    Ok(())
}
