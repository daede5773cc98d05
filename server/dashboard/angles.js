// By what angles an orthogonal matrix turns. Knows nothing of the page.

const SLICE = 48; // columns between two looks at the rest of the page

const pause = () => new Promise(resolve => setTimeout(resolve));

/** The eigenvalues of a symmetric matrix (n rows of n): Householder's tridiagonal form, then QL steps
 * with Wilkinson's shift. a is overwritten. */
export async function eigenvalues(a, n) {
  const d = new Float64Array(n), e = new Float64Array(n), p = new Float64Array(n);
  for (let k = 0; k < n - 2; k++) {
    if (n > 200 && k % SLICE === 0) await pause();
    let norm = 0;
    for (let i = k + 1; i < n; i++) norm += a[i * n + k] ** 2;
    norm = Math.sqrt(norm);
    d[k] = a[k * n + k];
    const first = a[(k + 1) * n + k], alpha = first > 0 ? -norm : norm;
    e[k] = alpha;
    if (norm === 0) continue;
    const v = new Float64Array(n);
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k];
    v[k + 1] -= alpha;
    let vv = 0;
    for (let i = k + 1; i < n; i++) vv += v[i] ** 2;
    if (vv === 0) continue;
    let vp = 0;
    for (let i = k + 1; i < n; i++) {
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += a[i * n + j] * v[j];
      p[i] = 2 * sum / vv;
      vp += v[i] * p[i];
    }
    for (let i = k + 1; i < n; i++) p[i] -= vp / vv * v[i];
    for (let i = k + 1; i < n; i++)
      for (let j = k + 1; j < n; j++) a[i * n + j] -= v[i] * p[j] + p[i] * v[j];
  }
  if (n > 1) {
    d[n - 2] = a[(n - 2) * n + n - 2];
    e[n - 2] = a[(n - 1) * n + n - 2];
  }
  d[n - 1] = a[n * n - 1];
  for (let l = 0; l < n; l++)
    for (let turn = 0; turn < 60; turn++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]) > 1e-14 * (Math.abs(d[m]) + Math.abs(d[m + 1]))) m++;
      if (m === l) break;
      let g = (d[l + 1] - d[l]) / (2 * e[l]), r = Math.hypot(g, 1);
      g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
      let s = 1, c = 1, shift = 0;
      for (let i = m - 1; i >= l; i--) {
        const f = s * e[i], b = c * e[i];
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= shift;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - shift;
        r = (d[i] - g) * s + 2 * c * b;
        shift = s * r;
        d[i + 1] = g + shift;
        g = c * r - b;
      }
      if (r === 0 && m - 1 >= l) continue;
      d[l] -= shift;
      e[l] = g;
      e[m] = 0;
    }
  return d;
}

/** The angles, in degrees, by which an orthogonal matrix turns: the cosines are the eigenvalues of its
 * symmetric part. Null for a matrix that is not orthogonal. */
export async function anglesOf(o, n) {
  const s = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    let row = 0;
    for (let j = 0; j < n; j++) {
      row += o[i * n + j] ** 2;
      s[i * n + j] = (o[i * n + j] + o[j * n + i]) / 2;
    }
    if (Math.abs(row - 1) > 1e-3) return null;
  }
  return [...await eigenvalues(s, n)].map(c => Math.acos(Math.max(-1, Math.min(1, c))) * 180 / Math.PI);
}
