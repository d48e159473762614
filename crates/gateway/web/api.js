// The API over HTTP: one request after another where limits say so, errors with their reason, answers with their trace.

/** Longest wait for an answer. */
const ANSWER_MS = 20_000;
/** Longest time that limits may hold a request up before it fails. */
const LIMITED_MS = 60_000;
/** Reads that failed for no reason of ours are tried this often, with these waits between. */
const READ_WAITS_MS = [400, 1_500];

/** Why a request was not carried out. `status` 0: there was no answer, and nobody knows whether it was. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(reason(status, body));
    this.status = status;
    this.code = body?.code ?? 0;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function reason(status, body) {
  if (status === 0) return 'No connection';
  const field = firstFault(body?.errors);
  return field ?? body?.message?.replace(/^\d{3}: /, '') ?? `Error ${status}`;
}

/** The first sentence in the tree of what is wrong with a request's fields. */
function firstFault(tree) {
  if (!tree || typeof tree !== 'object') return null;
  if (tree._errors?.length) return tree._errors[0].message;
  return Object.values(tree).map(firstFault).find(Boolean) ?? null;
}

export class Api {
  /** Until when a route is not to be asked, in ms. */
  #blocked = new Map();

  constructor(token, { base = '/api/v10', env = {}, onUnauthorized = () => {} } = {}) {
    this.token = token;
    this.base = base;
    this.onUnauthorized = onUnauthorized;
    this.env = { fetch: (...a) => fetch(...a), now: Date.now, sleep: ms => new Promise(done => setTimeout(done, ms)), ...env };
  }

  get(path) { return this.call('GET', path); }

  /** Answers `{data, trace}`; `data` is null where there is none. Fails with an ApiError. */
  async call(method, path, body) {
    const route = `${method} ${path.replace(/\?.*/, '').replace(/(\/(?:messages|reactions|read-states))\/.*/, '$1')}`;
    const deadline = this.env.now() + LIMITED_MS;
    for (let failures = 0; ;) {
      await this.#turn(route, deadline);
      try {
        return await this.#once(method, path, body, route);
      } catch (error) {
        if (error.status === 429 && this.env.now() < deadline) continue;
        const again = method === 'GET' && error.isPassing && error.status !== 429 && failures < READ_WAITS_MS.length;
        if (!again) throw error;
        await this.env.sleep(READ_WAITS_MS[failures]);
        failures += 1;
      }
    }
  }

  /** Waits until limits allow the next request. */
  async #turn(route, deadline) {
    for (;;) {
      const until = Math.max(this.#blocked.get(route) ?? 0, this.#blocked.get('*') ?? 0);
      const wait = until - this.env.now();
      if (wait <= 0) return;
      if (until > deadline) throw new ApiError(429, { message: 'Too many requests; try again in a moment' });
      await this.env.sleep(wait);
    }
  }

  async #once(method, path, body, route) {
    const headers = { Authorization: this.token };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ANSWER_MS);
    let response;
    let text;
    try {
      response = await this.env.fetch((path.startsWith('/x/') ? '/api' : this.base) + path, {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
        signal: abort.signal, credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer',
      });
      text = await response.text();
    } catch {
      throw new ApiError(0);
    } finally {
      clearTimeout(timer);
    }
    const data = parsed(text);
    if (response.ok) {
      this.#note(route, response.headers);
      return { data, trace: response.headers.get('x-trace-id') };
    }
    if (response.status === 401) this.onUnauthorized();
    const retryAfter = Number(data?.retry_after ?? response.headers.get('retry-after') ?? 0) * 1_000;
    if (response.status === 429) {
      const key = data?.global || response.headers.get('x-ratelimit-global') ? '*' : route;
      this.#blocked.set(key, this.env.now() + Math.max(retryAfter, 250));
    }
    throw new ApiError(response.status, data, retryAfter);
  }

  /** The limit is reached with this request: the next one would be refused. */
  #note(route, headers) {
    const after = Number(headers.get('x-ratelimit-reset-after'));
    if (headers.get('x-ratelimit-remaining') === '0' && after > 0) this.#blocked.set(route, this.env.now() + after * 1_000);
  }
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
