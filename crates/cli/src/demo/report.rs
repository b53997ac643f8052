//! The demo's report: one HTML file with pictures, nothing loaded from elsewhere.

use super::Outcome;
use crate::table::short;

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The report.
pub fn html(outcome: &Outcome) -> String {
    let workers: Vec<(String, f64)> = outcome
        .status
        .nodes
        .iter()
        .map(|n| {
            (
                label(outcome, &n.node),
                outcome.index.workers.get(&n.node).copied().unwrap_or(0) as f64,
            )
        })
        .collect();
    let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    let rewards: Vec<(String, f64)> =
        outcome.epoch.rows.iter().map(|r| (label(outcome, &r.node), number(&r.reward))).collect();
    let slashed: Vec<(String, f64)> = outcome
        .status
        .nodes
        .iter()
        .map(|n| (label(outcome, &n.node), number(&n.slashed)))
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Anthill: the demo</title><style>{STYLE}</style>\
<h1>Anthill: one index, {} nodes, {} liar(s)</h1><p class=\"sub\">All {} claims hold, after {:.1} s. State root <code>{}</code>, index digest <code>{}</code>.</p>\
<section><h2>Who did what</h2><p>Passages embedded with an accepted result, by node.</p>{}</section>\
<section><h2>Credits</h2><p>Shares of epoch {}'s pool of {} rUv; they sum to it exactly.</p>{}</section>\
<section><h2>Slashed</h2><p>Bond lost for wrong results, rUv.</p>{}</section>\
<section><h2>Timeline</h2>{}</section>\
<section><h2>The epoch</h2>{}</section>\
<section><h2>Questions</h2>{}</section>",
        outcome.status.nodes.len(),
        outcome.liars.len(),
        outcome.claims.len(),
        outcome.seconds,
        escape(&outcome.status.root),
        escape(outcome.index.digest.as_deref().unwrap_or("")),
        bars(&workers, "#2a6f4e"),
        outcome.epoch.epoch,
        outcome.epoch.pool,
        bars(&rewards, "#b3701b"),
        bars(&slashed, "#a33a3a"),
        timeline(&outcome.timeline),
        epoch_table(outcome),
        questions(outcome),
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2321;background:#fbfaf7}\
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:2rem 0 .3rem}.sub,p{color:#4a524e}code{font-size:.8em;word-break:break-all}\
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd8cc}td:first-child,th:first-child{text-align:left}\
blockquote{margin:.4rem 0 .8rem;padding:.4rem .8rem;border-left:3px solid #2a6f4e;background:#f1efe8;white-space:pre-wrap}svg text{font:13px system-ui,sans-serif;fill:#1d2321}";

fn label(outcome: &Outcome, node: &str) -> String {
    let note = match (outcome.liars.iter().any(|l| l == node), outcome.killed == node) {
        (true, _) => " (liar)",
        (_, true) => " (killed, back)",
        _ => "",
    };
    format!("{}{note}", short(node))
}

/// Horizontal bars with their values.
fn bars(rows: &[(String, f64)], colour: &str) -> String {
    let most = rows.iter().map(|(_, v)| *v).fold(0.0, f64::max).max(1e-9);
    let mut out =
        format!("<svg width=\"100%\" viewBox=\"0 0 760 {}\" role=\"img\">", rows.len() * 26 + 4);
    for (i, (name, value)) in rows.iter().enumerate() {
        let (y, width) = (i * 26 + 4, 440.0 * value / most);
        out.push_str(&format!(
            "<text x=\"0\" y=\"{}\">{}</text><rect x=\"190\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" rx=\"3\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 14,
            escape(name),
            198.0 + width,
            y + 14,
            value
        ));
    }
    out.push_str("</svg>");
    out
}

/// One line for each thing that happened, at its time.
fn timeline(events: &[(f64, String)]) -> String {
    let last = events.last().map_or(1.0, |(t, _)| *t).max(0.1);
    let mut out =
        format!("<svg width=\"100%\" viewBox=\"0 0 760 {}\" role=\"img\">", events.len() * 24 + 8);
    for (i, (at, text)) in events.iter().enumerate() {
        let (y, x) = (i * 24 + 16, 8.0 + 104.0 * at / last);
        let short: String = text.chars().take(84).collect();
        let text = if short.len() < text.len() { format!("{short} ...") } else { short };
        out.push_str(&format!(
            "<line x1=\"8\" x2=\"112\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd8cc\"/><circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4\" fill=\"#2a6f4e\"/><text x=\"122\" y=\"{}\">{at:.1} s  {}</text>",
            y + 4,
            escape(&text)
        ));
    }
    out.push_str("</svg>");
    out
}

fn epoch_table(outcome: &Outcome) -> String {
    let mut out = String::from(
        "<table><tr><th>node<th>tasks<th>E<th>Q<th>I<th>T<th>score<th>rUv<th>slashed</tr>",
    );
    for r in &outcome.epoch.rows {
        out.push_str(&format!(
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(&label(outcome, &r.node)),
            r.tasks,
            r.e,
            r.q,
            r.i,
            r.t,
            r.score,
            r.reward,
            r.slashed
        ));
    }
    out.push_str("</table>");
    for note in &outcome.epoch.absent {
        out.push_str(&format!("<p>Note: {}.</p>", escape(note)));
    }
    out
}

fn questions(outcome: &Outcome) -> String {
    let mut out = String::new();
    for (question, reply) in &outcome.answers {
        out.push_str(&format!("<h3>{}</h3>", escape(question)));
        for a in &reply.answers {
            let workers: Vec<&str> = a.workers.iter().map(|w| short(w)).collect();
            out.push_str(&format!(
                "<p>{:.3} &middot; {} &middot; embedded by {}</p><blockquote>{}</blockquote>",
                a.score,
                escape(&a.path),
                escape(&workers.join(", ")),
                escape(&a.text.chars().take(500).collect::<String>())
            ));
        }
    }
    out
}
