// Makes of the page's modules what the binary carries: one module, minified, and uPlot beside it,
// each under a name with a hash of what is in it, so that browsers may keep it for good.
// Run by files.cmake when rebasind is built:  node pack.mjs OUTPUT_FOLDER
// from the folder with node_modules; writes OUTPUT_FOLDER.list too, "dashboard/<name>=<path>" a
// line. The page works from its sources just as well, only larger.
import {createHash} from 'node:crypto';
import {mkdir, readFile, rm, writeFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const [, , output] = process.argv;
const source = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(process.cwd(), 'package.json'));
const {buildSync} = require('esbuild');
const {minify} = require('terser');
const uplot = dirname(require.resolve('uplot/package.json'));

const names = {}; // as the sources say it -> as it is served
const listed = [];

async function save(name, text, {hashed = true} = {}) {
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 8);
  names[name] = hashed ? name.replace('.', `-${hash}.`) : name;
  const path = join(output, names[name]);
  await writeFile(path, text);
  listed.push(`dashboard/${names[name]}=${path}\n`);
}

const bundle = options => buildSync({
  bundle: true,
  minify: true,
  write: false,
  target: 'es2023',
  charset: 'utf8',
  legalComments: 'none',
  ...options,
}).outputFiles[0].text;

const squeeze = async (text, options) =>
  (await minify(text, {ecma: 2020, compress: {passes: 3}, ...options})).code;

async function pack(name) {
  const text = bundle({entryPoints: [join(source, name)], format: 'esm',
    define: {'globalThis.PACKED': JSON.stringify(names)}});
  return name.endsWith('.css') ? text : squeeze(text, {module: name === 'app.js'});
}

/* uPlot without what no chart here uses: joining of tables, and curves other than straight lines. */
async function packPlot() {
  let text = await readFile(join(uplot, 'dist/uPlot.esm.js'), 'utf8');
  for (const part of ['uPlot.join = join;', '(paths.stepped = stepped);', '(paths.bars    = bars);',
    '(paths.spline  = monotoneCubic);', 'export { uPlot as default };']) {
    if (text.split(part).length !== 2) throw new Error(`uPlot has another form now: no "${part}"`);
    text = text.replace(part, '');
  }
  const {version} = require('uplot/package.json');
  return `/*! https://github.com/leeoniya/uPlot (v${version}), MIT License */\n` +
    await squeeze(bundle({stdin: {contents: `${text}\nwindow.uPlot = uPlot;`}, format: 'iife'}));
}

await rm(output, {recursive: true, force: true});
await mkdir(output, {recursive: true});
await save('icon.svg', await readFile(join(source, 'icon.svg')));
await save('uplot.js', await packPlot());
await save('uplot-license.txt', await readFile(join(uplot, 'LICENSE')), {hashed: false});
for (const name of ['style.css', 'first.js', 'standalone.js', 'app.js']) // app.js names the others
  await save(name, await pack(name));
const page = await readFile(join(source, 'index.html'), 'utf8');
await save('index.html', page.replace(/dashboard\/([\w.]+)/g, (all, name) => `dashboard/${names[name]}`),
  {hashed: false});
await writeFile(`${output}.list`, listed.join(''));
