// The header with the owner's controls, the table of nodes, and invitations.

import { post } from './api.js';
import { $, colour, copied, copyText, duration, empty, failure, grouped, h, metric, rUv, show, table } from './dom.js';
import { dialog } from './detail.js';

let status = null;
let fetchedAt = 0;
let dragging = false;

let noticeUntil = 0;

/** Shows a problem, which stays for a while, or a state that the owner should know. */
export function notice(text, bad = false) {
  if (!bad && Date.now() < noticeUntil) return;
  noticeUntil = bad ? Date.now() + 6000 : 0;
  $('notice').textContent = text;
  $('notice').hidden = !text;
  $('notice').classList.toggle('bad', bad);
}

export function showStatus(view) {
  status = view;
  fetchedAt = Date.now();
  document.title = `${view.paused ? 'paused - ' : ''}${view.chain} - Anthill`;
  $('network').textContent = view.chain;
  $('network').title = `genesis ${view.genesis}`;
  $('role').textContent = view.role;
  $('role').hidden = false;
  show($('own'), view.node, () => [h('span', { class: 'node', '--c': colour(view.node) }, copied(view.node, 'node key'))]);
  $('pause').textContent = view.paused ? 'Resume' : 'Pause';
  $('pause').classList.toggle('primary', view.paused);
  $('pause').disabled = false;
  $('cpu').disabled = false;
  if (!dragging) showCpu(view.cpu);
  notice(view.paused ? 'This node is paused: it takes no work until you resume it.' : '');
  showNodes(view);
  $('foot').textContent = `Anthill ${view.version}, account ${view.account}, genesis ${view.genesis}, state root ${view.root}`;
  tick();
}

/** The numbers of the header; called each second, so that the time left runs. */
export function tick() {
  if (!status) return;
  const left = Math.max(0, status.epoch_left_ms - (Date.now() - fetchedAt));
  const age = Math.max(0, Date.now() - status.time_ms);
  const pairs = [
    ['block', grouped(status.height), `state root ${status.root}`],
    ['block age', age < 90000 ? `${Math.round(age / 1000)} s` : duration(age), 'since the time of the newest block'],
    ['epoch', status.epoch, undefined],
    ['closes in', left ? duration(left) : 'the next block', undefined],
    ['peers', status.peers, undefined],
    ['virtual nodes', status.virtual_nodes, undefined],
    ['running here', grouped(status.running), 'tasks that run on this node now'],
    ['done here', grouped(status.done), 'tasks done here since the start'],
    ['waiting', grouped(status.waiting), 'transactions that wait for a block'],
  ];
  show($('stats'), pairs, () => pairs.map(([name, value, title]) => h('div', { title }, h('dt', {}, name), h('dd', {}, String(value)))));
}

function showNodes({ nodes }) {
  const up = nodes.filter((n) => n.connected).length;
  $('nodes-note').textContent = `${up} of ${nodes.length} connected`;
  const tag = (on, text, kind = '') => on && h('span', { class: `tag ${kind}` }, text);
  const bad = (text, is) => h('span', { class: is ? 'bad' : 'muted' }, text);
  const columns = [
    ['Node', (n) => [h('span', { class: 'node', '--c': colour(n.node) }, copied(n.node, 'node key')), tag(n.own, 'this node')].filter(Boolean)],
    ['Role', (n) => n.validator ? 'validator' : 'worker'],
    ['Connected', (n) => n.connected ? h('span', { class: 'good' }, 'yes') : h('span', { class: 'bad' }, 'no')],
    ['Trust', (n) => metric(n.trust), { num: true, title: 'at the start of this epoch' }],
    ['Bond', (n) => rUv(n.bond, 2), { num: true, title: 'rUv at stake' }],
    ['Slashed', (n) => bad(rUv(n.slashed, 2), n.slashed !== '0'), { num: true, title: 'rUv lost by wrong results' }],
    ['Offered', (n) => grouped(n.offered), { num: true, title: 'resource units per epoch' }],
    ['Final', (n) => grouped(n.tasks), { num: true, title: 'final results in this epoch' }],
    ['Wrong', (n) => bad(grouped(n.wrong), n.wrong > 0), { num: true, title: 'results proved wrong in this epoch' }],
    ['Late', (n) => h('span', { class: n.late ? 'warn' : 'muted' }, grouped(n.late)), { num: true, title: 'missed deadlines in this epoch' }],
    ['State', (n) => n.resting ? h('span', { class: 'warn', title: 'draws no work until the next epoch' }, 'resting') : n.offered === 0 ? h('span', { class: 'muted' }, 'offers nothing') : 'takes work'],
  ];
  show($('nodes-body'), nodes, () => nodes.length === 0
    ? empty('No node is registered yet.', 'The first block registers this one.')
    : table('Nodes of the network', columns, nodes, (n) => n.own ? 'own' : ''));
}

function showCpu(cpu) {
  $('cpu').value = cpu;
  $('cpu-value').textContent = `${cpu} %`;
}

async function steer(what, body, changed) {
  try {
    const limits = await post(`/api/${what}`, body);
    if (status) showStatus({ ...status, ...limits });
    changed();
  } catch (error) {
    notice(error.message, true);
    if (status) showCpu(status.cpu);
  }
}

/** Wires the controls; `changed` is called after each. */
export function wireControls(changed) {
  $('controls').addEventListener('submit', (event) => event.preventDefault());
  $('pause').addEventListener('click', () => steer(status?.paused ? 'resume' : 'pause', undefined, changed));
  $('cpu').addEventListener('input', () => {
    dragging = true;
    $('cpu-value').textContent = `${$('cpu').value} %`;
  });
  $('cpu').addEventListener('change', () => {
    dragging = false;
    steer('limit', { cpu: Number($('cpu').value) }, changed);
  });
  $('invite').addEventListener('click', invite);
}

function invite() {
  const bond = h('input', { name: 'bond', value: '100', required: true, pattern: '[0-9]+([.][0-9]{1,6})?', title: 'rUv, up to six decimals', inputmode: 'decimal' });
  const hours = h('input', { name: 'hours', value: '24', type: 'number', min: '1', max: '720', required: true });
  const result = h('div', { 'aria-live': 'polite' });
  const form = h('form', { class: 'stack' },
    h('p', { class: 'note' }, 'A ticket lets one newcomer in, once. Its bond comes out of this node\u2019s balance: it is what the newcomer can lose by wrong results.'),
    h('label', {}, 'Bond for the newcomer, rUv ', bond), h('label', {}, 'Valid for, hours ', hours),
    h('p', { class: 'row' }, h('button', { type: 'submit', class: 'primary' }, 'Make a ticket')), result);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      const { ticket } = await post('/api/tickets', { bond: bond.value, valid_seconds: Number(hours.value) * 3600 });
      const text = h('textarea', { readonly: true, 'aria-label': 'Command for the second machine' });
      text.value = `anthill join ${ticket}`;
      const copy = h('button', { type: 'button' }, 'Copy');
      copy.addEventListener('click', async () => { copy.textContent = (await copyText(text.value)) ? 'Copied' : 'Select and copy it'; text.select(); });
      result.replaceChildren(h('p', {}, 'On the second machine:'), text, h('p', {}, copy));
    } catch (error) {
      result.replaceChildren(failure(error));
    }
  });
  dialog('Invite a machine', form);
}

/** What a node is in one line, for details; `null` when it is unknown. */
export function nodeOfAccount(account) {
  return status?.nodes.find((n) => n.account === account) ?? null;
}

