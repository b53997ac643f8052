// The list of what happens, newest first: calm when much happens, loud only when somebody was wrong.

import { $, clock, count, h, nodeName, nodeNames, rUv, short } from './dom.js';

const KEPT = 200;
const EACH = 4;
const PHASES = { queued: 'queued', assigned: 'drawn', doubted: 'in doubt, validators compute again', provisional: 'accepted', final: 'final', refunded: 'refunded' };
const KINDS = [['block', 'blocks', false], ['task', 'tasks', true], ['payment', 'payments', true],
  ['epoch', 'epochs', true], ['peer', 'peers', true], ['job', 'jobs', true]];

/** What a payment says. */
export function paymentText(p) {
  if (p.reason === 'slash') return [`${rUv(p.amount, 3)} rUv slashed from `, p.offender ? nodeName(p.offender) : 'a node', ' to ', nodeName(p.node)];
  return [`${rUv(p.amount, 3)} rUv to `, nodeName(p.node), p.reason === 'epoch' ? ' for an epoch' : ' for a task'];
}

const TEXTS = {
  block: (e) => [`block ${e.height}: ${count(e.transactions, 'transaction')}, root `, h('span', { class: 'mono muted' }, short(e.root))],
  task: (e) => [`task ${short(e.id)} ${PHASES[e.phase] ?? e.phase}`,
    e.workers.length ? [': ', nodeNames(e.workers)] : '',
    e.failed.length ? [h('span', { class: 'bad' }, ' wrong or late: '), nodeNames(e.failed)] : ''].flat(),
  payment: paymentText,
  epoch: (e) => [`epoch ${e.epoch} closed: ${rUv(e.pool)} rUv to ${count(e.nodes, 'node')}`],
  peer: (e) => [nodeName(e.node), e.up ? ' came' : ' went'],
  job: (e) => [`index ${e.name}: ${e.stage}, ${e.done} of ${e.total} tasks`],
};

const serious = (e) => e.reason === 'slash' || e.failed?.length > 0;

export class Feed {
  constructor() {
    this.list = $('feed');
    this.queue = [];
    this.shown = new Set(KINDS.filter(([, , on]) => on).map(([kind]) => kind));
    $('feed-kinds').append(...KINDS.map(([kind, name, on]) => {
      const box = h('input', { type: 'checkbox', checked: on });
      box.addEventListener('change', () => {
        if (box.checked) this.shown.add(kind); else this.shown.delete(kind);
        for (const row of this.list.children) row.hidden = !this.shown.has(row.dataset.kind);
      });
      return h('label', {}, box, name);
    }));
    this.list.append(h('li', { class: 'muted', 'data-kind': 'none' }, h('span', {}), h('span', {}, 'Nothing of this has happened since the page was opened.')));
    setInterval(() => this.flush(), 300);
  }

  add(event) {
    if (this.queue.length < 5000) this.queue.push(event);
  }

  /** Writes what came since the last time; many events of one kind become one line. */
  flush() {
    if (this.queue.length === 0) return;
    const groups = new Map();
    for (const event of this.queue) {
      const key = serious(event) ? `!${groups.size}` : `${event.kind} ${event.phase ?? event.reason ?? event.name ?? ''}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(event);
    }
    this.queue = [];
    const rows = [...groups.values()].flatMap((events) => this.rows(events)).reverse();
    if (rows.some((row) => !row.hidden)) this.list.querySelector('[data-kind=none]')?.remove();
    const top = this.list.scrollTop;
    const before = this.list.scrollHeight;
    this.list.prepend(...rows);
    // Whoever has scrolled down reads on undisturbed.
    if (top > 0) this.list.scrollTop = top + this.list.scrollHeight - before;
    while (this.list.children.length > KEPT) this.list.lastChild.remove();
  }

  rows(events) {
    const [first] = events;
    const last = events.at(-1);
    // Of a job, only the newest state counts.
    if (first.kind === 'job') return [this.row(last, TEXTS.job(last))];
    if (events.length <= EACH) return events.map((e) => this.row(e, TEXTS[e.kind]?.(e) ?? [e.kind]));
    return [this.row(first, this.summary(events))];
  }

  summary(events) {
    const [first] = events;
    if (first.kind === 'task') {
      const workers = [...new Set(events.flatMap((e) => e.workers))];
      return [`${events.length} tasks ${PHASES[first.phase] ?? first.phase}: `, nodeNames(workers.slice(0, 8))];
    }
    if (first.kind === 'payment') {
      const total = events.reduce((sum, e) => sum + Number(e.amount), 0);
      return [`${events.length} payments for ${first.reason === 'epoch' ? 'an epoch' : 'tasks'}, ${total.toFixed(3)} rUv in all`];
    }
    return [`${events.length} ${first.kind} events`];
  }

  row(event, content) {
    return h('li', { class: serious(event) ? 'bad' : undefined, 'data-kind': event.kind, hidden: !this.shown.has(event.kind) },
      h('time', {}, clock()), h('span', {}, content));
  }
}
