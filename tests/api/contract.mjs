// The contract, held against running daemons: every operation of openapi.yaml is called, every error
// code brought about, and every answer must have a status, a media type, headers and a body that
// openapi.yaml knows. Then what /metrics says goes through Prometheus's own linter.
//
//     REBASIND_BIN=build/release/rebasind npm run contract
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, stopAll } from './daemon.mjs';
import { CheckedDaemon, faults, operations, summary } from './document.mjs';
import { causes, sweeps } from './refusals.mjs';
import { walk } from './walk.mjs';

// Error codes that nothing here brings about.
const notProvoked = {
  canceled: 'inside only: a canceled job has no error, its status says it',
  usage: 'says itself by exit status 2; tests/unit/test_config.c',
};

/** The table of routes names an operation that the document lacks, or the other way round. */
function checkRoutes() {
  const source = readFileSync(join(root, 'server/http/routes.c'), 'utf8');
  const rows = [...source.matchAll(/^ +(?:GET|POLL|ACT|PRESS|CANCEL|JSON|STREAM)\(\s*"(\w+)"/gm)].map((m) => m[1]);
  const routes = new Set(rows);
  for (const { id } of operations) if (!routes.has(id)) faults.push(`${id} is documented, routes.c lacks it`);
  for (const id of routes)
    if (!operations.some((o) => o.id === id)) faults.push(`${id} is a route, openapi.yaml lacks it`);
}

/** Every path of the document knows exactly its methods: the daemon names them for another one. */
async function checkMethods(daemon) {
  const paths = new Map();
  for (const { path, method } of operations) paths.set(path, [...(paths.get(path) ?? []), method]);
  for (const [path, methods] of paths) {
    const { status, headers } = await daemon.request('OPTIONS', path.replaceAll(/\{\w+\}/g, 'x'));
    const allowed = (headers.get('allow') ?? '').split(/,\s*/).filter((m) => m && m !== 'HEAD');
    // /v1/jobs/batch and /v1/jobs/matrix are also a /v1/jobs/{id}, of a job that cannot exist.
    const extra = allowed.filter((m) => !methods.includes(m) && !/[/](batch|matrix)$/.test(path));
    const lacking = methods.filter((m) => !allowed.includes(m));
    if (status !== 405 || extra.length + lacking.length > 0)
      faults.push(`${path}: the daemon answers ${status} and allows ${allowed}, documented are ${methods}`);
  }
}

async function checkMetrics(daemon) {
  const { text } = await daemon.request('GET', '/metrics');
  const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (error?.code === 'ENOENT') console.log('promtool is not installed: metrics are not checked (apt-get install prometheus)');
  else if (status !== 0 || stdout + stderr !== '') faults.push(`promtool check metrics: ${status}\n${stdout}${stderr}`);
}

function checkCoverage() {
  const { unmet, unseen, documented, succeeded } = summary();
  for (const { id } of operations)
    if (!succeeded(id)) faults.push(`${id} was never called with success`);
  for (const code of unmet)
    if (!notProvoked[code]) faults.push(`error code ${code} was never met`);
  for (const code of Object.keys(notProvoked))
    if (!unmet.includes(code)) faults.push(`error code ${code} was met: take it off the list`);
  const byStatus = new Map();
  for (const [id, status] of unseen) byStatus.set(status, [...(byStatus.get(status) ?? []), id]);
  console.log(`${operations.length} operations, ${documented - unseen.length} of ${documented} documented answers seen; not seen:`);
  for (const [status, ids] of [...byStatus].sort(([a], [b]) => a - b)) console.log(`  ${status}: ${ids.join(' ')}`);
  for (const code of unmet) console.log(`  ${code}: ${notProvoked[code] ?? 'no reason known'}`);
}

async function main() {
  checkRoutes();
  const daemon = await CheckedDaemon.start();
  const job = await walk(daemon);
  await checkMethods(daemon);
  await checkMetrics(daemon);
  await sweeps(daemon, job);
  await daemon.stop();
  for (const cause of causes) await cause();
  checkCoverage();
}

try {
  await main();
} catch (error) {
  faults.push(error.stack);
} finally {
  await stopAll();
}
if (faults.length > 0) {
  console.error(faults.map((fault) => '- ' + fault).join('\n'));
  process.exitCode = 1;
} else {
  console.log('every answer is as openapi.yaml says');
}
