// Talks to the node: JSON calls, the event stream, proof files.

/** What the node said, or why it could not be asked. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Events: `signed-out`, when the node does not know this browser. */
export const signals = new EventTarget();

async function call(method, path, body) {
  const options = { method, headers: {}, signal: AbortSignal.timeout(60000) };
  if (body !== undefined) {
    options.headers['content-type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    const slow = error.name === 'TimeoutError';
    throw new ApiError(0, slow ? 'The node has not answered for a minute.' : 'The node does not answer: is `anthill up` still running?');
  }
  if (response.ok) return response;
  if (response.status === 401) signals.dispatchEvent(new Event('signed-out'));
  const said = await response.json().catch(() => null);
  throw new ApiError(response.status, said?.error?.message ?? `The node answered ${response.status} ${response.statusText}.`);
}

export const get = async (path) => (await call('GET', path)).json();
export const post = async (path, body) => (await call('POST', path, body)).json();

/** Fetches the proof of a subject (`credits:42`) and hands it to the browser as a file; gives its name. */
export async function saveProof(subject) {
  const bytes = await (await call('GET', `/api/proofs/${encodeURIComponent(subject)}`)).blob();
  const name = `${subject.replace(/:/g, '-').slice(0, 40)}.cbor`;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(bytes);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return name;
}

/** Listens to everything that happens; `heard(event)`, `state(connected)`. */
export function listen(heard, state) {
  const source = new EventSource('/api/events');
  source.onopen = () => state(true);
  source.onerror = () => {
    state(false);
    // The browser gives up on an answer that is no stream (401, or the node is starting): try again.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => get('/api/status').then(() => listen(heard, state), (error) => {
        if (error.status !== 401) listen(heard, state);
      }), 3000);
    }
  };
  source.onmessage = (message) => heard(JSON.parse(message.data));
}
