//! Files of links, stakes and start values: read as a plain reader reads them, at any cut, and ranked
//! as the definition ranks them.

use std::collections::BTreeMap;

use anthill_focus::load::{
    LinkTable, LoadError, Reader, STAKE_LIMIT, StakeTable, StartTable, Table, account, push_mass,
};
use anthill_focus::{Damping, Graph, Link, ONE, plain, solve, solve_scalar};
use anthill_kernels::parallel::Sequential;
use anthill_types::{AccountId, Cid};

/// What separates the three files of an input.
pub const BREAK: u8 = 0x1c;
/// Graphs with more links than this are only read.
const MOST: usize = 200;

/// The first byte says where files are cut; the rest are links, stakes and start values.
pub fn run(data: &[u8]) {
    let Some((cut, rest)) = data.split_first() else { return };
    let mut files = rest.splitn(3, |byte| *byte == BREAK);
    let mut next = || files.next().unwrap_or_default();
    let (edges, stakes, start) = (next(), next(), next());
    let links = read::<LinkTable>(edges, *cut, 3);
    let stakes = read::<StakeTable>(stakes, *cut, 2);
    let start = read::<StartTable>(start, *cut, 2);
    let (Ok(links), Ok(stakes), Ok(start)) = (links, stakes, start) else { return };
    assert!(stakes.stakes.iter().sum::<u128>() < STAKE_LIMIT);
    if links.rows.len() <= MOST {
        rank(&links, &stakes, &start);
    }
}

/// Reads a file whole and in two pieces, and looks at both with a plain reader's eyes.
fn read<T: Table>(bytes: &[u8], cut: u8, fields: usize) -> Result<T, LoadError> {
    let whole = Reader::<T>::read("file", bytes);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let mut reader = Reader::<T>::new("file");
    let pieces = reader.feed(first).and_then(|()| reader.feed(second));
    let pieces = pieces.and_then(|()| reader.finish());
    match (&whole, &pieces) {
        (Ok(_), Ok(_)) => {
            assert!(!bytes.starts_with(b"\xef\xbb\xbf"), "a mark was taken for a name");
            for line in lines(bytes) {
                let text = std::str::from_utf8(line).expect("what is read is text");
                let parts: Vec<&str> = text.split('\t').collect();
                assert!(parts.len() == fields && parts.iter().all(|p| !p.is_empty()), "{text:?}");
            }
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole, pieces);
            assert!((1..=lines(bytes).len() as u64).contains(&whole.line), "{whole}");
        }
        _ => panic!("a cut at {cut} changes what is read"),
    }
    whole
}

/// Lines without their ends.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// The fast form and the definition give the same masses and residuals.
fn rank(links: &LinkTable, stakes: &StakeTable, start: &StartTable) {
    let (cids, accounts) = (links.cids(), links.accounts());
    let link = |[n, f, t]: &[u32; 3]| Link {
        neuron: accounts[*n as usize],
        from: cids[*f as usize],
        to: cids[*t as usize],
    };
    let all: Vec<Link> = links.rows.iter().map(link).collect();
    let stakes: BTreeMap<AccountId, u128> =
        stakes.neurons.iter().map(account).zip(stakes.stakes.iter().copied()).collect();
    let graph = Graph::from_links(all.clone(), stakes.clone()).expect("what was read is in range");
    let begin = start.by_slot("file", &graph).ok().filter(|_| !start.masses.is_empty());
    let by_cid: Option<BTreeMap<Cid, u64>> = begin.as_ref().map(|_| {
        let cids = start.particles.iter().map(|name| Cid::of(name.as_bytes()));
        cids.zip(start.masses.iter().copied()).collect()
    });
    let run = solve(&graph, Damping::default(), begin.as_deref(), &Sequential);
    assert_eq!(run, solve_scalar(&graph, Damping::default(), begin.as_deref()));
    let expected = plain::focus(&all, &stakes, Damping::default(), by_cid.as_ref());
    let masses = graph.canonical().iter().map(|s| (graph.cid(*s), run.masses[*s as usize]));
    assert_eq!(masses.collect::<BTreeMap<_, _>>(), expected.masses);
    assert_eq!(run.residuals, expected.residuals);
    let sum: u128 = expected.masses.values().map(|m| u128::from(*m)).sum();
    assert_eq!(sum, if expected.masses.is_empty() { 0 } else { u128::from(ONE) });
    written(links, &graph, &run.masses);
}

/// What is written is a start vector of the same graph, with the same masses.
fn written(links: &LinkTable, graph: &Graph, masses: &[u64]) {
    let mut text = String::new();
    for name in links.particles.iter() {
        if let Some(slot) = graph.slot(&Cid::of(name.as_bytes())) {
            push_mass(&mut text, name, masses[slot as usize]);
        }
    }
    let again = Reader::<StartTable>::read("file", text.as_bytes()).expect("it was written");
    assert_eq!(again.by_slot("file", graph).expect("it fits"), masses);
}
