// The dashboard: asks the node once, then follows its events.

import { get, listen, signals } from './api.js';
import { $, failure, forget } from './dom.js';
import { Rate } from './charts.js';
import { Feed } from './feed.js';
import { wireDialog } from './detail.js';
import { notice, showStatus, tick, wireControls } from './network.js';
import { refreshJobs, wireAsk, wireIndex } from './work.js';
import { refreshGraph, wireGraph } from './graph.js';
import { refreshCredits, refreshEpochs, wireEpochs } from './money.js';

/** Without events, each part is asked for again after so many milliseconds. */
const IDLE = 15000;

let left;

async function refreshStatus() {
  const view = await get('/api/status');
  left = view.epoch_left_ms;
  document.body.dataset.state = 'ready';
  showStatus(view);
}

// What is asked for, where its error is shown, and the least time between two requests.
const parts = {
  status: { ask: refreshStatus, place: 'nodes-body', pause: 700 },
  jobs: { ask: refreshJobs, place: 'work-body', pause: 700 },
  credits: { ask: refreshCredits, place: 'supply', pause: 1500 },
  graph: { ask: refreshGraph, place: 'graph-found', pause: 5000 },
  epochs: { ask: () => refreshEpochs(left), place: 'epochs-body', pause: 1500 },
};

/** Asks for a part soon: never twice at once, and never more often than its pause allows. */
async function refresh(name) {
  const part = parts[name];
  if (part.busy || document.body.dataset.state === 'signed-out') {
    part.again = true;
    return;
  }
  part.busy = true;
  part.again = false;
  try {
    await part.ask();
  } catch (error) {
    // What is shown now is no longer what was drawn last.
    forget($(part.place));
    if (error.status === 0) notice(error.message, true);
    else if (error.status !== 401) $(part.place).replaceChildren(failure(error));
  }
  part.at = Date.now();
  setTimeout(() => {
    part.busy = false;
    if (part.again) refresh(name);
  }, part.pause);
}

const refreshAll = () => Object.keys(parts).forEach(refresh);

const CONCERNS = {
  block: ['status', 'graph'], peer: ['status'], task: ['status'], payment: ['credits'], epoch: ['epochs', 'credits', 'status'], job: ['jobs'],
};

function start() {
  const tasks = new Rate($('tasks-plot'), $('tasks-value'), '--n2', 'tasks');
  const blocks = new Rate($('blocks-plot'), $('blocks-value'), '--n0', 'blocks');
  const feed = new Feed();
  // A task is counted once, when its result is first accepted.
  const accepted = new Set();
  const heard = (event) => {
    feed.add(event);
    if (event.kind === 'block') blocks.add();
    if ((event.phase === 'provisional' || event.phase === 'final') && !accepted.has(event.id)) {
      if (event.phase === 'provisional') tasks.add();
      accepted.add(event.id);
      if (accepted.size > 50000) accepted.delete(accepted.values().next().value);
    }
    if (!document.hidden) (CONCERNS[event.kind] ?? []).forEach(refresh);
  };
  const state = (on) => {
    $('live').dataset.on = on ? 'yes' : 'no';
    $('live').textContent = on ? 'live' : 'connection lost, trying again';
    if (on) refreshAll();
  };
  signals.addEventListener('signed-out', () => { document.body.dataset.state = 'signed-out'; });
  $('retry').addEventListener('click', () => location.replace('/'));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refreshAll(); });
  setInterval(() => {
    if (document.hidden) return;
    tick();
    tasks.tick();
    blocks.tick();
    for (const [name, part] of Object.entries(parts)) if (Date.now() - (part.at ?? 0) > IDLE) refresh(name);
  }, 1000);
  wireDialog();
  wireControls(() => refresh('status'));
  wireIndex(() => refresh('jobs'));
  wireAsk();
  wireGraph();
  wireEpochs();
  // The first status gives each node its colour, before anything else is drawn.
  refreshStatus().then(() => listen(heard, state), (error) => {
    if (error.status === 401) return;
    notice(error.message, true);
    listen(heard, state);
  });
}

start();
