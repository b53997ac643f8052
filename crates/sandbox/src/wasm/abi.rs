//! The functions that a guest may import from the module `anthill`: names, types and fuel.

use wasmparser::ValType::{self, I32, I64};

/// Name of the module of imports.
pub const MODULE: &str = "anthill";

/// One function of the host.
pub struct HostFunction {
    /// Its name.
    pub name: &'static str,
    /// Types of its parameters.
    pub params: &'static [ValType],
    /// Types of its results.
    pub results: &'static [ValType],
    /// Fuel of a call.
    pub fuel: u64,
    /// Parameters that are lengths in bytes: each is charged too, two bytes being one unit of fuel.
    pub lengths: &'static [u32],
}

/// All of them.
pub const FUNCTIONS: [HostFunction; 9] = [
    HostFunction { name: "input_len", params: &[], results: &[I32], fuel: 128, lengths: &[] },
    HostFunction {
        name: "input",
        params: &[I32, I32, I32],
        results: &[I32],
        fuel: 256,
        lengths: &[2],
    },
    HostFunction { name: "args_len", params: &[], results: &[I32], fuel: 128, lengths: &[] },
    HostFunction { name: "args", params: &[I32, I32], results: &[I32], fuel: 256, lengths: &[1] },
    HostFunction { name: "output", params: &[I32, I32], results: &[], fuel: 256, lengths: &[1] },
    HostFunction { name: "log", params: &[I32, I32], results: &[], fuel: 256, lengths: &[1] },
    HostFunction { name: "progress", params: &[I64, I64], results: &[], fuel: 128, lengths: &[] },
    HostFunction {
        name: "kv_get",
        params: &[I32, I32, I32, I32],
        results: &[I32],
        fuel: 1024,
        lengths: &[1, 3],
    },
    HostFunction {
        name: "kv_put",
        params: &[I32, I32, I32, I32],
        results: &[I32],
        fuel: 1024,
        lengths: &[1, 3],
    },
];

/// The function of a name.
pub fn find(name: &str) -> Option<usize> {
    FUNCTIONS.iter().position(|f| f.name == name)
}
