// What an empty daemon shows: a result as it may look, and the way to one.
import {get, hasToken, post, root} from './api.js';
import {copyButton, h, svg} from './dom.js';
import {go, link} from './router.js';
import {attempt} from './shell.js';

/* Two GPT-2 seeds of tests/fixtures: losses at 0, 0.1 \u2026 1, with learned maps (200 steps) and as they are. */
const ALIGNED = [3.297, 3.316, 3.364, 3.427, 3.482, 3.501, 3.461, 3.356, 3.212, 3.088, 3.038];
const CONTROL = [3.297, 3.42, 3.819, 4.589, 5.28, 5.446, 5.053, 4.316, 3.618, 3.179, 3.038];

function picture() {
  const width = 420, height = 190, left = 8, low = 2.9, high = 5.6;
  const path = ys => ys.map((y, i) => `${i === 0 ? 'M' : 'L'}${(left + i / 10 * (width - 2 * left)).toFixed(1)} ` +
    `${(8 + (high - y) / (high - low) * (height - 34)).toFixed(1)}`).join('');
  return h('figure.example', svg('svg.spark', {viewBox: `0 0 ${width} ${height}`, width, height, role: 'img',
    'aria-label': 'An example: the loss between two GPT-2 models, with a high hump without alignment and a low one with'},
  svg('path.control', {d: path(CONTROL)}), svg('path.aligned', {d: path(ALIGNED)}),
  svg('text', {x: left, y: height - 8}, 'model A'), svg('text', {x: width - left, y: height - 8, 'text-anchor': 'end'}, 'model B'),
  svg('text', {x: 272, y: 40, class: 'control'}, 'as they are'), svg('text', {x: 150, y: 122, class: 'aligned'}, 'aligned')),
  h('figcaption', 'Two GPT-2 models of different seeds, the loss on the way from one to the other: 85 % of the barrier ',
    'is gone, and the moved model is certified to be the same function.'));
}

/* What an import root offers, else the same pair by the paths of the repository. */
const AT = 'REPOSITORY/tests/fixtures/';
const ELSEWHERE = {
  models: ['gpt2-a', 'gpt2-b'].map(name => ({name, path: `${AT}models/${name}`})),
  datasets: ['align', 'eval'].map(name => ({name, path: `${AT}data/${name}.txt`, format: 'text'})),
  job: {name: 'first', models: {a: 'gpt2-a', b: 'gpt2-b'}, align: {dataset: 'align',
    components: ['ff', 'mha', 'residual'], residual_map: 'orthogonal', head_map: 'orthogonal', learn: {steps: 200}},
  evaluate: {task: 'clm', dataset: 'eval', max_blocks: 32}, interpolate: {points: 11}},
};

const steps = demo => [...demo.models.map(m => ['v1/models', m]), ...demo.datasets.map(d => ['v1/datasets', d]),
  ['v1/jobs', demo.job]];

const lines = demo => steps(demo).map(([path, json]) =>
  `curl -fsS ${new URL(path, root).href}${hasToken() ? ' -H "Authorization: Bearer $REBASIND_TOKEN"' : ''} ` +
  `--json '${JSON.stringify(json).replaceAll("'", "'\\''")}'`).join('\n');

/* What is there already is fine. */
async function begin(demo) {
  let job;
  for (const [path, json] of steps(demo)) {
    try {
      job = await post(path, json);
    } catch (error) {
      if (error.status !== 409) throw error;
    }
  }
  go(link('job', job.id));
}

export async function welcome() {
  const demo = await get('v1/demo').catch(() => ELSEWHERE);
  const offered = Boolean(demo.job), shown = offered ? demo : ELSEWHERE;
  const button = h('button.primary', {onclick: async () => {
    button.disabled = true;
    await attempt(() => begin(demo));
    button.disabled = false;
  }}, 'Merge the demo pair');
  return h('div.welcome', h('div', h('p', h('b', 'No jobs yet.')),
    h('p', 'A job aligns model B to model A, walks from one to the other and measures the loss on the way. ',
      'What comes of it is a merged model, and how good it is.'),
    offered && h('p', button, h('span.aside', ' ', demo.title)),
    h('ol', h('li', 'Register ', h('a', {href: '#/data'}, 'two models and a dataset'), ' of your own, or'),
      h('li', 'paste these lines', !offered && ' for the small pair of the repository (its folder behind --import-root)', ': ',
        copyButton('Copy the lines', () => lines(shown))),
      h('li', h('a', {href: '#/new'}, 'Submit a job'), '; \u201clearned\u201d is the preset of the picture.'))),
  picture(),
  h('pre.scroll', {tabindex: '0', 'aria-label': 'Lines for a shell'}, lines(shown)));
}
