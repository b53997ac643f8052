// Charts: what happens per second, and rewards over epochs (drawn by uPlot).

import uPlot from './uPlot.esm.js';
import { $, clock, colour, h, nodeName, short } from './dom.js';

const WINDOW = 180;
const HEIGHT = 84;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** A canvas knows no CSS variables. */
const resolved = (value) => value.startsWith('var(') ? css(value.slice(4, -1)) : value;

function axis(options = {}) {
  return {
    stroke: css('--muted'), font: '11px system-ui, sans-serif', gap: 3,
    grid: { stroke: css('--line'), width: 1 }, ticks: { show: false }, ...options,
  };
}

/** Keeps a chart as wide as its place, and draws it anew when light turns to dark. */
function place(host, make) {
  let plot = null;
  const draw = () => {
    plot?.destroy();
    plot = host.clientWidth > 0 ? make(host.clientWidth) : null;
  };
  new ResizeObserver(() => {
    if (plot) plot.setSize({ width: host.clientWidth, height: plot.height });
    else draw();
  }).observe(host);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  return { draw, get plot() { return plot; } };
}

/** Counts what happens in each second, and draws the last three minutes. */
export class Rate {
  constructor(host, value, variable, unit) {
    this.value = value;
    this.unit = unit;
    this.counts = new Map();
    this.hovered = null;
    this.began = Math.floor(Date.now() / 1000);
    this.chart = place(host, (width) => this.make(host, width, variable));
  }

  add(n = 1) {
    const second = Math.floor(Date.now() / 1000);
    this.counts.set(second, (this.counts.get(second) ?? 0) + n);
  }

  /** Seconds and counts up to the last whole second; nothing before the page was opened. */
  data() {
    const now = Math.floor(Date.now() / 1000);
    const xs = Array.from({ length: WINDOW }, (_, i) => now - WINDOW + i);
    for (const second of this.counts.keys()) if (second < now - WINDOW) this.counts.delete(second);
    return [xs, xs.map((x) => x < this.began ? null : this.counts.get(x) ?? 0)];
  }

  make(host, width, variable) {
    const fill = css(variable);
    return new uPlot({
      width, height: HEIGHT, legend: { show: false }, padding: [6, 24, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false }, sync: { key: 'rates' } },
      scales: { y: { range: (_, __, max) => [0, Math.max(1, max)] } },
      axes: [axis({ space: 80, size: 20, values: (u, ticks) => ticks.map((t) => t < u.scales.x.min + 20 ? null : clock(new Date(t * 1000))) }),
        axis({ size: 34, space: 24, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] })],
      series: [{}, { fill, stroke: fill, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 12], align: 1 }) }],
      hooks: { setCursor: [(u) => { this.hovered = u.cursor.idx; this.say(u.data); }] },
    }, this.data(), host);
  }

  tick() {
    const data = this.data();
    this.chart.plot?.setData(data);
    this.say(data);
  }

  say([xs, ys]) {
    const at = this.hovered;
    if (at !== null && at !== undefined && ys[at] !== null && ys[at] !== undefined) {
      this.value.textContent = `${clock(new Date(xs[at] * 1000))}: ${ys[at]} ${this.unit}`;
      return;
    }
    const seen = ys.filter((y) => y !== null);
    const mean = (list) => list.length ? (list.reduce((a, b) => a + b, 0) / list.length).toFixed(1) : '-';
    this.value.textContent = `${mean(seen.slice(-10))} in 10 s, mean ${mean(seen)}`;
  }
}

const SHOWN_NODES = 7;

/** Stacked bars: what each node earned in each epoch. */
export class Rewards {
  constructor(figure) {
    this.figure = figure;
    this.host = figure.querySelector('.plot');
    this.legend = figure.querySelector('.legend');
    this.epochs = [];
    this.chart = place(this.host, (width) => this.make(width));
  }

  /** `epochs` as the node gives them, newest first. */
  set(epochs) {
    this.epochs = [...epochs].reverse();
    const earned = new Map();
    for (const { rows } of this.epochs) {
      for (const row of rows) earned.set(row.node, (earned.get(row.node) ?? 0) + Number(row.reward));
    }
    const ranked = [...earned].filter(([, sum]) => sum > 0).sort((a, b) => b[1] - a[1]).map(([node]) => node);
    this.nodes = ranked.slice(0, SHOWN_NODES);
    this.others = new Set(ranked.slice(SHOWN_NODES));
    this.figure.hidden = ranked.length === 0;
    const names = this.nodes.map(nodeName);
    if (this.others.size) names.push(h('span', { class: 'node' }, `${this.others.size} others`));
    this.legend.replaceChildren(...names);
    this.chart.draw();
  }

  make(width) {
    if (!this.nodes?.length) return null;
    const parts = this.nodes.map((node) => ({ of: (row) => row.node === node, fill: colour(node) }));
    if (this.others.size) parts.push({ of: (row) => this.others.has(row.node), fill: 'var(--line-strong)' });
    const sum = (epoch, of) => epoch.rows.filter(of).reduce((a, row) => a + Number(row.reward), 0);
    // Bars of cumulated sums, the tallest drawn first, look like a stack.
    let below = this.epochs.map(() => 0);
    const stacks = parts.map(({ of }) => (below = below.map((b, i) => b + sum(this.epochs[i], of))));
    const bars = uPlot.paths.bars({ size: [0.7, 36] });
    const series = parts.map(({ fill }) => ({ fill: resolved(fill), stroke: css('--surface'), width: 1, points: { show: false }, paths: bars }));
    const xs = this.epochs.map((e) => e.epoch);
    return new uPlot({
      width, height: 130, legend: { show: false }, padding: [8, 6, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { time: false, range: () => [Math.min(...xs) - 0.6, Math.max(Math.max(...xs), Math.min(...xs) + 11) + 0.6] },
        y: { range: (_, __, max) => [0, max * 1.05] },
      },
      axes: [axis({ size: 22, space: 30, incrs: [1, 2, 5, 10, 20, 50], grid: { show: false } }),
        axis({ size: 58, space: 28, values: (_, ticks) => ticks.map((t) => t >= 1e6 ? `${t / 1e6} M` : t >= 1e3 ? `${t / 1e3} k` : t) })],
      series: [{}, ...series.reverse()],
      hooks: { setCursor: [(u) => this.say(u.cursor.idx)] },
    }, [xs, ...stacks.reverse()], this.host);
  }

  say(at) {
    const epoch = this.epochs[at];
    const best = epoch && [...epoch.rows].sort((a, b) => Number(b.reward) - Number(a.reward))[0];
    $('rewards-value').textContent = epoch
      ? `epoch ${epoch.epoch}: ${epoch.pool} shared out${best ? `, most to ${short(best.node)} (${best.reward})` : ''}` : '';
  }
}
