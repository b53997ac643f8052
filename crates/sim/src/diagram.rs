//! A space-time diagram of a run: a lane a node, a line a message, a bar a fault.

use std::fmt::Write;

use crate::plan::{Fault, FaultKind, Plan, Role};
use crate::trace::{Line, What};

const LANE: f64 = 54.0;
const LEFT: f64 = 120.0;
const TOP: f64 = 60.0;
const WIDTH: f64 = 1_400.0;
/// Messages drawn at most; the rest would hide one another.
const MAX_MESSAGES: usize = 6_000;

struct Scale {
    from: u64,
    to: u64,
}

impl Scale {
    fn x(&self, at: u64) -> f64 {
        let span = (self.to - self.from).max(1) as f64;
        let at = at.clamp(self.from, self.to) - self.from;
        LEFT + WIDTH * at as f64 / span
    }

    fn y(node: usize) -> f64 {
        TOP + LANE * node as f64
    }
}

/// Draws what happened from `from` to `to`, milliseconds from the start.
pub fn draw(plan: &Plan, lines: &[Line], from: u64, to: u64) -> String {
    let scale = Scale { from, to };
    let height = TOP + LANE * plan.nodes() as f64 + 30.0;
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">seed {}, {from} to {to} ms\
         </text>",
        LEFT + WIDTH + 40.0,
        plan.seed
    );
    lanes(&mut svg, plan, &scale);
    for fault in plan.faults.iter().filter(|f| f.at <= to && f.until >= from) {
        bar(&mut svg, plan, fault, &scale);
    }
    let inside = lines.iter().filter(|l| (from..=to).contains(&l.at));
    let mut messages = 0;
    for line in inside {
        let Some(node) = line.node else {
            if let What::Note(text) = &line.what
                && text.starts_with("BREAK")
            {
                mark(&mut svg, scale.x(line.at), TOP - 14.0, text);
            }
            continue;
        };
        messages += usize::from(matches!(line.what, What::Message { .. }));
        if messages <= MAX_MESSAGES {
            event(&mut svg, node, line, &scale);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn lanes(svg: &mut String, plan: &Plan, scale: &Scale) {
    for node in 0..plan.nodes() {
        let y = Scale::y(node);
        let role = format!("{:?}", plan.role(node)).to_lowercase();
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#888\"/>\
             <text x=\"6\" y=\"{}\">{node} {role}</text>",
            LEFT + WIDTH,
            y + 4.0
        );
    }
    let step = ((scale.to - scale.from) / 10).max(1);
    for tick in 0..=10 {
        let at = scale.from + tick * step;
        let x = scale.x(at);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" fill=\"#666\">{at}</text>", TOP - 24.0);
    }
}

/// A fault: over the lane of its node, or over those that it cuts.
fn bar(svg: &mut String, plan: &Plan, fault: &Fault, scale: &Scale) {
    let has = |set: u32, node: usize| set >> node & 1 == 1;
    let hit = |node: usize| match fault.kind {
        FaultKind::Crash { node: n }
        | FaultKind::CrashInStep { node: n }
        | FaultKind::PowerCut { node: n, .. }
        | FaultKind::Skew { node: n, .. }
        | FaultKind::Jump { node: n, .. }
        | FaultKind::SlowDisk { node: n, .. }
        | FaultKind::DiskFull { node: n }
        | FaultKind::LostReply { node: n }
        | FaultKind::Misdirect { node: n }
        | FaultKind::Rot { node: n }
        | FaultKind::Leave { node: n }
        | FaultKind::Eclipse { victim: n } => n == node,
        FaultKind::Partition { side } => has(side, node),
        FaultKind::OneWay { from, .. } => has(from, node),
        FaultKind::Loss(_)
        | FaultKind::Duplicate(_)
        | FaultKind::Reorder(_)
        | FaultKind::Corrupt(_) => true,
        FaultKind::Flood => plan.role(node) == Role::Flooder,
    };
    let (x, end) = (scale.x(fault.at), scale.x(fault.until));
    for node in (0..plan.nodes()).filter(|node| hit(*node)) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d33\" \
             fill-opacity=\"0.10\"><title>{}</title></rect>",
            Scale::y(node) - LANE * 0.4,
            (end - x).max(2.0),
            LANE * 0.8,
            escape(&fault.to_string())
        );
    }
}

fn event(svg: &mut String, node: usize, line: &Line, scale: &Scale) {
    let (x, y) = (scale.x(line.at), Scale::y(node));
    let title = escape(&line.to_string());
    let _ = match &line.what {
        What::Message { from, sent, kind } => {
            let colour = colour(kind);
            writeln!(
                svg,
                "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
                 stroke-opacity=\"0.45\"><title>{title}</title></line>",
                scale.x(*sent),
                Scale::y(*from)
            )
        }
        What::Lost { to, .. } => {
            let half = y + (Scale::y(*to) - y) * 0.3;
            writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{half:.1}\" stroke=\"#d33\" \
                 stroke-dasharray=\"3 2\" stroke-opacity=\"0.5\"><title>{title}</title></line>",
                x + 4.0
            )
        }
        What::Commit { height, .. } => writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"#186\"><title>{title}</title>\
             </circle><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\">{height}</text>",
            x + 5.0,
            y - 5.0
        ),
        What::Note(_) => writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"5\" height=\"10\" fill=\"#b60\"><title>{title}\
             </title></rect>",
            x - 2.5,
            y - 5.0
        ),
    };
}

fn mark(svg: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"2000\" stroke=\"#c00\"/>\
         <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"#c00\" text-anchor=\"end\">{}</text>",
        x - 4.0,
        escape(text)
    );
}

fn colour(kind: &str) -> &'static str {
    match kind.split(' ').next() {
        Some("proposal") => "#a3c",
        Some("prevote") => "#36c",
        Some("precommit") => "#093",
        Some("decision" | "certificate") => "#c70",
        Some("status:") => "#ccc",
        _ => "#777",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
