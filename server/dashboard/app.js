// The page's start.
import {onTokenNeeded} from './api.js';
import {askToken} from './dialog.js';
import * as events from './events.js';
import * as jobs from './jobs.js';
import * as router from './router.js';
import * as shell from './shell.js';

const EVENTS_WAIT_MS = 1000; // at most: a view may be waiting for a token

onTokenNeeded(askToken);
shell.start();
const shown = router.start(document.getElementById('main'), {
  jobs: async () => jobs,
  job: () => import('./job.js'),
  compare: () => import('./compare.js'),
  new: () => import('./newjob.js'),
  data: () => import('./data.js'),
  sweeps: () => import('./sweep.js'),
});
shown.then(() => performance.mark('first-view'));
// What happens from now on can wait until there is something to see.
await Promise.race([shown, new Promise(resolve => setTimeout(resolve, EVENTS_WAIT_MS))]);
requestAnimationFrame(() => events.start());
