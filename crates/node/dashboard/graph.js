// The knowledge graph: a particle with what is around it, sized by focus.

import { get } from './api.js';
import { $, count, empty, facts, failure, grouped, h, short, show, table } from './dom.js';

/** Particles drawn with their edges while the picture moves; with more, edges wait until it rests. */
const EDGES_ON_MOVE = 1500;
const COLOURS = ['--accent', '--n0', '--n2', '--n4', '--n6'];

let renderer;
let scripts;

/** Loads the two vendored scripts when a picture is first asked for. */
function load() {
  const one = (src) => new Promise((done, failed) => {
    const script = document.createElement('script');
    script.src = src;
    script.onload = done;
    script.onerror = () => failed(new Error(`${src} could not be loaded.`));
    document.head.append(script);
  });
  scripts ??= one('/assets/graphology.umd.min.js').then(() => one('/assets/sigma.min.js'));
  return scripts;
}

const label = (view) => view.name ?? short(view.particle);
const percent = (share) => share >= 0.0001 || share === 0 ? `${(share * 100).toFixed(2)}%` : `${(share * 100).toExponential(1)}%`;
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

/** Shows the size of the graph and the particles with most focus. */
export async function refreshGraph() {
  const [view, top] = await Promise.all([get('/v1/graph'), get('/v1/graph/top?limit=12')]);
  $('graph-note').textContent = view.particles === 0 ? '' : `${count(view.particles, 'particle')}, ${count(view.links, 'link')} by ${count(view.neurons, 'account')}; focus in ${count(view.iterations, 'step')}`;
  if ($('graph-found').dataset.searched !== 'yes') list(top);
}

function list(views) {
  show($('graph-found'), views, () => views.length === 0
    ? empty('The graph has no link yet.', h('span', {}, 'Make some: ', h('code', {}, 'anthill graph import links.tsv')))
    : views.map((view) => h('button', { type: 'button', class: 'quiet particle', title: view.particle, 'data-key': view.particle, onclick: () => draw(view.particle) },
      h('span', {}, label(view)), h('span', { class: 'note' }, percent(view.focus)))));
}

/**
 * Places on rings: the middle, what is one link away, two, and so on. A particle lies in the direction
 * of the one through which it was reached; on a crowded ring they lie in several rows.
 */
