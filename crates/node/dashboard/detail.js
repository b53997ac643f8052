// The dialog: why a payment was made, what became of a task, and the proof of either.

import { get, saveProof } from './api.js';
import { $, copied, empty, facts, failure, grouped, h, metric, nodeName, rUv, short, table } from './dom.js';

/** Opens the dialog on this content. */
export function dialog(title, ...content) {
  $('detail-title').textContent = title;
  $('detail-body').replaceChildren(...content);
  if (!$('detail').open) $('detail').showModal();
}

export function wireDialog() {
  $('detail-close').addEventListener('click', () => $('detail').close());
  $('detail').addEventListener('click', (event) => { if (event.target === $('detail')) $('detail').close(); });
}

/** A button that fetches a proof and says how to check it. */
export function proofButton(subject) {
  const said = h('span', { class: 'note', 'aria-live': 'polite' });
  const button = h('button', { type: 'button', class: 'primary' }, 'Download the proof');
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      const name = await saveProof(subject);
      said.replaceChildren('Check it on any machine, without a node: ', h('code', {}, `anthill verify ${name}`));
    } catch (error) {
      said.replaceChildren(h('span', { class: 'bad' }, error.message));
    }
    button.disabled = false;
  });
  return h('p', { class: 'row' }, button, said);
}

const hash = (text) => text && h('span', { class: 'mono' }, text);
const REASONS = { task: 'its result was accepted and became final', epoch: 'its share of an epoch', slash: 'it showed that a result was wrong' };

async function section(title, make) {
  try {
    return [h('h3', {}, title), ...[await make()].flat()];
  } catch (error) {
    return [h('h3', {}, title), failure(error)];
  }
}

function taskFacts(task) {
  const state = (r) => r.failed ? h('span', { class: 'bad' }, 'wrong or late')
    : !r.output ? h('span', { class: 'muted' }, 'not revealed')
    : task.output === null ? 'revealed'
    : r.output === task.output ? h('span', { class: 'good' }, 'equal to the accepted one') : h('span', { class: 'bad' }, 'differs');
  return [
    facts([['Task', hash(task.id)], ['State', task.phase], ['Submitted', `in block ${grouped(task.submitted_at)} by account ${short(task.submitter)}`],
      ['Reference cost', task.cost === null ? null : grouped(task.cost)], ['Accepted output', hash(task.output)]]),
    task.replicas.length === 0 ? empty('Nobody has drawn this task yet.')
      : table('Who computed it', [['Node', (r) => nodeName(r.node)], ['Output', (r) => r.output ? copied(r.output, 'output') : '-'], ['Result', state]], task.replicas),
  ];
}

/** A task: who computed what, and what was accepted. */
export async function openTask(id) {
  dialog(`Task ${short(id)}`, h('p', { class: 'muted' }, 'Asking the node...'));
  const body = await section('What became of it', async () => taskFacts(await get(`/api/tasks/${encodeURIComponent(id)}`)));
  dialog(`Task ${short(id)}`, ...body, proofButton(`task:${id}`));
}

function epochFacts(epoch, payment) {
  const row = epoch.rows.find((r) => r.node === payment.node);
  const share = Number(epoch.pool) > 0 ? `${(100 * Number(payment.amount) / Number(epoch.pool)).toFixed(2)} % of ` : '';
  return facts([
    ['Epoch', `${epoch.epoch}, blocks ${grouped(epoch.from_height)} to ${grouped(epoch.to_height)}`],
    ['Share', `${share}a pool of ${rUv(epoch.pool)} rUv`],
    ['Score', row && h('span', {}, metric(row.score), h('span', { class: 'note' }, `  from E ${row.e}, Q ${row.q}, I ${row.i}, T ${row.t}`))],
    ['Work', row && `${grouped(row.work)} in ${grouped(row.tasks)} final results, ${grouped(row.offered)} units offered`],
    ['Leaf', row && hash(row.leaf)], ['Epoch root', hash(epoch.root)], ['TLR', hash(epoch.tlr)],
  ]);
}

/** Why a payment was made: from the payment to its task or epoch, and the proof of it. */
export async function openPayment(number) {
  const title = `Payment ${number}: why`;
  dialog(title, h('p', { class: 'muted' }, 'Asking the node...'));
  try {
    const p = await get(`/api/credits/${number}`);
    const about = facts([
      ['Amount', `${rUv(p.amount)} rUv${p.bonded === '0' ? '' : `, of which ${rUv(p.bonded)} into the bond`}`],
      ['To', h('span', {}, nodeName(p.node), h('span', { class: 'note' }, `  account ${p.account}`))],
      ['Because', REASONS[p.reason] ?? p.reason], ['From', p.offender ? nodeName(p.offender) : null], ['In block', grouped(p.height)],
    ]);
    const parts = [];
    if (p.task) parts.push(...await section('The task', async () => taskFacts(await get(`/api/tasks/${p.task}`))));
    if (p.epoch !== null) parts.push(...await section('The epoch', async () => epochFacts(await get(`/api/epochs/${p.epoch}`), p)));
    dialog(title, about, ...parts,
      h('p', { class: 'note' }, 'The proof leads from this payment to the state root that the validators signed. In the terminal: ', h('code', {}, `anthill credits why ${number}`)),
      proofButton(`credits:${number}`));
  } catch (error) {
    dialog(title, failure(error));
  }
}
