//! Why a module is not accepted: what the submitter is told, with the module's content id.

use anthill_types::Cid;
use thiserror::Error;

/// A module that the sandbox does not run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("module {module} is refused: {cause}")]
pub struct ModuleError {
    /// The module's content id.
    pub module: Cid,
    /// What is wrong with it.
    pub cause: ModuleCause,
}

/// What is wrong with a module.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModuleCause {
    /// Its bytes are not a valid module of the features that are allowed.
    #[error("it is no WebAssembly module that this protocol reads: {0}")]
    NotAModule(String),
    /// A number in it is above its limit.
    #[error("it has {found} {what}, {most} are allowed: make it smaller or split the task")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        most: u64,
    },
    /// Something that is needed is not exported, or has another type.
    #[error("it has to export {0}")]
    Export(&'static str),
    /// It exports a name that is kept for the sandbox.
    #[error("it exports {0:?}: names that begin with \"anthill:\" are the sandbox's own")]
    Reserved(String),
    /// It imports what no host gives.
    #[error("it imports {0}: only the functions of module \"anthill\" in docs/SANDBOX.md exist")]
    Import(String),
    /// An instruction, a type or a segment that the sandbox leaves out.
    #[error("it uses {0}, which the sandbox does not have")]
    Unsupported(String),
    /// A data or element segment lies outside of its memory or table.
    #[error("its {0} lies outside of what it fills")]
    Segment(&'static str),
}

/// What the parser and the encoder say.
pub(crate) fn invalid(error: impl std::fmt::Display) -> ModuleCause {
    ModuleCause::NotAModule(error.to_string())
}

/// An error when a number is above its limit.
pub(crate) fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), ModuleCause> {
    if found > most { Err(ModuleCause::TooLarge { what, found, most }) } else { Ok(()) }
}
