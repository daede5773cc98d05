// openapi.json is openapi.yaml, translated; the daemon serves both. With --write it is made anew;
// without, this fails when the file in the tree is not the translation of the present openapi.yaml.
// x-source holds the FNV-1a hash of openapi.yaml's bytes, by which test_openapi.c notices the same
// without Node.
import { readFileSync, writeFileSync } from 'node:fs';
import { parse } from 'yaml';

function fnv1a(bytes) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

const source = readFileSync(new URL('../../openapi.yaml', import.meta.url));
const target = new URL('../../openapi.json', import.meta.url);
const document = { ...parse(source.toString('utf8'), { maxAliasCount: 0 }), 'x-source': fnv1a(source) };
const translated = JSON.stringify(document) + '\n';

if (process.argv.includes('--write')) {
  writeFileSync(target, translated);
} else if (readFileSync(target, 'utf8') !== translated) {
  console.error('openapi.json is not the translation of openapi.yaml: npm run json in tests/api');
  process.exit(1);
}
