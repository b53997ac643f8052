//! How the plan's faults begin and end.

use anthill_engine::EngineError;
use anthill_store::sim::Crash;

use crate::plan::{DiskKind, FaultKind};
use crate::trace::What;
use crate::world::{Event, World};

impl World {
    pub(crate) fn begin_fault(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        if self.healed {
            return;
        }
        self.note(None, || format!("begins: {fault}"));
        self.active.push(index);
        self.marks.hit("plan: fault begun");
        match fault.kind {
            FaultKind::Crash { node } => {
                self.hit_if_up(node, "fault: crash");
                self.crash(node, None);
            }
            FaultKind::CrashInStep { node } => self.nodes[node].crash_in_step = true,
            FaultKind::PowerCut { node, operations, .. } => {
                self.nodes[node].disk.power_cut_in(operations);
            }
            FaultKind::Skew { .. } => self.marks.hit("fault: clock skew"),
            FaultKind::Jump { node, .. } => self.clock_jumped(node),
            FaultKind::DiskFull { node } => self.nodes[node].disk.set_full(true),
            FaultKind::LostReply { node } => self.nodes[node].disk.lose_reply(),
            FaultKind::Misdirect { node } => {
                self.nodes[node].tainted = true;
                self.nodes[node].disk.misdirect(true);
            }
            FaultKind::Rot { node } => {
                self.nodes[node].tainted = true;
                self.crash(node, None);
                self.nodes[node].disk.rot();
                self.marks.hit("fault: bit rot");
            }
            FaultKind::Leave { node } => {
                if self.nodes[node].admitted {
                    self.nodes[node].left = true;
                    self.marks.hit("fault: node left");
                    self.crash(node, None);
                }
            }
            FaultKind::Flood => {
                self.marks.hit("fault: flood");
                self.at(10, Event::Flood);
            }
            // Looked up when a message travels or a commit is paid for.
            FaultKind::Partition { .. }
            | FaultKind::OneWay { .. }
            | FaultKind::Loss(_)
            | FaultKind::Duplicate(_)
            | FaultKind::Reorder(_)
            | FaultKind::Corrupt(_)
            | FaultKind::SlowDisk { .. }
            | FaultKind::Eclipse { .. } => {}
        }
    }

    pub(crate) fn end_fault(&mut self, index: usize) {
        if let Some(place) = self.active.iter().position(|i| *i == index) {
            self.active.remove(place);
            self.undo(index);
        }
    }

    /// What the end of a fault brings, besides its absence.
    pub(crate) fn undo(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        self.note(None, || format!("ends: {fault}"));
        match fault.kind {
            FaultKind::DiskFull { node }
            | FaultKind::LostReply { node }
            | FaultKind::PowerCut { node, .. } => {
                self.nodes[node].disk.heal();
                self.back(node);
            }
            FaultKind::Misdirect { node } => {
                self.nodes[node].disk.misdirect(false);
                self.marks.hit("fault: misdirected write");
                // What it wrote is found wrong at the next start, at the latest.
                self.crash(node, None);
                self.back(node);
            }
            FaultKind::Jump { node, .. } => self.clock_jumped(node),
            FaultKind::Crash { node } | FaultKind::CrashInStep { node } => self.back(node),
            _ => {}
        }
    }

    fn back(&mut self, node: usize) {
        if self.nodes[node].admitted {
            self.at(0, Event::Boot(node));
        }
    }

    fn hit_if_up(&mut self, node: usize, mark: &'static str) {
        self.marks.add(mark, u64::from(self.nodes[node].process.is_some()));
    }

    /// A process whose clock has moved looks at it at once.
    fn clock_jumped(&mut self, node: usize) {
        self.marks.hit("fault: clock jump");
        let (at, life) = (self.now + 1, self.nodes[node].life);
        if let Some(process) = self.nodes[node].process.as_mut() {
            process.wake = Some(at);
            self.at(1, Event::Input(node, life, crate::world::Delivery::Wake(at)));
        }
    }

    /// A process has ended with an error; only what its disk did excuses it.
    pub(crate) fn died(&mut self, node: usize, error: &EngineError) {
        let text = error.to_string();
        self.trace.line(self.now, Some(node), || What::Note(format!("stops: {text}")));
        if !self.is_excused(node, error) {
            return self.breaks(format!("node {node} stopped: {text}"));
        }
        let power = self.power_mode(node);
        self.crash(node, power);
    }

    fn is_excused(&mut self, node: usize, error: &EngineError) -> bool {
        use anthill_ledger::{BlockError, LedgerError};
        let of_store = matches!(
            error,
            EngineError::Ledger(LedgerError::Store(_))
                | EngineError::Block(BlockError::Ledger(LedgerError::Store(_)))
        );
        if self.nodes[node].tainted {
            return true;
        }
        let ordered = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        let mark = ordered
            .filter_map(|fault| match fault.kind {
                FaultKind::DiskFull { node: n } if n == node => Some("fault: disk full"),
                FaultKind::LostReply { node: n } if n == node => {
                    Some("fault: commit without a reply")
                }
                FaultKind::PowerCut { node: n, mode, .. } if n == node => Some(match mode {
                    0 => "fault: power cut, unsynced writes lost",
                    1 => "fault: power cut, a prefix of them kept",
                    _ => "fault: power cut, a subset of them kept",
                }),
                _ => None,
            })
            .next();
        if let Some(mark) = mark {
            self.marks.hit(mark);
        }
        of_store && mark.is_some()
    }

    /// True while a crash of the plan lasts.
    pub(crate) fn is_kept_down(&self, node: usize) -> bool {
        let mut ordered = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        ordered.any(|fault| fault.kind == FaultKind::Crash { node })
    }

    /// True while a fault of the plan is upon the node's disk.
    pub(crate) fn disk_fails(&self, node: usize) -> bool {
        let mut ordered = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        ordered.any(|fault| match fault.kind {
            FaultKind::DiskFull { node: n }
            | FaultKind::LostReply { node: n }
            | FaultKind::Misdirect { node: n }
            | FaultKind::PowerCut { node: n, .. } => n == node,
            _ => false,
        })
    }

    /// How the disk ends when its power was cut.
    fn power_mode(&self, node: usize) -> Option<Crash> {
        if self.plan.disks.get(node) != Some(&DiskKind::Simulated) {
            return None;
        }
        let ordered = self.active.iter().filter_map(|i| self.plan.faults.get(*i));
        ordered
            .filter_map(|fault| match fault.kind {
                FaultKind::PowerCut { node: n, mode, .. } if n == node => {
                    Crash::ALL.get(usize::from(mode)).copied()
                }
                _ => None,
            })
            .next()
    }
}
