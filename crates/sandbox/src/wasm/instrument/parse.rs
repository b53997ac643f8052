//! Reads a module: everything but the bodies of its functions is checked here.

use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, FuncToValidate, FuncType,
    FunctionBody, GlobalType, MemoryType, Operator, Parser, Payload, RefType, TypeRef, ValType,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::wasm::abi;
use crate::wasm::cost::{
    MAX_ARITY, MAX_BODY, MAX_FUNCTIONS, MAX_GLOBALS, MAX_MODULE, MAX_PAGES, MAX_SEGMENTS,
    MAX_TABLE, MAX_TYPES,
};
use crate::wasm::error::{ModuleCause, at_most, invalid};

/// Bytes of a page of memory.
const PAGE: u64 = 65_536;

/// A segment that is there from the beginning.
pub struct Active<T> {
    /// Where it goes.
    pub offset: u32,
    /// What it holds.
    pub items: T,
}

/// A segment of data.
pub enum Data<'a> {
    /// Copied at the start.
    Active(Active<&'a [u8]>),
    /// Copied by `memory.init`.
    Passive(&'a [u8]),
}

/// A module whose parts outside of the bodies are good.
#[derive(Default)]
pub struct Parsed<'a> {
    /// The types of functions.
    pub types: Vec<FuncType>,
    /// Imports: the function of the host and the index of the type.
    pub imports: Vec<(usize, u32)>,
    /// Types of the functions.
    pub functions: Vec<u32>,
    /// Entries of the table.
    pub table: Option<u32>,
    /// Smallest and largest number of pages.
    pub memory: Option<(u64, u64)>,
    /// The globals with their first values.
    pub globals: Vec<(GlobalType, Operator<'a>)>,
    /// The function `step`.
    pub step: Option<u32>,
    /// The function `_initialize`.
    pub initialize: Option<u32>,
    /// The start function.
    pub start: Option<u32>,
    /// What fills the table.
    pub elements: Vec<Active<Vec<u32>>>,
    /// Number of segments of data, when the module says it before its code.
    pub data_count: bool,
    /// The segments of data.
    pub data: Vec<Data<'a>>,
    /// The functions' bodies.
    pub bodies: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'a>)>,
    exports_memory: bool,
}

/// What a module may use.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::FLOATS
        | WasmFeatures::SIMD
        | WasmFeatures::GC_TYPES
}

/// Reads and checks a module.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, ModuleCause> {
    at_most("bytes", bytes.len() as u64, MAX_MODULE as u64)?;
    let mut validator = Validator::new_with_features(features());
    let mut module = Parsed::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        module.bounds(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            at_most("bytes in one function", body.range().len() as u64, MAX_BODY)?;
            module.bodies.push((function, body));
        }
        module.take(payload)?;
    }
    module.complete()?;
    Ok(module)
}

fn unsupported<T>(what: impl Into<String>) -> Result<T, ModuleCause> {
    Err(ModuleCause::Unsupported(what.into()))
}

/// The sandbox knows numbers and vectors of them alone.
pub fn number(ty: ValType) -> Result<(), ModuleCause> {
    match ty {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => Ok(()),
        other => unsupported(format!("values of type {other}")),
    }
}

