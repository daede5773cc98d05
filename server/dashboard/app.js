// The page's start.
import {onTokenNeeded} from './api.js';
import {askToken} from './dialog.js';
import * as events from './events.js';
import * as jobs from './jobs.js';
import * as router from './router.js';
import * as shell from './shell.js';

onTokenNeeded(askToken);
shell.start();
events.start();
await router.start(document.getElementById('main'), {
  jobs: async () => jobs,
  job: () => import('./job.js'),
  compare: () => import('./compare.js'),
  new: () => import('./newjob.js'),
  data: () => import('./data.js'),
});
performance.mark('first-view');
