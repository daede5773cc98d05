// Runs the generated client (client.ts, compiled to generated/) against a daemon, and looks at what
// it has read.
import assert from 'node:assert/strict';
import { Daemon, fixtures, stopAll } from './daemon.mjs';
import { follow } from './generated/client.js';

try {
  const daemon = await Daemon.start();
  const { job, barrier, events } = await follow(daemon.url, fixtures.replace(/\/$/, ''));
  assert.equal(job.status, 'succeeded', JSON.stringify(job.error));
  assert.deepEqual(barrier.lambdas, [0, 0.25, 0.5, 0.75, 1]);
  assert.ok(barrier.complete);
  for (const end of [0, 4]) assert.equal(barrier.aligned.loss[end].toFixed(3), barrier.control.loss[end].toFixed(3));
  assert.equal(job.summary.barrier_chord, barrier.aligned.barrier.chord);
  const statuses = events.filter(({ type }) => type === 'status').map(({ data }) => data.status);
  assert.deepEqual([statuses[0], statuses.at(-1)], ['queued', 'succeeded']);
  const points = events.filter(({ type }) => type === 'point');
  assert.equal(points.length, 2 * barrier.lambdas.length, 'a point per curve and lambda');
  await daemon.stop();
  console.log(`a generated client followed a job to its end: ${events.length} events, barrier ${barrier.aligned.barrier.chord.toFixed(3)}`
    + ` (${barrier.control.barrier.chord.toFixed(3)} without alignment)`);
} finally {
  await stopAll();
}
