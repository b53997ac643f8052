// Index jobs, and the questions that their indexes answer.

import { get, post } from './api.js';
import { $, colour, count, empty, failure, grouped, h, nodeName, nodeNames, show } from './dom.js';
import { openTask } from './detail.js';

const STAGES = { embedding: 'embedding', building: 'building', ready: 'ready, results open to challenge', final: 'ready, all results final', failed: 'failed' };

export async function refreshJobs() {
  showJobs(await get('/api/jobs'));
}

function showJobs(jobs) {
  const open = jobs.filter((j) => j.stage === 'embedding' || j.stage === 'building').length;
  $('work-note').textContent = jobs.length ? `${count(jobs.length, 'index', 'indexes')}${open ? `, ${open} in the making` : ''}` : '';
  show($('work-body'), jobs, () => jobs.length === 0
    ? empty('There is no index yet: this node has nothing to search.', h('span', {}, 'Make one below, or in the terminal: ', h('code', {}, 'anthill index ./notes --name notes')))
    : jobs.map(job));
  const names = jobs.filter((j) => j.digest).map((j) => j.name);
  show($('ask-index'), names, () => [['', 'all indexes'], ...names.map((n) => [n, n])].map(([value, text]) => h('option', { value }, text)));
  $('ask-note').textContent = names.length ? '' : jobs.length ? 'the index is not ready yet' : 'needs an index';
}

function job(view) {
  const shares = Object.entries(view.workers).sort((a, b) => b[1] - a[1]);
  const kind = view.stage === 'failed' ? 'bad' : view.stage === 'final' ? 'good' : '';
  const bar = shares.map(([node, passages]) => h('span', { '--c': colour(node), '--w': passages, title: `${node}: ${count(passages, 'passage')}` }));
  return h('article', { class: 'job' },
    h('p', { class: 'row' }, h('strong', {}, view.name), h('span', { class: `note ${kind}` }, STAGES[view.stage] ?? view.stage)),
    h('progress', { max: Math.max(1, view.tasks), value: view.accepted, 'aria-label': `Tasks of ${view.name} accepted` }),
    h('p', { class: 'note' }, `${grouped(view.accepted)} of ${count(view.tasks, 'task')} accepted, ${grouped(view.settled)} final; ${count(view.passages, 'passage')} of ${count(view.files, 'file')}; ${view.visibility}; model ${view.model}`),
    view.error && h('p', { class: 'error' }, view.error),
    shares.length > 0 && h('div', { class: 'share', role: 'img', 'aria-label': 'Passages by node, each replica counted; the list below holds the figures', title: 'passages by node, each replica counted' }, bar),
    shares.length > 0 && h('div', { class: 'legend' }, shares.map(([node, passages]) => h('span', {}, nodeName(node), ` ${grouped(passages)}`))),
    view.skipped.length > 0 && h('details', { class: 'more' }, h('summary', { 'data-key': `skipped-${view.name}` }, `${count(view.skipped.length, 'file')} left out`),
      h('ul', { class: 'note' }, view.skipped.map((s) => h('li', {}, `${s.path}: ${s.reason}`)))));
}

/** Wires the form that begins an index job; `changed` is called after it. */
export function wireIndex(changed) {
  const form = $('index-form');
  const said = form.querySelector('output');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { path, name, public: open } = form.elements;
    const button = form.querySelector('button');
    button.disabled = true;
    said.className = 'note';
    said.textContent = 'Reading and splitting...';
    try {
      const view = await post('/api/index', { path: path.value, name: name.value, public: open.checked });
      said.textContent = `${count(view.passages, 'passage')} of ${count(view.files, 'file')} are on their way.`;
      form.reset();
      changed();
    } catch (error) {
      said.className = 'bad';
      said.textContent = error.message;
    }
    button.disabled = false;
  });
}

/** Wires the question box. */
export function wireAsk() {
  $('ask-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = $('ask-form').querySelector('button');
    button.disabled = true;
    const began = performance.now();
    try {
      const request = { question: $('question').value, k: Number($('ask-k').value) };
      if ($('ask-index').value) request.index = $('ask-index').value;
      const reply = await post('/api/ask', request);
      $('ask-note').textContent = `${count(reply.answers.length, 'passage')} in ${Math.round(performance.now() - began)} ms, model ${reply.model}`;
      $('ask-body').replaceChildren(reply.answers.length === 0
        ? empty('No passage of the indexes answers this.') : h('ol', { class: 'answers' }, reply.answers.map(answer)));
    } catch (error) {
      $('ask-note').textContent = '';
      $('ask-body').replaceChildren(failure(error));
    }
    button.disabled = false;
  });
}

const LONG = 320;

function answer(a) {
  const text = h('p', { class: a.text.length > LONG ? 'passage clamped' : 'passage' }, a.text);
  const more = a.text.length > LONG && h('button', { type: 'button', class: 'link', 'aria-expanded': 'false' }, 'whole passage');
  if (more) {
    more.addEventListener('click', () => {
      const clamped = text.classList.toggle('clamped');
      more.textContent = clamped ? 'whole passage' : 'less';
      more.setAttribute('aria-expanded', String(!clamped));
    });
  }
  const state = a.settled ? h('span', { class: 'good' }, 'final') : h('span', { class: 'warn', title: 'accepted, and open to challenge' }, 'accepted');
  const task = a.task && h('button', { type: 'button', class: 'link', onclick: () => openTask(a.task) }, `task ${a.task.slice(0, 8)}`);
  return h('li', {},
    h('p', { class: 'row' }, h('span', { class: 'score', title: a.focus === null ? 'cosine of question and passage' : `similarity ${a.similarity.toFixed(3)}, the rest is focus (${(a.focus * 100).toPrecision(2)}%)` }, a.score.toFixed(3)), h('span', { class: 'source' }, a.path),
      h('span', { class: 'note' }, `bytes ${a.start}-${a.end} in ${a.index}`)),
    text,
    h('p', { class: 'row note' }, more, h('span', {}, 'computed by '), a.workers.length ? nodeNames(a.workers) : 'the committee', state, task));
}
