//! The three tables: links, stakes, start values.

use anthill_types::hash::blake3;
use anthill_types::{AccountId, Cid};

use super::lines::Table;
use super::{LoadError, Names, Reason, STAKE_LIMIT};
use crate::{Graph, ONE};

/// The account of a neuron that a file names: the BLAKE3 hash of the name's bytes.
pub fn account(name: &str) -> AccountId {
    AccountId(blake3(name.as_bytes()))
}

/// Lines of `neuron<TAB>from<TAB>to`: 12 bytes a line, and each name once.
#[derive(Debug, Default)]
pub struct LinkTable {
    /// The neurons' names.
    pub neurons: Names,
    /// The particles' names.
    pub particles: Names,
    /// Numbers of neuron, `from` and `to` of each line.
    pub rows: Vec<[u32; 3]>,
}

impl Table for LinkTable {
    const FIELDS: &'static [&'static str] = &["neuron", "from", "to"];
    const FORM: &'static str = "neuron, from and to";

    fn row(&mut self, fields: &[&str]) -> Result<(), Reason> {
        let [neuron, from, to] = fields else { return Ok(()) };
        // Files are mostly sorted by neuron: the last one is looked at first.
        let last = self.rows.last().map(|row| row[0]).filter(|n| self.neurons.get(*n) == *neuron);
        let neuron = match last {
            Some(number) => number,
            None => self.neurons.add(neuron)?.0,
        };
        let (from, to) = (self.particles.add(from)?.0, self.particles.add(to)?.0);
        self.rows.push([neuron, from, to]);
        Ok(())
    }
}

impl LinkTable {
    /// The content ids of the particles, in the order of their numbers.
    pub fn cids(&self) -> Vec<Cid> {
        self.particles.iter().map(|name| Cid::of(name.as_bytes())).collect()
    }

    /// The neurons' accounts, in the order of their numbers.
    pub fn accounts(&self) -> Vec<AccountId> {
        self.neurons.iter().map(account).collect()
    }
}

/// Lines of `neuron<TAB>stake`.
#[derive(Debug, Default)]
pub struct StakeTable {
    /// The neurons' names.
    pub neurons: Names,
    /// The stake of each.
    pub stakes: Vec<u128>,
    sum: u128,
}

impl Table for StakeTable {
    const FIELDS: &'static [&'static str] = &["neuron", "stake"];
    const FORM: &'static str = "neuron and stake";

    fn row(&mut self, fields: &[&str]) -> Result<(), Reason> {
        let [neuron, stake] = fields else { return Ok(()) };
        if let Some(digits) = stake.strip_prefix('-').filter(|d| whole(d)) {
            return Err(Reason::Negative(shortened(&format!("-{digits}"))));
        }
        let stake = number(stake, STAKE_LIMIT - 1, Reason::StakeTooLarge)?;
        if !self.neurons.add(neuron)?.1 {
            return Err(Reason::Twice(shortened(neuron)));
        }
        self.sum =
            self.sum.checked_add(stake).filter(|s| *s < STAKE_LIMIT).ok_or(Reason::StakeSum)?;
        self.stakes.push(stake);
        Ok(())
    }
}

/// Lines of `particle<TAB>pi`.
#[derive(Debug, Default)]
pub struct StartTable {
    /// The particles' names.
    pub particles: Names,
    /// The value of each.
    pub masses: Vec<u64>,
}

impl Table for StartTable {
    const FIELDS: &'static [&'static str] = &["particle", "pi"];
    const FORM: &'static str = "particle and pi";

    fn row(&mut self, fields: &[&str]) -> Result<(), Reason> {
        let [particle, mass] = fields else { return Ok(()) };
        let mass = number(mass, u128::from(ONE), Reason::MassTooLarge)?;
        if !self.particles.add(particle)?.1 {
            return Err(Reason::Twice(shortened(particle)));
        }
        self.masses.push(mass as u64);
        Ok(())
    }
}

impl StartTable {
    /// The start vector by slot of a graph; particles without a line start at 0. `file` is the file's
    /// name in messages. An empty table is the start of an empty graph.
    ///
    /// # Errors
    /// A particle that the graph does not have, or a sum other than [`ONE`].
    pub fn by_slot(&self, file: &str, graph: &Graph) -> Result<Vec<u64>, LoadError> {
        let error =
            |line: usize, reason| LoadError { file: file.into(), line: line as u64, reason };
        let mut found = vec![0; graph.slots()];
        for (at, (name, mass)) in self.particles.iter().zip(&self.masses).enumerate() {
            let slot = graph.slot(&Cid::of(name.as_bytes()));
            let Some(place) = slot.and_then(|slot| found.get_mut(slot as usize)) else {
                return Err(error(at + 1, Reason::Unknown(shortened(name))));
            };
            *place = *mass;
        }
        let sum: u128 = self.masses.iter().map(|m| u128::from(*m)).sum();
        if sum != u128::from(ONE) && graph.particles() > 0 {
            return Err(error(self.masses.len().max(1), Reason::StartSum(sum)));
        }
        Ok(found)
    }
}

/// Appends a line of a start file, which is also what a result is written as.
pub fn push_mass(text: &mut String, particle: &str, mass: u64) {
    text.push_str(particle);
    text.push('\t');
    text.push_str(&mass.to_string());
    text.push('\n');
}

fn whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn number(text: &str, most: u128, large: impl Fn(String) -> Reason) -> Result<u128, Reason> {
    if !whole(text) {
        return Err(Reason::NotANumber(shortened(text)));
    }
    // Leading zeros change no number; what then does not fit is too large.
    let digits = text.trim_start_matches('0');
    let value = if digits.is_empty() { Ok(0) } else { digits.parse::<u128>() };
    value.ok().filter(|v| *v <= most).ok_or_else(|| large(shortened(text)))
}

/// A text for a message.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