impl<'a> Parsed<'a> {
    /// Limits of counts, before anything is read in full.
    fn bounds(&self, payload: &Payload<'_>) -> Result<(), ModuleCause> {
        match payload {
            Payload::TypeSection(s) => at_most("types", s.count().into(), MAX_TYPES),
            Payload::FunctionSection(s) => at_most("functions", s.count().into(), MAX_FUNCTIONS),
            Payload::GlobalSection(s) => at_most("globals", s.count().into(), MAX_GLOBALS),
            Payload::ExportSection(s) => at_most("exports", s.count().into(), MAX_FUNCTIONS),
            Payload::ImportSection(s) => at_most("imports", s.count().into(), MAX_GLOBALS),
            Payload::ElementSection(s) => {
                at_most("element segments", s.count().into(), MAX_SEGMENTS)
            }
            Payload::DataSection(s) => at_most("data segments", s.count().into(), MAX_SEGMENTS),
            _ => Ok(()),
        }
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), ModuleCause> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.into_iter_err_on_gc_types() {
                    self.add_type(group.map_err(invalid)?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    self.import(import.module, import.name, import.ty)?;
                }
            }
            Payload::FunctionSection(section) => {
                self.functions = section.into_iter().collect::<Result<_, _>>().map_err(invalid)?;
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table.map_err(invalid)?.ty;
                    self.add_table(table)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.add_memory(memory.map_err(invalid)?)?;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global.map_err(invalid)?;
                    number(global.ty.content_type)?;
                    self.globals.push((global.ty, constant(&global.init_expr)?));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    self.export(export.name, export.kind, export.index)?;
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    self.add_element(element.map_err(invalid)?)?;
                }
            }
            Payload::DataCountSection { .. } => self.data_count = true,
            Payload::DataSection(section) => {
                for data in section {
                    self.add_data(data.map_err(invalid)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_type(&mut self, ty: FuncType) -> Result<(), ModuleCause> {
        at_most("parameters of one function", ty.params().len() as u64, MAX_ARITY)?;
        at_most("results of one function", ty.results().len() as u64, MAX_ARITY)?;
        ty.params().iter().chain(ty.results()).try_for_each(|t| number(*t))?;
        self.types.push(ty);
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) -> Result<(), ModuleCause> {
        let refuse = |why: &str| Err(ModuleCause::Import(format!("{module:?} {name:?}{why}")));
        let TypeRef::Func(index) = ty else { return refuse(", which is no function") };
        let found = abi::find(name).filter(|_| module == abi::MODULE);
        let Some(found) = found else { return refuse("") };
        let (wanted, given) = (&abi::FUNCTIONS[found], self.types.get(index as usize));
        if !given.is_some_and(|t| t.params() == wanted.params && t.results() == wanted.results) {
            return refuse(" with another type");
        }
        self.imports.push((found, index));
        Ok(())
    }

    fn add_table(&mut self, table: wasmparser::TableType) -> Result<(), ModuleCause> {
        if self.table.is_some() || table.element_type != RefType::FUNCREF || table.table64 {
            return unsupported("other tables than one of functions");
        }
        at_most("entries in its table", table.initial, MAX_TABLE)?;
        self.table = u32::try_from(table.initial).ok();
        Ok(())
    }

    fn add_memory(&mut self, memory: MemoryType) -> Result<(), ModuleCause> {
        if memory.memory64 || memory.shared || self.memory.is_some() {
            return unsupported("other memories than one of 32 bits that is not shared");
        }
        at_most("pages of memory", memory.initial, MAX_PAGES)?;
        let most = memory.maximum.unwrap_or(MAX_PAGES).min(MAX_PAGES);
        self.memory = Some((memory.initial, most));
        Ok(())
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) -> Result<(), ModuleCause> {
        match (name, kind) {
            ("memory", ExternalKind::Memory) => self.exports_memory = true,
            ("step", ExternalKind::Func) => self.step = Some(index),
            ("_initialize", ExternalKind::Func) => self.initialize = Some(index),
            (name, _) if name.starts_with("anthill:") => {
                return Err(ModuleCause::Reserved(name.to_string()));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_element(&mut self, element: wasmparser::Element<'a>) -> Result<(), ModuleCause> {
        // Nothing copies the other kinds of segments into the table: they are left out.
        let ElementKind::Active { offset_expr, .. } = &element.kind else { return Ok(()) };
        let ElementItems::Functions(functions) = element.items else {
            return unsupported("element expressions");
        };
        let items: Vec<u32> = functions.into_iter().collect::<Result<_, _>>().map_err(invalid)?;
        let offset = offset(offset_expr)?;
        if u64::from(offset) + items.len() as u64 > u64::from(self.table.unwrap_or(0)) {
            return Err(ModuleCause::Segment("element segment"));
        }
        self.elements.push(Active { offset, items });
        Ok(())
    }

    fn add_data(&mut self, data: wasmparser::Data<'a>) -> Result<(), ModuleCause> {
        let DataKind::Active { offset_expr, .. } = &data.kind else {
            self.data.push(Data::Passive(data.data));
            return Ok(());
        };
        let offset = offset(offset_expr)?;
        let bytes = self.memory.map_or(0, |(least, _)| least * PAGE);
        if u64::from(offset) + data.data.len() as u64 > bytes {
            return Err(ModuleCause::Segment("data segment"));
        }
        self.data.push(Data::Active(Active { offset, items: data.data }));
        Ok(())
    }

    /// The type of a function, imported or not.
    pub fn type_of(&self, function: u32) -> Option<&FuncType> {
        let at = function as usize;
        let imported = self.imports.get(at).map(|(_, ty)| *ty);
        let ty = imported.or_else(|| self.functions.get(at - self.imports.len()).copied())?;
        self.types.get(ty as usize)
    }

    /// The exports that a module must have, with their types.
    fn complete(&self) -> Result<(), ModuleCause> {
        if self.memory.is_none() || !self.exports_memory {
            return Err(ModuleCause::Export("its memory as \"memory\""));
        }
        let has_type = |function: Option<u32>, params: &[ValType], results: &[ValType]| {
            let ty = function.and_then(|f| self.type_of(f));
            ty.is_some_and(|t| t.params() == params && t.results() == results)
        };
        if !has_type(self.step, &[ValType::I32], &[ValType::I32]) {
            return Err(ModuleCause::Export("the function \"step\" (i32) -> i32"));
        }
        if self.initialize.is_some() && !has_type(self.initialize, &[], &[]) {
            return Err(ModuleCause::Export("\"_initialize\" as a function () -> ()"));
        }
        Ok(())
    }
}

/// The one instruction of a constant.
fn constant<'a>(expression: &ConstExpr<'a>) -> Result<Operator<'a>, ModuleCause> {
    let mut reader = expression.get_operators_reader();
    let operator = reader.read().map_err(invalid)?;
    match operator {
        Operator::I32Const { .. }
        | Operator::I64Const { .. }
        | Operator::F32Const { .. }
        | Operator::F64Const { .. }
        | Operator::V128Const { .. } => Ok(operator),
        _ => unsupported("computed constants"),
    }
}

fn offset(expression: &ConstExpr<'_>) -> Result<u32, ModuleCause> {
    match constant(expression)? {
        Operator::I32Const { value } => Ok(value.cast_unsigned()),
        _ => unsupported("computed offsets"),
    }
}
