//! Programs of users: WebAssembly modules, fetched by their content id and kept while they are used.

use anthill_sandbox::wasm::cost::MAX_MODULE;
use anthill_sandbox::wasm::{Kind, Wasm};
use anthill_types::{AccountId, Cid};

use crate::error::NodeError;
use crate::shared::Shared;
use crate::tasks::fetch_blob;

/// Instances that can stand in memory at once, if the machine has the address space.
const MOST_SLOTS: u32 = 2_048;

/// The engine for modules: the compiler, or where it finds no address space the interpreter.
///
/// # Errors
/// Neither works here.
pub fn engine(vn_max: u64) -> Result<Wasm, NodeError> {
    let slots = u32::try_from(vn_max).unwrap_or(u32::MAX).clamp(64, MOST_SLOTS);
    let wasm = Wasm::new(slots).or_else(|error| {
        tracing::warn!(%error, "modules are interpreted");
        Wasm::with(Kind::Interpreter, slots)
    });
    wasm.map_err(|error| NodeError::System {
        what: "starting the engine for modules",
        error: std::io::Error::other(error.to_string()),
    })
}

/// Sees to it that a program can be run here: a module that is not is fetched from the account that
/// submitted it, or from any peer that has it. What it is, is checked when it runs.
///
/// # Errors
/// Nobody who may give it has it.
pub async fn provide(shared: &Shared, program: &Cid, owner: &AccountId) -> Result<(), String> {
    if shared.fleet.has(program) {
        return Ok(());
    }
    let bytes = fetch_blob(shared, program, owner, MAX_MODULE as u64).await?;
    install(shared, &bytes);
    Ok(())
}

/// Adds a module to what this node can run; gives its program's id.
pub fn install(shared: &Shared, bytes: &[u8]) -> Cid {
    shared.fleet.install_module(bytes)
}
