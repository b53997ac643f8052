// Builds the page's elements and writes numbers, times and ids; text from outside is only ever text.

/** An element: `h('td', { class: 'num' }, 'text', child)`. A key that starts with `--` is a CSS variable. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('--')) element.style.setProperty(name, value);
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

const shown = new WeakMap();

/**
 * Puts children into a container if `data` is not what it shows already; keeps focus and scroll place.
 * Elements that may hold the focus carry `data-key`.
 */
export function show(container, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(container) === text) return;
  shown.set(container, text);
  const active = document.activeElement;
  const key = container.contains(active) ? active.dataset.key : undefined;
  const top = container.scrollTop;
  container.replaceChildren(...[make()].flat());
  container.scrollTop = top;
  if (key) [...container.querySelectorAll('[data-key]')].find((e) => e.dataset.key === key)?.focus();
}

/** Forgets what a container shows, so that the next `show` draws it. */
export function forget(container) {
  shown.delete(container);
}

/** A table; a column is `[title, cell(row), { num, title }]`, and the first one heads its row. */
export function table(caption, columns, rows, rowClass = () => '') {
  const head = columns.map(([title, , o = {}]) =>
    h('th', { scope: 'col', class: o.num ? 'num' : undefined, title: o.title }, title));
  const cell = (row) => ([, make, o = {}], at) =>
    h(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : undefined, class: o.num ? 'num' : undefined }, make(row));
  const body = rows.map((row) => h('tr', { class: rowClass(row) || undefined }, columns.map(cell(row))));
  return h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, h('tr', {}, head)), h('tbody', {}, body));
}

export const empty = (...lines) => h('div', { class: 'empty' }, lines.map((line) => h('p', {}, line)));
export const failure = (error) => h('p', { class: 'error', role: 'alert' }, error.message ?? String(error));

/** Label and value pairs; pairs without a value are left out. */
export function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h('dl', { class: 'facts' }, there.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

/** Credits as micro-credits; exact, since amounts have at most six decimals. */
export function micro(amount) {
  const [whole, part = ''] = amount.split('.');
  return BigInt(whole) * 1000000n + BigInt(part.padEnd(6, '0'));
}

/** An amount with its thousands apart; from 1 rUv on at most `decimals` decimals, cut and not rounded. */
export function rUv(amount, decimals = 6) {
  const [whole, part = ''] = amount.split('.');
  const kept = whole === '0' ? part : part.slice(0, decimals);
  return grouped(whole) + (kept ? `.${kept}` : '');
}

export const grouped = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, '\u202f');
export const count = (n, one, many = `${one}s`) => `${grouped(n)} ${n === 1 ? one : many}`;
/** What tells ids apart at a glance: the first digits of a hash, the last letters of a content id. */
export const short = (id) => id.startsWith('bafk') ? `\u2026${id.slice(-8)}` : id.slice(0, 8);
export const clock = (date = new Date()) => date.toLocaleTimeString([], { hour12: false });

/** `4:05`, or `1:02:03`. */
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  const hours = Math.floor(s / 3600);
  const rest = `${Math.floor(s / 60) % 60}:${two(s % 60)}`;
  return hours ? `${hours}:${rest.padStart(5, '0')}` : rest;
}

/** A decimal between 0 and 1 with a line of that length below it. */
export const metric = (text) => h('span', { class: 'metric', '--v': Math.min(1, Number(text)) }, text);

const COLOURS = 8;
const places = new Map();

/** The colour of a node: the same all over the page, by the order in which nodes were first seen. */
export function colour(node) {
  if (!places.has(node)) places.set(node, places.size % COLOURS);
  return `var(--n${places.get(node)})`;
}

/** A node: its colour and the start of its key. */
export const nodeName = (node) =>
  h('span', { class: 'node', title: node, '--c': colour(node) }, h('span', { class: 'id' }, short(node)));
export const nodeNames = (nodes) => h('span', { class: 'nodes' }, nodes.map(nodeName));

/** A hash or id that is shown in part and copied whole. */
export function copied(id, what) {
  const button = h('button', { type: 'button', class: 'id', title: `${id}\nclick to copy`, 'aria-label': `Copy ${what} ${short(id)}`, 'data-key': `copy-${what}-${id}` }, short(id));
  button.addEventListener('click', async () => {
    button.textContent = (await copyText(id)) ? 'copied' : short(id);
    setTimeout(() => { button.textContent = short(id); }, 900);
  });
  return button;
}

/** Copies; false where the browser does not allow it. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