function places(view) {
  const near = view.particles.map(() => []);
  for (const { from, to } of view.links) {
    near[from].push(to);
    near[to].push(from);
  }
  const hops = view.particles.map((p) => p.hops);
  const rings = [];
  hops.forEach((hop, at) => (rings[hop] ??= []).push(at));
  const angle = new Array(hops.length).fill(0);
  const found = new Array(hops.length).fill({ x: 0, y: 0 });
  for (const ring of rings.slice(1)) {
    const parent = (at) => near[at].find((other) => hops[other] === hops[at] - 1) ?? 0;
    const ordered = ring.map((at) => [angle[parent(at)], at]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const rows = Math.max(1, Math.ceil(ring.length / (90 * hops[ring[0]])));
    ordered.forEach(([, at], place) => {
      angle[at] = 2 * Math.PI * place / ordered.length;
      const radius = hops[at] + (rows === 1 ? 0 : 0.7 * ((place % rows) / (rows - 1) - 0.5));
      found[at] = { x: radius * Math.cos(angle[at]), y: radius * Math.sin(angle[at]) };
    });
  }
  return found;
}

/** A colour between two of the form #rrggbb. */
function mixed(one, other, share) {
  const part = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  const mix = (at) => Math.round(part(one, at) * (1 - share) + part(other, at) * share);
  return `rgb(${mix(1)}, ${mix(3)}, ${mix(5)})`;
}

function graphOf(view) {
  const graph = new window.graphology.DirectedGraph();
  const at = places(view);
  const most = Math.max(...view.particles.map((p) => p.focus), 1e-12);
  const colours = COLOURS.map(css);
  const crowd = Math.min(1, Math.sqrt(300 / view.particles.length));
  view.particles.forEach((particle, i) => graph.addNode(String(i), {
    ...at[i], label: label(particle), size: (i === 0 ? 5 : 1.5) + (4 + 14 * crowd) * Math.sqrt(particle.focus / most),
    color: colours[Math.min(particle.hops, colours.length - 1)],
  }));
  // Many links lie over each other: the more there are, the fainter each is.
  const line = mixed(css('--raised'), css('--line-strong'), Math.max(0.15, 0.7 * crowd));
  for (const { from, to, weight } of view.links) {
    graph.addDirectedEdge(String(from), String(to), { size: 0.4 + 2 * crowd * weight, color: line });
  }
  return graph;
}

/** The label of the particle under the pointer, readable in light and dark. */
function hover(context, data, settings) {
  context.font = `600 ${settings.labelSize}px ${settings.labelFont}`;
  const width = context.measureText(data.label).width;
  context.fillStyle = css('--surface');
  context.strokeStyle = css('--line-strong');
  context.beginPath();
  context.rect(data.x + data.size + 1, data.y - settings.labelSize, width + 10, settings.labelSize * 2);
  context.fill();
  context.stroke();
  context.fillStyle = css('--ink');
  context.fillText(data.label, data.x + data.size + 6, data.y + settings.labelSize / 3);
}

async function draw(particle) {
  const note = $('graph-drawn');
  try {
    const [view] = await Promise.all([get(`/v1/graph/neighbourhood/${particle}?limit=${$('graph-limit').value}`), load()]);
    renderer?.kill();
    $('graph-figure').hidden = false;
    renderer = new window.Sigma(graphOf(view), $('graph-canvas'), {
      hideEdgesOnMove: view.particles.length > EDGES_ON_MOVE, defaultEdgeType: 'line',
      labelColor: { color: css('--ink') }, labelFont: 'system-ui, sans-serif', labelSize: 12, labelRenderedSizeThreshold: 5, defaultDrawNodeHover: hover,
    });
    renderer.on('clickNode', ({ node }) => explain(view.particles[node].particle));
    renderer.on('doubleClickNode', (event) => {
      event.preventSigmaDefault();
      draw(view.particles[event.node].particle);
    });
    note.textContent = `${count(view.particles.length, 'particle')} and ${count(view.links.length, 'link')} around ${label(view.particles[0])}; a click says why, a double click goes there`;
    explain(particle);
  } catch (error) {
    $('graph-why').replaceChildren(failure(error));
  }
}

async function explain(particle) {
  try {
    const why = await get(`/v1/graph/why/${particle}?limit=8`);
    const rows = [...why.sources.map((s) => [percent(s.share), label({ name: s.name, particle: s.from }), s.neurons.map((n) => n.slice(0, 8)).join(', ')]),
      ...(why.more ? [[percent(why.more_share), `${grouped(why.more)} other links`, '']] : []), [percent(why.teleport_share), 'teleport', '']];
    $('graph-why').replaceChildren(
      facts([['Particle', h('span', { title: why.particle }, label(why))], ['Focus', percent(why.focus)]]),
      table('What gives it its focus', [['Share', (r) => r[0], { num: true }], ['From', (r) => r[1]], ['Accounts', (r) => r[2]]], rows));
  } catch (error) {
    $('graph-why').replaceChildren(failure(error));
  }
}

/** Wires the search box. */
export function wireGraph() {
  $('graph-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = $('graph-text').value.trim();
    $('graph-found').dataset.searched = text ? 'yes' : 'no';
    try {
      if (!text) return await refreshGraph();
      const found = await get(`/v1/graph/find?text=${encodeURIComponent(text)}`);
      if (found.length === 0) {
        $('graph-found').replaceChildren(empty('Nothing that this node knows by this text is linked.'));
        return undefined;
      }
      list(found);
      return await draw(found[0].particle);
    } catch (error) {
      $('graph-why').replaceChildren(failure(error));
    }
    return undefined;
  });
}
