//! Graphs in files: links and stakes read, particles found by name, values written.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anthill_focus::load::{LinkTable, Names, Reader, StakeTable, StartTable, Table, push_mass};
use anthill_focus::{Graph, Parts};
use anthill_types::{AccountId, Cid};

use crate::args_focus::GraphFiles;
use crate::error::CliError;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What the system says of a file.
pub fn file_error(path: &Path) -> impl Fn(std::io::Error) -> CliError {
    let path = path.display().to_string();
    move |error| CliError::File { path: path.clone(), error }
}

/// A table of a file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or a line makes no sense.
pub fn table<T: Table>(path: &Path) -> Result<T, CliError> {
    let mut input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(file_error(path))?)
    };
    let mut reader = Reader::<T>::new(&path.display().to_string());
    let mut piece = vec![0; PIECE];
    loop {
        let length = match input.read(&mut piece) {
            Ok(0) => return Ok(reader.finish()?),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(file_error(path)(error)),
        };
        reader.feed(piece.get(..length).unwrap_or_default())?;
    }
}

/// A start vector by slot.
///
/// # Errors
/// The file cannot be read, or makes no sense for the graph.
pub fn start(path: &Path, graph: &Graph) -> Result<Vec<u64>, CliError> {
    let start: StartTable = table(path)?;
    Ok(start.by_slot(&path.display().to_string(), graph)?)
}

/// Edges that have weight.
pub fn edges(graph: &Graph) -> usize {
    graph.edge_list().filter(|(_, _, stake)| *stake > 0).count()
}

/// A graph of files.
pub struct Offline {
    /// The graph.
    pub graph: Graph,
    particles: Names,
    neurons: Names,
}

impl Offline {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or makes no sense.
    pub fn load(files: &GraphFiles) -> Result<Self, CliError> {
        let mut links: LinkTable = table(&files.edges)?;
        let stakes: StakeTable = table(&files.stakes)?;
        // A stake of a neuron without links changes nothing.
        let mut by_neuron = vec![0; links.neurons.len()];
        for (name, stake) in stakes.neurons.iter().zip(&stakes.stakes) {
            let number = links.neurons.find(name);
            if let Some(place) = number.and_then(|n| by_neuron.get_mut(n as usize)) {
                *place = *stake;
            }
        }
        let graph = Graph::build(Parts {
            particles: links.cids(),
            neurons: links.accounts(),
            stakes: by_neuron,
            links: std::mem::take(&mut links.rows),
        })?;
        Ok(Self { graph, particles: links.particles, neurons: links.neurons })
    }

    /// Neurons that have links.
    pub fn linking_neurons(&self) -> usize {
        let accounts = self.neurons.iter().map(anthill_focus::load::account);
        accounts.filter(|account| !self.graph.links_of(account).is_empty()).count()
    }

    /// The slot of a particle by its text, else by its content id.
    ///
    /// # Errors
    /// The graph does not have it.
    pub fn find(&self, particle: &str) -> Result<u32, CliError> {
        let by_text = self.graph.slot(&Cid::of(particle.as_bytes()));
        let by_id = || self.graph.slot(&particle.parse().ok()?);
        by_text.or_else(by_id).ok_or_else(|| {
            CliError::Failed(format!("{particle:?} is no particle of the graph: it has no link"))
        })
    }

    /// Names of particles by content id, ascending.
    pub fn names(&self) -> Vec<(Cid, &str)> {
        let name = |name| (Cid::of(str::as_bytes(name)), name);
        let mut names: Vec<(Cid, &str)> = self.particles.iter().map(name).collect();
        names.sort_unstable();
        names
    }

    /// Names of neurons by account, ascending.
    pub fn accounts(&self) -> Vec<(AccountId, &str)> {
        let name = |name| (anthill_focus::load::account(name), name);
        let mut names: Vec<(AccountId, &str)> = self.neurons.iter().map(name).collect();
        names.sort_unstable();
        names
    }

    /// Writes a value for each particle in canonical order, by a function of position and slot.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        mut line: impl FnMut(&mut String, &str, usize, u32),
    ) -> Result<(), CliError> {
        let mut file = File::create(path).map_err(file_error(path))?;
        let names = self.names();
        let mut names = names.iter();
        let mut text = String::new();
        for (position, slot) in self.graph.canonical().iter().enumerate() {
            let cid = self.graph.cid(*slot);
            // Both ascend; names of particles that only link to themselves are passed by.
            if let Some((_, name)) = names.find(|(id, _)| *id == cid) {
                line(&mut text, name, position, *slot);
            }
            if text.len() >= PIECE {
                file.write_all(text.as_bytes()).map_err(file_error(path))?;
                text.clear();
            }
        }
        file.write_all(text.as_bytes()).map_err(file_error(path))
    }

    /// Writes masses by slot as a start file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_masses(&self, path: &Path, masses: &[u64]) -> Result<(), CliError> {
        self.write(path, |text, name, _, slot| {
            push_mass(text, name, masses.get(slot as usize).copied().unwrap_or_default());
        })
    }
}
