//! Connected components: weak by union-find, strong by Tarjan's algorithm without recursion.
//!
//! A link whose stake is 0 is no edge (`docs/spec/focus.md` 3) and connects nothing.

use super::matrix::Matrix;
use super::{Facts, Given, OperatorError, Values};

/// Runs the operator.
pub fn run(matrix: &Matrix, given: &Given<'_>) -> Result<(Values, Facts), OperatorError> {
    let root = match given.text("kind").unwrap_or("weak") {
        "weak" => weak(matrix),
        "strong" => strong(matrix),
        other => {
            let needed = "weak or strong";
            return Err(OperatorError::Value { argument: "kind", value: other.into(), needed });
        }
    };
    // The lowest place of a component has the lowest content id.
    let mut lowest = vec![u32::MAX; matrix.len()];
    for (at, root) in root.iter().enumerate() {
        if let Some(low) = lowest.get_mut(*root as usize) {
            *low = (*low).min(at as u32);
        }
    }
    let count = lowest.iter().filter(|low| **low != u32::MAX).count();
    let name = |root: &u32| {
        let low = lowest.get(*root as usize).copied().unwrap_or_default();
        matrix.cids.get(low as usize).copied().unwrap_or_default()
    };
    Ok((Values::Group(root.iter().map(name).collect()), vec![("components", count as f64)]))
}

fn find(parent: &mut [u32], of: u32) -> u32 {
    let mut at = of;
    while let Some(&up) = parent.get(at as usize).filter(|up| **up != at) {
        // Halves the path as it goes.
        let above = parent.get(up as usize).copied().unwrap_or(up);
        if let Some(entry) = parent.get_mut(at as usize) {
            *entry = above;
        }
        at = above;
    }
    at
}

/// The lowest place of the weak component of each particle.
pub fn weak(matrix: &Matrix) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..matrix.len() as u32).collect();
    for (from, to, _) in &matrix.links {
        let (a, b) = (find(&mut parent, *from), find(&mut parent, *to));
        if let Some(entry) = parent.get_mut(a.max(b) as usize) {
            *entry = a.min(b);
        }
    }
    (0..matrix.len() as u32).map(|at| find(&mut parent, at)).collect()
}

/// What Tarjan's algorithm knows of the particles; 0 in `order` is not visited.
struct Visit {
    order: Vec<u32>,
    low: Vec<u32>,
    open: Vec<bool>,
    stack: Vec<u32>,
    root: Vec<u32>,
    count: u32,
}

impl Visit {
    fn enter(&mut self, at: u32) {
        self.count += 1;
        let place = at as usize;
        if let (Some(order), Some(low), Some(open)) =
            (self.order.get_mut(place), self.low.get_mut(place), self.open.get_mut(place))
        {
            (*order, *low, *open) = (self.count, self.count, true);
        }
        self.stack.push(at);
    }

    fn order(&self, at: u32) -> u32 {
        self.order.get(at as usize).copied().unwrap_or_default()
    }

    fn low(&self, at: u32) -> u32 {
        self.low.get(at as usize).copied().unwrap_or_default()
    }

    fn lower(&mut self, at: u32, to: u32) {
        if let Some(low) = self.low.get_mut(at as usize) {
            *low = (*low).min(to);
        }
    }

    fn is_open(&self, at: u32) -> bool {
        self.open.get(at as usize).copied().unwrap_or_default()
    }

    /// Closes the component of a particle from which nothing lower is reached.
    fn leave(&mut self, at: u32) {
        if self.low(at) != self.order(at) {
            return;
        }
        while let Some(member) = self.stack.pop() {
            let place = member as usize;
            if let (Some(open), Some(root)) = (self.open.get_mut(place), self.root.get_mut(place)) {
                (*open, *root) = (false, at);
            }
            if member == at {
                return;
            }
        }
    }
}

fn strong(matrix: &Matrix) -> Vec<u32> {
    let n = matrix.len();
    let ranges = matrix.ranges(&matrix.links, |link| link.0);
    let mut visit = Visit {
        order: vec![0; n],
        low: vec![0; n],
        open: vec![false; n],
        stack: Vec::new(),
        root: (0..n as u32).collect(),
        count: 0,
    };
    let range = |at: u32| ranges.get(at as usize).cloned().unwrap_or(0..0);
    let mut path: Vec<(u32, std::ops::Range<usize>)> = Vec::new();
    for start in 0..n as u32 {
        if visit.order(start) != 0 {
            continue;
        }
        visit.enter(start);
        path.push((start, range(start)));
        while let Some((at, rest)) = path.last_mut() {
            let at = *at;
            let Some((_, to, _)) = rest.next().and_then(|link| matrix.links.get(link)) else {
                path.pop();
                visit.leave(at);
                if let Some((above, _)) = path.last() {
                    let low = visit.low(at);
                    visit.lower(*above, low);
                }
                continue;
            };
            if visit.order(*to) == 0 {
                visit.enter(*to);
                path.push((*to, range(*to)));
            } else if visit.is_open(*to) {
                visit.lower(at, visit.order(*to));
            }
        }
    }
    visit.root
}
