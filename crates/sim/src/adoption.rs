//! What must hold when a node takes over a whole state.

use anthill_types::Block;

use crate::world::World;

impl World {
    /// A node says that it has taken over a state.
    pub(crate) fn adopted(&mut self, node: usize, block: &Block) {
        let (height, hash) = (block.header.height, block.header.hash());
        self.trace.fold(self.now, node, 7, &hash.0);
        self.note(Some(node), || format!("takes over the state of height {height}"));
        if !self.nodes[node].is_sound() {
            return;
        }
        self.marks.hit("sync: a state taken over");
        self.nodes[node].told_height = height;
        let entry = (hash, block.header.state_root);
        let known = self.checks.blocks.get(&height).copied();
        // A dishonest node may know a block before the honest ones.
        self.checks.adopted.insert(height, entry);
        let other =
            known.is_some_and(|known| known != entry).then(|| "is another block".to_string());
        let problems = [other, self.check_certificate(node, block, true), self.check_totals(node)];
        for problem in problems.into_iter().flatten() {
            self.breaks(format!("the state of height {height} that node {node} took: {problem}"));
        }
    }
}
