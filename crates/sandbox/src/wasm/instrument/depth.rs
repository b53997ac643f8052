//! Bounds the stack of calls: which calls are counted, and what each of them weighs.
//!
//! A call can repeat only inside a cycle of the graph of calls, or through the table. Such calls are
//! counted when they happen; all others form chains whose longest is known beforehand, and cost
//! nothing.

use super::plan::Plan;
use crate::wasm::cost::MAX_CHAIN;
use crate::wasm::error::{ModuleCause, at_most};

/// The counted calls of a module.
pub struct Depths {
    /// Slots that a function's counted calls take: all that is on the stack since the last one.
    pub weights: Vec<u32>,
    cycles: Vec<u32>,
    all: bool,
}

impl Depths {
    /// True when a call between two functions of the module is counted.
    pub fn counts(&self, from: usize, to: usize) -> bool {
        self.all || self.cycles[from] == self.cycles[to]
    }

    /// Looks at the graph of calls; `imports` is the number of functions that are not the module's.
    pub fn new(plans: &[Plan], imports: u32) -> Result<Self, ModuleCause> {
        let widest = plans.iter().map(|p| p.frame).max().unwrap_or(0);
        at_most("slots in one function's frame", widest.into(), MAX_CHAIN.into())?;
        let own = |call: &u32| call.checked_sub(imports).map(|c| c as usize);
        let calls: Vec<Vec<usize>> = plans
            .iter()
            .map(|p| {
                let mut calls: Vec<usize> = p.calls.iter().filter_map(own).collect();
                calls.sort_unstable();
                calls.dedup();
                calls
            })
            .collect();
        let (cycles, order) = cycles(&calls);
        let mut below = vec![0u32; plans.len()];
        let mut weights = vec![0u32; plans.len()];
        // Callers come before what they call.
        for &function in order.iter().rev() {
            let weight = below[function].saturating_add(plans[function].frame);
            weights[function] = weight;
            for &callee in calls[function].iter().filter(|c| cycles[**c] != cycles[function]) {
                below[callee] = below[callee].max(weight);
            }
        }
        let all = weights.iter().any(|w| *w > MAX_CHAIN);
        if all {
            weights = plans.iter().map(|p| p.frame).collect();
        }
        Ok(Self { weights, cycles, all })
    }
}

/// Tarjan's strongly connected components without recursion: the component of each node, and the nodes
/// in the order in which their components are complete (callees first).
fn cycles(calls: &[Vec<usize>]) -> (Vec<u32>, Vec<usize>) {
    let count = calls.len();
    let (mut index, mut low) = (vec![usize::MAX; count], vec![0usize; count]);
    let mut component = vec![u32::MAX; count];
    let (mut order, mut stack, mut next, mut found) = (Vec::new(), Vec::new(), 0, 0);
    for root in 0..count {
        if index[root] != usize::MAX {
            continue;
        }
        let mut work = vec![(root, 0)];
        while let Some((node, edge)) = work.pop() {
            if edge == 0 {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            }
            if let Some(&callee) = calls[node].get(edge) {
                work.push((node, edge + 1));
                if index[callee] == usize::MAX {
                    work.push((callee, 0));
                } else if component[callee] == u32::MAX {
                    low[node] = low[node].min(index[callee]);
                }
                continue;
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = found;
                    order.push(member);
                    if member == node {
                        break;
                    }
                }
                found += 1;
            }
            if let Some(&(parent, _)) = work.last() {
                low[parent] = low[parent].min(low[node]);
            }
        }
    }
    (component, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(frame: u32, calls: &[u32]) -> Plan {
        Plan { frame, calls: calls.to_vec(), ..Plan::default() }
    }

    #[test]
    fn only_calls_in_cycles_are_counted() {
        // 1 import; own functions 0 -> 1 -> 2 -> 1, 2 -> 3, 3 -> 3.
        let plans =
            [plan(10, &[2, 0]), plan(20, &[3]), plan(30, &[2, 4]), plan(40, &[4]), plan(5, &[])];
        let depths = Depths::new(&plans, 1).unwrap();
        let counted: Vec<(usize, usize)> = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 3)]
            .into_iter()
            .filter(|(a, b)| depths.counts(*a, *b))
            .collect();
        assert_eq!(counted, [(1, 2), (2, 1), (3, 3)]);
        assert_eq!(depths.weights, [10, 30, 30, 70, 5]);
    }

    #[test]
    fn a_chain_that_is_too_long_is_counted_everywhere() {
        let plans: Vec<Plan> = (0..2000u32).map(|i| plan(10, &[(i + 1).min(1999)])).collect();
        let depths = Depths::new(&plans, 0).unwrap();
        assert!(depths.counts(0, 1) && depths.weights.iter().all(|w| *w == 10));
        assert!(Depths::new(&[plan(MAX_CHAIN + 1, &[])], 0).is_err());
    }
}
