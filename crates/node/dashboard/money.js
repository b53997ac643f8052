// Credits and epochs: who has what, who earned it, and whether the books balance.

import { get } from './api.js';
import { $, copied, count, duration, empty, grouped, h, metric, micro, nodeName, rUv, short, show, table } from './dom.js';
import { Rewards } from './charts.js';
import { dialog, openPayment, proofButton } from './detail.js';
import { nodeOfAccount } from './network.js';

const NEWEST = 50;

export async function refreshCredits() {
  const view = await get(`/api/credits?newest=${NEWEST}`);
  const balanced = micro(view.held) + micro(view.burned) === micro(view.minted);
  const amount = (text) => h('b', { title: `${text} rUv` }, rUv(text, 2));
  show($('supply'), [view.minted, view.held, view.burned], () => h('p', { class: 'equation' },
    h('span', {}, amount(view.minted), ' minted'), '=', h('span', {}, amount(view.held), ' held'), '+', h('span', {}, amount(view.burned), ' burned'),
    balanced ? h('span', { class: 'good' }, '\u2713 exact') : h('span', { class: 'error', role: 'alert' }, 'The books do not balance: stop this node and report it.')));
  showAccounts(view.accounts);
  $('credits-note').textContent = `rUv; ${count(view.payments, 'payment')} so far`;
  showPayments(view.newest);
}

function showAccounts(accounts) {
  const rows = accounts.map((a) => ({ ...a, node: nodeOfAccount(a.account)?.node }))
    .sort((a, b) => Number(b.own) - Number(a.own) || (micro(b.balance) > micro(a.balance) ? 1 : -1));
  const columns = [
    ['Account', (a) => [copied(a.account, 'account'), a.own && h('span', { class: 'tag' }, 'yours')].filter(Boolean)],
    ['Node', (a) => a.node ? nodeName(a.node) : h('span', { class: 'muted' }, 'none')],
    ['Balance', (a) => h('span', { title: `${a.balance} rUv` }, rUv(a.balance, 2)), { num: true }],
    ['Bond', (a) => h('span', { title: `${a.bond} rUv` }, rUv(a.bond, 2)), { num: true }],
  ];
  show($('accounts'), rows, () => rows.length === 0 ? empty('No account holds credits yet.') : table('Balances in rUv', columns, rows, (a) => a.own ? 'own' : ''));
}

function showPayments(payments) {
  const reason = (p) => p.reason === 'slash' ? h('span', { class: 'bad' }, 'slash of ', nodeName(p.offender ?? ''))
    : p.reason === 'epoch' ? `epoch ${p.epoch}` : h('span', {}, 'task ', h('span', { class: 'mono' }, short(p.task ?? '')));
  const columns = [
    ['No.', (p) => grouped(p.number)],
    ['To', (p) => nodeName(p.node)],
    ['rUv', (p) => h('span', { title: `${p.amount} rUv` }, rUv(p.amount, 4)), { num: true }],
    ['For', reason],
    ['Block', (p) => grouped(p.height), { num: true }],
    ['', (p) => h('button', { type: 'button', class: 'link', 'aria-label': `Why payment ${p.number}`, 'data-key': `why-${p.number}`, onclick: () => openPayment(p.number) }, 'why')],
  ];
  show($('payments'), payments, () => payments.length === 0
    ? empty('Nothing has been paid yet.', 'A payment is made when a result becomes final, and when an epoch closes.')
    : table('Newest payments', columns, payments));
}

let rewards = null;
let epochs = [];
let chosen = null;

export async function refreshEpochs(left) {
  rewards ??= new Rewards($('rewards'));
  epochs = await get('/api/epochs');
  const newest = epochs[0]?.epoch;
  for (const id of ['epoch', 'epoch-proof']) $(id).hidden = epochs.length === 0;
  show($('epoch'), epochs.map((e) => [e.epoch, e.pool]), () => epochs.map((e) => h('option', { value: e.epoch }, `epoch ${e.epoch}${e.epoch === newest ? ' (newest)' : ''}: ${rUv(e.pool)} rUv`)));
  if (!epochs.some((e) => e.epoch === chosen)) chosen = null;
  $('epoch').value = chosen ?? newest ?? '';
  rewards.set(epochs);
  showEpoch(left);
}

function showEpoch(left) {
  const epoch = epochs.find((e) => e.epoch === (chosen ?? epochs[0]?.epoch));
  if (!epoch) {
    $('epochs-note').textContent = '';
    show($('epochs-body'), null, () => empty('No epoch has closed yet.', left === undefined ? '' : left > 0 ? `The running one closes in about ${duration(left)}; then whoever did work is paid here.` : 'The running one closes with the next block.'));
    return;
  }
  $('epochs-note').textContent = `${rUv(epoch.pool)} rUv shared out; blocks ${grouped(epoch.from_height)}-${grouped(epoch.to_height)}; TLR ${short(epoch.tlr)}`;
  $('epochs-note').title = `root ${epoch.root}\nTLR ${epoch.tlr}`;
  const value = (name) => (r) => metric(r[name]);
  const columns = [
    ['Node', (r) => nodeName(r.node)],
    ['Tasks', (r) => grouped(r.tasks), { num: true, title: 'final results of drawn tasks' }],
    ['E', value('e'), { num: true, title: 'efficiency' }],
    ['Q', value('q'), { num: true, title: 'quality' }],
    ['I', value('i'), { num: true, title: 'impact' }],
    ['T', value('t'), { num: true, title: 'trust' }],
    ['Score', value('score'), { num: true, title: 'smoothed PoEI score' }],
    ['rUv', (r) => h('span', { title: `${r.reward} rUv` }, rUv(r.reward, 2)), { num: true, title: 'reward' }],
    ['Slashed', (r) => h('span', { class: r.slashed === '0' ? 'muted' : 'bad' }, rUv(r.slashed, 2)), { num: true, title: 'rUv lost so far' }],
    ['Leaf', (r) => copied(r.leaf, 'leaf')],
    ['', (r) => r.payment === null ? '' : h('button', { type: 'button', class: 'link', 'aria-label': `Why payment ${r.payment}`, 'data-key': `epoch-why-${r.payment}`, onclick: () => openPayment(r.payment) }, 'why')],
  ];
  show($('epochs-body'), epoch, () => [
    epoch.rows.length === 0 ? empty('Nobody took part in this epoch.') : table(`Epoch ${epoch.epoch}`, columns, epoch.rows),
    ...epoch.absent.map((text) => h('p', { class: 'note' }, text)),
  ]);
}

export function wireEpochs() {
  $('epoch').addEventListener('change', () => {
    const wanted = Number($('epoch').value);
    // Who looks at the newest epoch goes on to the next one.
    chosen = wanted === epochs[0]?.epoch ? null : wanted;
    showEpoch();
  });
  $('epoch-proof').addEventListener('click', () => {
    const number = $('epoch').value;
    dialog(`Proof of epoch ${number}`, h('p', {}, 'The proof holds the epoch\u2019s record and leads from it to the state root that the validators signed.'), proofButton(`epoch:${number}`));
  });
}
