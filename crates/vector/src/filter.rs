//! Filtered search: through the graph or by a scan, whichever the measured selectivity makes cheaper.

use std::collections::BTreeSet;

use crate::index::prepare;
use crate::search::Scratch;
use crate::space::{Query, Source};
use crate::{Answer, Index, Input, ItemId, VectorError, ask};

/// Items that are tried to estimate how selective a predicate is.
const SAMPLE: usize = 512;
/// Cost of one candidate in a graph search, against the cost of scoring one item of a scan.
const CANDIDATE_COST: f64 = 24.0;
/// Cost of asking a predicate about one item, against the same.
const PREDICATE_COST: f64 = 0.4;
/// Passing items that are looked for at least, when `ef` is small.
const LEAST_CANDIDATES: usize = 32;

/// How a filtered search is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Walk the graph over all items, and keep those that pass.
    Graph,
    /// Score all items that pass.
    Scan,
}

/// What a filtered search decided, and by what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The way taken.
    pub route: Route,
    /// Share of the items that pass: counted for a set of ids, estimated from up to 512 evenly
    /// spaced slots for a predicate.
    pub selectivity: f64,
}

impl Plan {
    /// Weighs the two ways; `asked` is the number of items that a scan has to ask about. The graph
    /// is expected to look at `ef / selectivity` candidates until `ef` of them pass.
    fn new(selectivity: f64, items: usize, asked: usize, ef: usize) -> Self {
        let passing = selectivity * items as f64;
        let scan = passing + asked as f64 * PREDICATE_COST;
        let graph = ef as f64 / selectivity * (CANDIDATE_COST + PREDICATE_COST);
        let route = if graph < scan { Route::Graph } else { Route::Scan };
        Self { route, selectivity }
    }
}

impl Index {
    /// The plan of [`Self::search_where`].
    pub fn plan_where(&self, k: usize, ef: usize, accept: impl Fn(&ItemId) -> bool) -> Plan {
        let store = &self.store;
        let step = (store.slots() / SAMPLE).max(1);
        let tried = (0..store.slots() as u32).step_by(step).filter(|n| store.alive(*n));
        let (mut all, mut passing) = (0usize, 0usize);
        for node in tried {
            all += 1;
            passing += usize::from(accept(store.id(node)));
        }
        // None of a sample is still taken as less than one of it.
        let selectivity = (passing as f64).max(0.5) / all.max(1) as f64;
        let ef = ask::wide(store, k, ef).max(LEAST_CANDIDATES);
        Plan::new(selectivity.min(1.0), self.len(), self.len(), ef)
    }

    /// The plan of [`Self::search_among`].
    pub fn plan_among(&self, k: usize, ef: usize, ids: &BTreeSet<ItemId>) -> Plan {
        let present = ids.iter().filter(|id| self.contains(id)).count();
        let selectivity = present as f64 / self.len().max(1) as f64;
        let ef = ask::wide(&self.store, k, ef).max(LEAST_CANDIDATES);
        Plan::new(selectivity, self.len(), ids.len(), ef)
    }

    /// The `k` nearest items among those whose id `accept` takes (fewer if not so many pass), and
    /// the plan that found them.
    ///
    /// # Errors
    /// [`VectorError::Empty`], or what [`Input`] says of the query.
    pub fn search_where<'a>(
        &self,
        scratch: &mut Scratch,
        query: impl Into<Input<'a>>,
        (k, ef): (usize, usize),
        accept: impl Fn(&ItemId) -> bool,
    ) -> Result<(Answer, Plan), VectorError> {
        let plan = self.plan_where(k, ef, &accept);
        Ok((self.search_by(plan.route, scratch, query, (k, ef), accept)?, plan))
    }

    /// As [`Self::search_where`] on a route of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::search_where`].
    pub fn search_by<'a>(
        &self,
        route: Route,
        scratch: &mut Scratch,
        query: impl Into<Input<'a>>,
        (k, ef): (usize, usize),
        accept: impl Fn(&ItemId) -> bool,
    ) -> Result<Answer, VectorError> {
        self.search_input_by(route, scratch, query.into(), (k, ef), &accept)
    }

    // What does the work takes no type parameter, so that it is compiled here, for speed.
    fn search_input_by(
        &self,
        route: Route,
        scratch: &mut Scratch,
        query: Input<'_>,
        (k, ef): (usize, usize),
        accept: &dyn Fn(&ItemId) -> bool,
    ) -> Result<Answer, VectorError> {
        let query = prepare(&self.store, query)?;
        let store = &self.store;
        let passes = |n: u32| store.alive(n) && accept(store.id(n));
        match route {
            Route::Graph => self.walk(scratch, &query, (k, ef), passes),
            Route::Scan if self.is_empty() => Err(VectorError::Empty),
            Route::Scan => {
                let nodes: Vec<u32> = (0..store.slots() as u32).filter(|n| passes(*n)).collect();
                Ok(ask::scan(store, &query, &nodes, k))
            }
        }
    }

    /// The `k` nearest items among those of a set of ids (fewer if not so many are there), and the
    /// plan that found them.
    ///
    /// # Errors
    /// [`VectorError::Empty`], or what [`Input`] says of the query.
    pub fn search_among<'a>(
        &self,
        scratch: &mut Scratch,
        query: impl Into<Input<'a>>,
        (k, ef): (usize, usize),
        ids: &BTreeSet<ItemId>,
    ) -> Result<(Answer, Plan), VectorError> {
        self.search_input_among(scratch, query.into(), (k, ef), ids)
    }

    fn search_input_among(
        &self,
        scratch: &mut Scratch,
        query: Input<'_>,
        (k, ef): (usize, usize),
        ids: &BTreeSet<ItemId>,
    ) -> Result<(Answer, Plan), VectorError> {
        let query = prepare(&self.store, query)?;
        if self.is_empty() {
            return Err(VectorError::Empty);
        }
        let plan = self.plan_among(k, ef, ids);
        let store = &self.store;
        let answer = match plan.route {
            Route::Graph => {
                let passes = |n: u32| store.alive(n) && ids.contains(store.id(n));
                self.walk(scratch, &query, (k, ef), passes)?
            }
            Route::Scan => {
                let nodes: Vec<u32> = ids.iter().filter_map(|id| self.nodes.get(id)).collect();
                ask::scan(store, &query, &nodes, k)
            }
        };
        Ok((answer, plan))
    }

    /// Searches the graph for nodes that pass.
    fn walk(
        &self,
        scratch: &mut Scratch,
        query: &Query,
        (k, ef): (usize, usize),
        passes: impl Fn(u32) -> bool,
    ) -> Result<Answer, VectorError> {
        let (store, probe) = (&self.store, query.probe());
        let entry = store.entry().filter(|_| !self.is_empty()).ok_or(VectorError::Empty)?;
        let ef = ask::wide(store, k, ef).max(LEAST_CANDIDATES);
        let start = [scratch.descend(store, &probe, entry, 0)];
        scratch.search_accepted(store, &probe, &start, (ef, 0), passes);
        Ok(ask::best(store, scratch.ranked(store, &probe), k))
    }
}
