// Makes of the page's modules what the binary carries: one module, minified, and uPlot beside it.
// Run by files.cmake when rebasind is built:  node pack.mjs OUTPUT_FOLDER
// from the folder with node_modules. The page works from its sources just as well, only larger.
import {mkdir, readFile, writeFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const [, , output] = process.argv;
const source = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(process.cwd(), 'package.json'));
const {buildSync} = require('esbuild');
const {minify} = require('terser');

await mkdir(output, {recursive: true});
const {outputFiles} = buildSync({
  entryPoints: ['app.js', 'theme.js', 'standalone.js', 'style.css'].map(f =>
    join(source, f)),
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  target: 'es2023',
  charset: 'utf8',
  legalComments: 'none',
  outdir: output,
});
for (const {path, text} of outputFiles) {
  const small = path.endsWith('.js')
    ? (await minify(text, {module: path.endsWith('app.js'), ecma: 2020, compress: {passes: 3}})).code
    : text;
  await writeFile(path, small);
}
const uplot = dirname(require.resolve('uplot/package.json'));
for (const [from, to] of [['dist/uPlot.iife.min.js', 'uplot.js'], ['LICENSE', 'uplot-license.txt']])
  await writeFile(join(output, to), await readFile(join(uplot, from)));
