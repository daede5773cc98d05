// A client whose types are generated from openapi.yaml (openapi-typescript, openapi-fetch), as a lab
// would write one: it registers models and texts, submits a job, hears its events, waits for its end
// and reads the curve. A field that openapi.yaml does not know does not compile.
import createClient from 'openapi-fetch';
import type { components, paths } from './generated/openapi.js';

type Job = components['schemas']['Job'];
type Barrier = components['schemas']['Barrier'];
type Event = components['schemas']['Event'];

export interface Followed {
  job: Job;
  barrier: Barrier;
  events: Event[];
}

const id = (job: string) => ({ params: { path: { id: job } } });

function taken<T>(what: string, answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(`${what}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

/** The events of a job until the daemon ends the stream, which it does when the job has ended. */
async function hear(events: ReadableStream<Uint8Array>): Promise<Event[]> {
  let text = '';
  const decoder = new TextDecoder();
  const reader = events.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read())
    text += decoder.decode(part.value, { stream: true });
  return text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)) as Event);
}

export async function follow(baseUrl: string, fixtures: string): Promise<Followed> {
  const api = createClient<paths>({ baseUrl });
  for (const name of ['bert-a', 'bert-b'])
    taken(name, await api.POST('/v1/models', { body: { name, path: `${fixtures}/models/${name}` } }));
  for (const name of ['align', 'eval'])
    taken(name, await api.POST('/v1/datasets', { body: { name, path: `${fixtures}/data/${name}.txt`, format: 'text' } }));

  const submitted = taken('submit', await api.POST('/v1/jobs', {
    params: { header: { 'Idempotency-Key': 'client-1' } },
    body: {
      name: 'from a generated client',
      models: { a: 'bert-a', b: 'bert-b' },
      align: { dataset: 'align', max_sequences: 50 },
      interpolate: { points: 5 },
      evaluate: { task: 'mlm', dataset: 'eval', max_blocks: 8 },
    },
  }));
  if (!('id' in submitted)) throw new Error('a dry run was not asked for');

  const stream = await api.GET('/v1/jobs/{id}/events', {
    ...id(submitted.id), headers: { Accept: 'text/event-stream' }, parseAs: 'stream' });
  const events = hear(taken('events', stream) as ReadableStream<Uint8Array>);

  let job = submitted;
  for (let tag = ''; !['succeeded', 'failed', 'canceled'].includes(job.status); ) {
    const { data, response } = await api.GET('/v1/jobs/{id}', {
      params: { path: { id: job.id }, header: tag === '' ? {} : { 'If-None-Match': tag, Prefer: 'wait=30' } } });
    job = data ?? job; // 304: the same
    tag = response.headers.get('etag') ?? '';
  }
  const barrier = taken('barrier', await api.GET('/v1/jobs/{id}/barrier', { ...id(job.id), parseAs: 'json' })) as Barrier;
  return { job, barrier, events: await events };
}

/** Never called: each line here has to be refused by the compiler. */
export function wrongly(api: ReturnType<typeof createClient<paths>>, job: Job, barrier: Barrier) {
  // @ts-expect-error: it is `path`
  void api.POST('/v1/models', { body: { name: 'x', folder: '/x' } });
  // @ts-expect-error: it is /v1/jobs
  void api.GET('/v1/job');
  // @ts-expect-error: it is `mlm`
  void api.POST('/v1/jobs', { body: { models: { a: 'a', b: 'b' }, evaluate: { task: 'lm', dataset: 'd' } } });
  // @ts-expect-error: it is `barrier_chord`
  void job.summary.barrier;
  // @ts-expect-error: it is `loss`
  void barrier.aligned.losses;
}
