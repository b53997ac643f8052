//! A particle's focus: its leaf in the list that the header commits to.

use anthill_merkle::rfc9162::{self, Sha256Tree};
use anthill_types::block::ROOT_FOCUS;
use anthill_types::graph::{GraphTotals, Particle};
use anthill_types::{Cid, keys};

use crate::bundle::MAX_PATH;
use crate::explain::{Facts, VerifyError};

/// States the mass of a particle. The path binds leaf and index, the state's count of particles the
/// size of the list, and the header's root the mass.
pub(crate) fn state_focus(facts: &mut Facts<'_>, cid: &Cid) -> Result<(), VerifyError> {
    let particle: Particle = facts.get(&keys::particle(cid), "the particle is missing")?;
    let totals: GraphTotals = facts.get(&keys::graph_totals(), "the graph's size is missing")?;
    let list = facts.lists.pop().ok_or(VerifyError::Contradiction("the path is missing"))?;
    let roots = &facts.header.roots;
    let root = roots.iter().find(|root| root.kind == ROOT_FOCUS);
    let root = root.ok_or(VerifyError::Contradiction("the header commits to no focus"))?;
    if list.root != ROOT_FOCUS || list.size != totals.particles || list.path.len() > MAX_PATH {
        return Err(VerifyError::Contradiction("the path is not one of the focus of this block"));
    }
    let path: Vec<_> = list.path.iter().map(|hash| hash.0).collect();
    let (leaf, index) = (&list.leaf.0, list.index);
    rfc9162::verify_inclusion::<Sha256Tree>(leaf, index, list.size, &path, &root.root.0)
        .map_err(VerifyError::List)?;
    let mass = leaf.strip_prefix(&cid.to_binary()).and_then(|mass| mass.try_into().ok());
    let mass = mass.ok_or(VerifyError::Contradiction("the path is that of another particle"))?;
    let (mass, height) = (u64::from_be_bytes(mass), facts.header.height);
    let share = nano(mass);
    facts.say(
        "focus",
        format!(
            "particle {cid} holds {mass} of 2^62 of the focus at height {height}: a share of \
             {share}; it is number {} of {} in order of CID",
            index + 1,
            list.size
        ),
    );
    let text = format!(
        "{} links begin or end in it; account {} made the first in block {}",
        particle.edges,
        particle.by.short(),
        particle.height
    );
    facts.say("particle", text);
    Ok(())
}

/// A share of all focus with nine digits, rounded down.
fn nano(mass: u64) -> String {
    let nano = (u128::from(mass) * 1_000_000_000) >> 62;
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All focus (`docs/spec/focus.md`).
    const ALL: u64 = 1 << 62;

    #[test]
    fn shares_are_rounded_down() {
        assert_eq!(nano(ALL), "1.000000000");
        assert_eq!(nano(ALL - 1), "0.999999999");
        assert_eq!(nano(ALL / 8), "0.125000000");
        assert_eq!(nano(0), "0.000000000");
    }
}
